"""A comparison that is stopped goes on with the arms that were finished, and with no others."""

import json
from collections import Counter

import numpy as np
import pytest
from cli import settings

from alignpro.errors import Interrupted
from alignpro.evaluate.sampling import ArmResult
from alignpro.running import job
from alignpro.running.stages.evaluation import sample_rows
from alignpro.running.stages.kept_arms import KeptArms, identity
from alignpro.types import Generation, as_prompts

SHORT = ("reward.model=python:rewards:spy", "train.steps=1", "evaluate.every=0")
FILES = ("evaluation.json", "samples.jsonl", "judgements.jsonl")


def written(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def arms_kept(folder):
    return {path.stem for path in (folder / "arms").glob("*.json")}


def test_a_stopped_comparison_samples_no_finished_arm_again_and_ends_in_the_same_bytes(workshop, spy, tmp_path):
    asked = settings(workshop, *SHORT)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    job.run(asked, whole, only_train=True)
    trained = spy.calls
    job.run(None, whole, resume=True)
    in_all = spy.calls - trained

    job.run(asked, stopped, only_train=True)
    spy.calls, spy.stop_at = 0, 2  # an arm is scored in one call, so this is the second of four
    with pytest.raises(Interrupted):
        job.run(None, stopped, resume=True)
    assert arms_kept(stopped) == {"no_prompter", "reference_prompter"}
    assert not (stopped / "evaluation.json").exists()
    spent, spy.calls, spy.stop_at = spy.calls, 0, 0
    job.run(None, stopped, resume=True)
    assert spy.calls == in_all - 2 and spent == 2
    assert written(stopped) == written(whole)

    spy.calls = 0
    job.run(None, stopped, resume=True)  # finished: only the judge, which is the reward, is asked
    assert written(stopped) == written(whole)
    assert spy.calls < in_all - 2

    spy.calls = 0
    job.evaluate_again(stopped, [])
    assert spy.calls == in_all  # anew is anew
    assert written(stopped) == written(whole)

    spy.calls, spy.stop_at = 0, 1
    with pytest.raises(Interrupted):
        job.evaluate_again(stopped, ["evaluate.responses=3"])
    assert arms_kept(stopped) == {"no_prompter"}
    spy.calls, spy.stop_at = 0, 0
    assert job.evaluate_again(stopped, [])["responses_per_prompt"] == 2
    assert spy.calls == in_all  # what was kept has other settings
    assert written(stopped) == written(whole)


def test_what_is_kept_is_exact_and_known_by_settings_prompts_and_weights(workshop, tmp_path):
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(2, 2)) / 3
    rewards[1, 0] = np.nan
    texts = (
        (Generation("a\nb\u2028", "length"), Generation("", failure="refused")),
        (Generation("\u00e9"), Generation("x", "given")),
    )
    arm = ArmResult(
        "gibbs_2",
        as_prompts(("p", "q")),
        texts,
        texts,
        rewards,
        None,
        rewards * 7,
        9,
        Counter({"refused": 1}),
        {"length": rewards},
    )
    asked = settings(workshop)
    kept = KeptArms(tmp_path / "arms", identity(asked, arm.prompts, ["w"]))
    assert kept.get("gibbs_2", arm.prompts) is None
    put = kept.put(arm)
    got = kept.get("gibbs_2", arm.prompts)
    for one in (put, got):
        for name in ("rewards", "kl", "bonus", "second_rewards"):
            wanted, found = getattr(arm, name), getattr(one, name)
            assert (wanted is None and found is None) or np.array_equal(wanted, found, equal_nan=True)
        assert (one.rewrites, one.responses, one.failures, one.frozen_calls) == (texts, texts, arm.failures, 9)
        assert sample_rows(one, "evaluation", 1) == sample_rows(arm, "evaluation", 1)
    json.loads((tmp_path / "arms" / "gibbs_2.json").read_text(), parse_constant=lambda name: pytest.fail(name))

    same = settings(workshop, "evaluate.arms=[no_prompter]", "budget.calls=5", "evaluate.bootstrap=200")
    assert identity(same, arm.prompts, ["w"]) == kept.identity
    others = [
        identity(settings(workshop, "evaluate.responses=3"), arm.prompts, ["w"]),
        identity(settings(workshop, "frozen.sampling.max_new_tokens=9"), arm.prompts, ["w"]),
        identity(asked, as_prompts(("p", "r")), ["w"]),
        identity(asked, arm.prompts, ["v"]),
    ]
    assert len({kept.identity, *others}) == 5
    assert all(KeptArms(tmp_path / "arms", other).get("gibbs_2", arm.prompts) is None for other in others)
