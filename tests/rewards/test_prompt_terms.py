import numpy as np
import pytest
import torch
from in_texts import in_texts
from tiny import save_model

from alignpro.config import FrozenSettings, PromptTerm
from alignpro.flow.objective import objective, score_rewrites
from alignpro.flow.rollout import rollout
from alignpro.maths.lengths import words
from alignpro.models.local import load_language_model
from alignpro.rewards.prompt_terms import PromptTerms, excess, kept, load_prompt_terms
from alignpro.types import Generation, Prompt, RewardResult


class Flow:
    """Prompter, frozen model, reward and a term on x', all of which note what they see."""

    name = "flow"

    def __init__(self):
        self.scored, self.measured = [], []

    @in_texts
    def rewrite(self, prompts, n, seed):
        return [[Generation(f"{p} rewritten{k}") for k in range(n)] for p in prompts]

    @in_texts
    def respond(self, prompts, counts, seed):
        return [[Generation(f"answer{k} to <{p}>") for k in range(c)] for p, c in zip(prompts, counts, strict=True)]

    @in_texts
    def score(self, prompts, responses):
        self.scored += zip(prompts, responses, strict=True)
        return RewardResult(np.array([float(len(x)) for x in prompts]), (None,) * len(prompts))

    @in_texts
    def measure(self, prompts, rewrites):
        self.measured += zip(prompts, rewrites, strict=True)
        bad = ["b" in x and "1" in text for x, text in zip(prompts, rewrites, strict=True)]
        return np.where(bad, np.nan, [float(text[-1]) for text in rewrites]), tuple("odd" if b else None for b in bad)


@pytest.mark.parametrize("sample", [rollout, score_rewrites])
def test_terms_see_the_prompt_and_the_rewrite_and_the_reward_sees_the_prompt_and_the_answer(sample):
    flow = Flow()
    terms = PromptTerms(("last", "again"), (10.0, 0.0), (flow.measure, flow.measure))
    prompts = ["a", "bb"]
    if sample is rollout:
        made = rollout(prompts, flow, flow, flow, rewrites=3, responses=2, seed=0, prompt_terms=terms)
    else:
        rewrites = flow.rewrite(prompts, 3, 0)
        made = score_rewrites(prompts, rewrites, flow, flow, responses=2, seed=0, prompt_terms=terms)
    assert set(flow.measured) == {(x, f"{x} rewritten{k}") for x in prompts for k in range(3)}
    assert {x for x, _ in flow.scored} == set(prompts)
    assert all(y.startswith("answer") for _, y in flow.scored)
    np.testing.assert_array_equal(made.rewards, [[[1, 1]] * 3, [[2, 2]] * 3])  # untouched by the terms
    np.testing.assert_array_equal(made.prompt_terms["last"], [[0, 1, 2], [0, np.nan, 2]])
    np.testing.assert_array_equal(objective(made), [[1, 11, 21], [2, np.nan, 22]])
    assert made.failures == {"prompt term last: odd": 2}
    without = rollout(prompts, flow, flow, flow, rewrites=3, responses=2, seed=0)
    np.testing.assert_array_equal(without.rewards, made.rewards)
    np.testing.assert_array_equal(objective(without), made.rewards.mean(-1))


def value(measure, x, rewrite):
    return measure([Prompt(x)], [rewrite])[0].item()


@pytest.mark.parametrize(
    ("kind", "x", "rewrite", "share"),
    [
        ("numbers", "add 12 and 3.5 by 10:30", "sum 3.5 and 12 at 10:30", 1),
        ("numbers", "add 12", "add 120", 0),
        ("quotes", 'translate "good day" and "night"', "translate “Good Day” to French", 0.5),
        ("placeholders", "greet {name} of [CITY] with <title> and $sum, %s", "dear {name}, $sum %s", 0.6),
        ("words", "Tell owls stories", "stories about OWLS", 2 / 3),
        ("words", "猫の話", "猫", 1 / 3),
        ("words", "นกฮูก", "นก", 2 / 3),
        ("words", "किताबों में", "में किताबों", 1),
        ("words", "올빼미 이야기", "올빼미", 1 / 2),
        ("words", "a b c", "", 1),
    ],
)
def test_what_is_kept(kind, x, rewrite, share):
    assert value(kept([kind]), x, rewrite) == pytest.approx(share)
    assert value(kept([kind]), x, x) == 1


def test_length_costs_only_past_its_limit(tmp_path):
    measure = excess(words, 3)
    assert [value(measure, "x", "w " * n) for n in (0, 3, 4, 9)] == [0, 0, -1, -6]


def test_fluency_is_the_models_own_loss(tmp_path):
    save_model(tmp_path, "llama", seed=1)
    settings = FrozenSettings(model=str(tmp_path), sampling={"max_new_tokens": 4, "temperature": 0.5})
    lm = load_language_model("frozen", settings)
    terms = load_prompt_terms([PromptTerm(term="fluency"), PromptTerm(term="length", unit="tokens")], lm)
    texts = ["owls in the rain", "a quiet old town", "q"]
    found = terms.score(["x"] * 4, [*texts, ""])
    ids = [lm.tokenizer(text, return_tensors="pt")["input_ids"] for text in texts]
    start = torch.tensor([[lm.tokenizer.eos_token_id]])
    with torch.no_grad():
        rows = [torch.cat([start, row], 1) for row in ids]
        loss = [float(lm.model(row, labels=row).loss) for row in rows]
    np.testing.assert_allclose(found.parts["fluency"], [*(-np.array(loss)), np.nan], rtol=1e-4)
    np.testing.assert_array_equal(found.parts["length"], [*(-row.shape[1] for row in ids), 0])
    assert found.reasons == (None, None, None, "prompt term fluency: no tokens")
    np.testing.assert_allclose(found.total, found.parts["fluency"] + found.parts["length"])


def test_a_term_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_prompt_terms.py").write_text(
        "def same(prompts, rewrites, bonus=1):\n"
        "    return [bonus if x == r else None for x, r in zip(prompts, rewrites)]\n"
    )
    spec = PromptTerm(term="python:own_prompt_terms:same", arguments={"bonus": 3}, weight=2)
    found = load_prompt_terms([spec], None).score(["a", "b"], ["a", "c"])
    np.testing.assert_array_equal(found.total, [6, np.nan])
    assert found.reasons == (None, "prompt term own_prompt_terms:same: gave None")
