"""Best-of-N pairs, whose winner must win again; and the oracle by itself."""

import json

import cli
import numpy as np
import pytest
from in_texts import in_texts
from transformers import AutoModelForCausalLM

from alignpro import config
from alignpro.config import PairsSettings
from alignpro.errors import Interrupted, UsageError
from alignpro.fits import make_pairs
from alignpro.fits.pairs import summary, try_prompts
from alignpro.types import Generation, RewardResult, as_prompts


class Numbered:
    """A prompter whose rewrites of x are 'x 0', 'x 1', ..., and a frozen model that answers with what it was asked."""

    name = "numbered"

    @in_texts
    def rewrite(self, prompts, n, seed):
        return [[Generation(f"{x} {i}") for i in range(n)] for x in prompts]

    @in_texts
    def respond(self, prompts, counts, seed):
        return [[Generation(x)] * count for x, count in zip(prompts, counts, strict=True)]


class Noisy:
    """Reward of deviation 1 about `better` for answers to rewrite 0, and about 0 for all others."""

    name = "noisy"

    def __init__(self, better=0.0):
        self.better, self.rng = better, np.random.default_rng(0)

    @in_texts
    def score(self, prompts, responses):
        good = np.array([y == f"{x} 0" for x, y in zip(prompts, responses, strict=True)])
        return RewardResult(self.better * good + self.rng.normal(size=len(good)), (None,) * len(good))


def tried(better, prompts=400, **own):
    own = PairsSettings(candidates=8, responses=2, fresh=2, **own)
    flow = Numbered()
    rows, failures, _ = try_prompts(as_prompts(f"p{i}" for i in range(prompts)), flow, flow, Noisy(better), own, 0)
    assert not failures
    return rows, summary(rows, config.Settings(pairs=own))


def test_the_best_of_equals_looks_good_and_fresh_answers_say_that_it_is_not():
    _, found = tried(better=0.0)
    assert found["winners"]["chosen_gain"]["ci95"][0] > 0.8  # the winner's curse
    low, high = found["winners"]["gain"]["ci95"]
    assert low < 0 < high
    assert found["kept_pairs"]["fresh_gain"]["ci95"][0] > 0.5  # it decided, so it is too good as well
    low, high = found["kept_pairs"]["gain"]["ci95"]
    assert low < 0 < high
    assert found["kept"] < 0.6 * found["won"]


def test_a_rewrite_that_is_better_is_found_kept_and_its_gain_measured():
    rows, found = tried(better=4.0)
    kept = [row for row in rows if row["kept"]]
    assert len(kept) > 0.95 * len(rows)
    assert sum(row["rewrite"].endswith(" 0") for row in kept) > 0.95 * len(kept)
    low, high = found["kept_pairs"]["gain"]["ci95"]
    assert low < 4.0 < high
    assert len([row for row in tried(better=4.0, margin=6.0)[0] if row["kept"]]) < 0.1 * len(rows)


def test_a_rewrite_that_is_the_prompt_wins_nothing():
    class Same(Numbered):
        @in_texts
        def rewrite(self, prompts, n, seed):
            return [[Generation(f" {x}")] * n for x in prompts]

    rows, _, _ = try_prompts(as_prompts(["a", "b"]), Same(), Same(), Noisy(), PairsSettings(), 0)
    assert [(row["rewrite"], row["kept"]) for row in rows] == [(None, False)] * 2


WORDS = ("--n=3", "--pairs.chunk=4", "--threads=1", "--prompter.sampling.max_new_tokens=6")
MORE = ("--frozen.sampling.max_new_tokens=6", "--pairs.bootstrap=100")


def test_pairs_go_on_where_they_were_stopped(workshop, spy, inside, tmp_path):
    given = cli.settings(workshop, "reward.model=python:rewards:spy", "pairs.chunk=4", "pairs.candidates=3")
    whole = make_pairs(given, tmp_path / "whole.jsonl")
    spy.stop_at = spy.calls + 3
    with pytest.raises(Interrupted):
        make_pairs(given, tmp_path / "part.jsonl")
    tried_before = len((tmp_path / "part.tried.jsonl").read_text().splitlines())
    assert 0 < tried_before < whole["tried"]
    scored = len(spy.scored)
    with (tmp_path / "part.tried.jsonl").open("a") as file:
        file.write('{"torn')
    assert make_pairs(given, tmp_path / "part.jsonl") == whole
    assert len(spy.scored) > scored
    for name in ("jsonl", "json"):
        assert (tmp_path / f"part.{name}").read_text() == (tmp_path / f"whole.{name}").read_text()
    with pytest.raises(UsageError, match="other settings"):
        make_pairs(given.model_copy(update={"seed": 1}), tmp_path / "part.jsonl")
    (tmp_path / "mine.jsonl").write_text("precious\n")
    with pytest.raises(UsageError, match="not begun by"):
        make_pairs(given, tmp_path / "mine.jsonl")
    code, output = inside("pairs", *cli.models(workshop), *WORDS, *MORE, f"--out={tmp_path / 'c.jsonl'}")
    assert code == 0, output
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert all(row["prompt"] and row["rewrite"] for row in rows)
    assert f"{len(rows)} pairs kept" in output


def test_the_oracle_by_itself(workshop, inside, tmp_path):
    own = cli.models(workshop)[1:]
    small = ("--rlhf.steps=2", "--rlhf.prompts_per_step=4", "--evaluate.bootstrap=100", "--evaluate.responses=2")
    small += ("--threads=1", "--frozen.sampling.max_new_tokens=6")
    code, output = inside("rlhf", *own, *small, f"--out={tmp_path / 'o'}")
    assert code == 0, output
    found = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert list(found["arms"]) == ["no_prompter", "rlhf"]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "o" / "rlhf" / "model") is not None
    assert (tmp_path / "o" / "report.html").is_file()
    code, output = inside("rlhf", "--resume", f"--out={tmp_path / 'o'}")
    assert code == 0, output
    assert json.loads((tmp_path / "o" / "evaluation.json").read_text()) == found


def test_the_oracle_takes_a_reward_of_several_terms(workshop, inside, tmp_path):
    own = [word for word in cli.models(workshop)[1:] if not word.startswith("--reward")]
    given = next(word for word in cli.models(workshop) if word.startswith("--reward")).partition("=")[2]
    terms = f"--reward.terms=[{{model: {given}, weight: 2.0}}]"
    small = ("--rlhf.steps=1", "--rlhf.prompts_per_step=4", "--evaluate.bootstrap=100", "--evaluate.responses=2")
    small += ("--threads=1", "--frozen.sampling.max_new_tokens=6", f"--out={tmp_path / 'o'}")
    code, output = inside("rlhf", *own, *small, terms)
    assert code == 0, output
    assert json.loads((tmp_path / "o" / "evaluation.json").read_text())["reward"].startswith("2 ")
    code, output = inside("rlhf", *own, f"--out={tmp_path / 'none'}")
    assert code == 2
    assert "reward.model not set; give --reward MODEL" in output
