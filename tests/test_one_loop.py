"""examples/one_loop.py: what it prints is what its rollouts say, and its prompter gets better."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from alignpro import config
from alignpro.models.local import load_prompter
from alignpro.models.logprobs import score

EXAMPLE = Path(__file__).parents[1] / "examples" / "one_loop.py"


def test_the_loop_prints_the_objective_of_its_rollouts_and_its_prompter_earns_more(monkeypatch, capsys):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    one_loop = importlib.import_module("one_loop")
    made = []
    monkeypatch.setattr(
        one_loop, "rollout", lambda *a, real=one_loop.rollout, **k: made.append(real(*a, **k)) or made[-1]
    )
    monkeypatch.setattr(one_loop, "DRAWS", 200)
    _, steps = one_loop.main(["--steps=6", "--prompts=32", "--test-prompts=48", "--kl-coef=0.2"])

    reference = load_prompter(config.load("lab").prompter)
    for step, rollout in zip(steps, made[:6], strict=True):
        rewrites = [rewrite for row in rollout.rewrites for rewrite in row]
        under_reference = score(
            reference.lm.model, [r.query for r in rewrites], [r.tokens for r in rewrites], reference.lm.pad_id
        )
        kl = [r.logprobs.sum() - found.sum() for r, found in zip(rewrites, under_reference, strict=True)]
        assert step.kl == pytest.approx(np.mean(kl), abs=1e-4)
        assert step.objective == pytest.approx(rollout.rewards.mean() - 0.2 * np.mean(kl), abs=1e-4)
    assert steps[0].kl == pytest.approx(0, abs=1e-4) and steps[-1].kl > 0.01

    said = capsys.readouterr().out
    assert [float(found) for found in re.findall(r"\(9\) (-?\d+\.\d+)", said)] == pytest.approx(
        [step.objective for step in steps], abs=1e-3
    )
    no_prompter, reference_prompter, align_pro = (rollout.rewards.mean() for rollout in made[6:])
    assert align_pro > max(no_prompter, reference_prompter)
    assert f"{'align_pro':20}{align_pro:6.2f} [" in said


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) < 150
