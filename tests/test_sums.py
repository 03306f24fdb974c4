"""Sixty small sums with their answers in a column: a prompter learns to keep the numbers that a frozen model needs."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alignpro import config
from alignpro.adapters import trl
from alignpro.adapters.environment import environment
from alignpro.fits.sft import learn_prompter
from alignpro.running import job, rejudge
from alignpro.runtime.files import read_json, read_jsonl

SUMS = [(a, b) for a in range(2, 14) for b in (3, 5, 8, 11, 12)]
WORDS = ["<pad>", ".", "?", "What", "is", "plus", "add", "and", "the", "numbers", "please", *map(str, range(2, 14))]
FROZEN = '''
import json, re

def adds(messages):
    """Adds the numbers of the last turn, where there are two."""
    with open("asked.jsonl", "a") as told:
        told.write(json.dumps(messages) + "\\n")
    numbers = re.findall(r"\\d+", messages[-1]["content"])
    return f"The sum is {sum(map(int, numbers))}." if len(numbers) == 2 else "Which numbers?"
'''
SMALL = (
    "threads=1",
    "prompter.template={prompt}",
    "prompter.sampling.max_new_tokens=6",
    "data.test_share=0.4",
    "evaluate.bootstrap=200",
    "evaluate.every=0",
    "evaluate.arms=[no_prompter,reference_prompter,align_pro]",
)


def save_prompter(folder):
    """A model of a few words that knows nothing yet."""
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
            tie_word_embeddings=True,
            initializer_range=0.1,
        )
    ).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token=".").save_pretrained(folder)


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """A folder with the sums, a frozen model, and a prompter that keeps the numbers in half of its rewrites."""
    folder = tmp_path_factory.mktemp("sums")
    (folder / "adder.py").write_text(FROZEN)
    with (folder / "sums.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "answer", "gold_note"])
        rows.writerows((f"What is {a} plus {b}?", a + b, f"planted-{a}-{b}") for a, b in SUMS)
    pairs = [
        {"prompt": f"What is {a} plus {b}?", "rewrite": rewrite}
        for a in range(2, 14)
        for b in range(2, 14)
        for rewrite in (f"add {a} and {b}", "add the numbers please")
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    save_prompter(folder / "base")
    fit = (
        "sft.pairs=pairs.jsonl",
        "data.test_share=0.1",
        "sft.epochs=25",
        "sft.batch_size=16",
        "sft.learning_rate=3e-3",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        learn_prompter(config.load("local", [f"prompter.model={folder / 'base'}", *SMALL[:3], *fit]), folder / "sft")
    return folder


def settings(folder, *more):
    given = (
        f"prompter.model={folder / 'sft' / 'prompter'}",
        "frozen.model=python:adder:adds",
        "reward.model=verify:number",
        f"data.prompts={folder / 'sums.csv'}",
    )
    learn = (
        "train.method=rloo",
        "train.rewrites=4",
        "train.steps=20",
        "train.prompts_per_step=16",
        "train.group.learning_rate=3e-4",
        "train.kl.coef=0.02",
    )
    return config.load("local", [*given, *SMALL, *learn, *more])


def test_training_learns_to_keep_the_numbers_and_no_model_sees_an_answer(sums, monkeypatch):
    monkeypatch.chdir(sums)
    monkeypatch.syspath_prepend(sums)
    out = sums / "run"
    job.run(settings(sums), out)
    found = read_json(out / "evaluation.json")
    arms = found["arms"]
    assert found["prompts"] > 15
    assert {arm["kind"] for arm in arms.values()} == {"share"}
    assert arms["no_prompter"]["mean_reward"] == 1.0  # x itself holds both numbers
    assert arms["reference_prompter"]["mean_reward"] < 0.75
    assert arms["align_pro"]["ci95"][0] > arms["reference_prompter"]["ci95"][1]
    assert arms["align_pro"]["mean_reward"] > 0.9

    asked = [json.loads(line) for line in (sums / "asked.jsonl").read_text().splitlines()]
    assert len(asked) > 100 and not any("planted" in json.dumps(messages) for messages in asked)
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        assert "planted" not in ((out / name).read_text() if (out / name).exists() else "")
    rows = read_jsonl(out / "samples.jsonl")
    assert all(set(row["row"]) == {"answer", "gold_note"} for row in rows)
    for row in rows:
        told = re.search(r"\d+", row["response"])
        assert row["reward"] == float(bool(told) and told[0] == row["row"]["answer"])

    estimated = job.headroom(None, out, resume=True, overrides=["headroom.prompts=6", "headroom.rewrites=12"])
    assert estimated["frozen_calls"] > 0
    again = rejudge.judge_again(out, ["evaluate.judge=verify:number"])
    assert again.win_rates
    assert "planted-" in (out / "report.html").read_text()


def test_trls_rows_carry_the_answers_to_the_verifier(sums, monkeypatch):
    monkeypatch.chdir(sums)
    monkeypatch.syspath_prepend(sums)
    from alignpro.running.prompts import prompts_of

    asked = settings(sums)
    prompts = prompts_of(asked.data, 0).train[:4]
    world = environment(asked)
    rows = trl.rows(world, prompts)
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    kept = [f"add {' and '.join(re.findall(r'[0-9]+', x.text))}" for x in prompts]
    lost = ["add the numbers please"] * 4
    score = trl.reward_function(world)
    assert score(prompts=rows, completions=kept, **columns) == [1.0] * 4
    assert score(prompts=rows, completions=lost, **columns) == [0.0] * 4
    assert not any("planted" in json.dumps(row["prompt"]) for row in rows)


def test_a_gold_answer_that_is_planted_where_a_model_could_see_it_is_noticed(sums, monkeypatch):
    """The check above can fail: a flow that shows the row is caught by it."""
    monkeypatch.chdir(sums)
    monkeypatch.syspath_prepend(sums)
    from alignpro.types import Prompt

    (sums / "asked.jsonl").unlink(missing_ok=True)
    leaking = lambda self, text: Prompt(f"{text} {self.row['gold_note']}", self.system, self.history)  # noqa: E731
    monkeypatch.setattr(Prompt, "asking", leaking)
    job.run(settings(sums, "train.steps=0", "evaluate.arms=[no_prompter]"), sums / "leaky")
    assert "planted" in (sums / "asked.jsonl").read_text()
    assert np.isfinite(read_json(sums / "leaky" / "evaluation.json")["arms"]["no_prompter"]["mean_reward"])
