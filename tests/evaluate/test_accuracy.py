"""Which means are shares: all arms alike, and a term only where something earned it."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_arms import random_arm

from alignpro.evaluate.summary import summarise
from alignpro.judges.by_reward import RewardJudge
from alignpro.judges.win_rate import judge_arms
from alignpro.maths import stats
from alignpro.maths.shares import share_interval
from alignpro.rewards.functions import FunctionReward


def binary(name, seed, chance=0.7):
    arm = random_arm(name, seed)
    return replace(arm, rewards=(np.random.default_rng(seed).random((30, 3)) < chance).astype(float))


def judged(arms, score):
    judge = RewardJudge(FunctionReward("judge", lambda xs, ys: [score(y) for y in ys]))
    return judge_arms([(arms[0], arms[1]), (arms[0], arms[2])], judge, None, lambda *_: None, lambda: None)[1]


def test_one_arm_with_another_reward_makes_all_of_them_means():
    arms = [binary("align_pro", 0), binary("no_prompter", 1)]
    assert {arm.kind for arm in summarise(arms, "right", None).arms.values()} == {"share"}
    halves = replace(arms[1], rewards=np.where(np.eye(30, 3) > 0, 0.5, arms[1].rewards))
    mixed = summarise([arms[0], halves], "right", None)
    assert {arm.kind for arm in mixed.arms.values()} == {""} and mixed.differences[0].kind == ""
    assert "kind" not in mixed["arms"]["align_pro"] and "kind" not in mixed["differences"][0]
    usual = stats.mean_interval(arms[0].rewards.mean(1))
    assert mixed.arms["align_pro"].reward.ci95 == pytest.approx(usual, abs=0.05)


def test_an_arm_that_is_always_right_has_no_interval_of_no_width():
    always, never = binary("align_pro", 0, 1.1), binary("no_prompter", 0, -0.1)
    found = summarise([always, never], "right", None)
    assert found.arms["align_pro"].reward.ci95 == pytest.approx(share_interval(np.ones((30, 1))))
    assert 0.85 < found.arms["align_pro"].reward.lo < 0.9
    assert found.difference("align_pro", "no_prompter", "right").lo < 0.9


def test_terms_and_second_rewards_are_judged_by_themselves():
    a, b = random_arm("align_pro", 0), random_arm("no_prompter", 1)
    right = (np.random.default_rng(0).random((30, 3)) < 0.5).astype(float)
    parts = {"right": right, "penalty": np.zeros((30, 3)), "words": a.rewards}
    arms = [replace(one, parts=parts, second_rewards=right) for one in (a, b)]
    found = summarise(arms, "letters", "right")
    assert not found.shares("letters") and found.shares("right")
    terms = found.arms["align_pro"].reward_terms
    assert [terms[name].kind for name in parts] == ["share", "", ""]
    assert terms["right"].mean.ci95 == list(share_interval(right)) and terms["penalty"].mean.why == "all prompts alike"


def test_a_judge_that_scores_otherwise_in_one_pair_has_win_rates_alone():
    arms = [random_arm(name, seed) for seed, name in enumerate(("align_pro", "no_prompter", "rlhf"))]
    for row in judged(arms, lambda y: len(y) % 2):
        assert row.accuracy.value == pytest.approx((row.win - row.loss) / 90)
    assert {row.accuracy for row in judged(arms, lambda y: 0.5 if y == arms[2].responses[0][0].text else 1)} == {None}
    assert "accuracy_difference" not in judged(arms, len)[0]
