import math
from dataclasses import replace

import numpy as np
import pytest
from in_texts import in_texts
from scripted_arms import AlwaysFirst, Mute, arm, random_arm

from alignpro.evaluate.arms.pairing import pairs
from alignpro.evaluate.summary import summarise
from alignpro.flow.prompters import GibbsPrompter
from alignpro.judges.by_reward import RewardJudge
from alignpro.judges.win_rate import judge_arms, win_rate
from alignpro.maths import gibbs
from alignpro.rewards.functions import FunctionReward
from alignpro.types import Generation

BY_LENGTH = RewardJudge(FunctionReward("length", lambda xs, ys: [len(y) for y in ys]))


def test_swapping_the_arms_mirrors_the_result():
    a, b = random_arm("a", 0), random_arm("b", 1)
    there, back = win_rate(a, b, BY_LENGTH), win_rate(b, a, BY_LENGTH)
    assert (there["win"], there["tie"], there["loss"]) == (back["loss"], back["tie"], back["win"])
    assert there["win_rate"] == pytest.approx(1 - back["win_rate"])
    assert there["ci95"] == pytest.approx([1 - back["ci95"][1], 1 - back["ci95"][0]], abs=0.02)
    assert there["mean_length_difference"] == -back["mean_length_difference"]


def test_an_arm_against_itself_wins_half():
    a = random_arm("a", 0)
    assert win_rate(a, a, BY_LENGTH)["win_rate"] == 0.5


def test_a_judge_that_prefers_a_place_shows_in_the_consistency_and_wins_nothing():
    got = win_rate(random_arm("a", 0), random_arm("b", 1), AlwaysFirst())
    assert got["win_rate"] == 0.5
    assert got["order_consistency"] == 0
    assert got["tie"] == 90


def test_unread_verdicts_are_left_out_and_counted():
    got = win_rate(random_arm("a", 0), random_arm("b", 1), Mute())
    assert got["unparsed"] == 90
    assert math.isnan(got["win_rate"])
    assert got["win"] == got["tie"] == got["loss"] == 0


def test_failed_responses_are_not_compared():
    a = arm("a", [["aaaa", "aaaa"], ["a", "a"]], failed={(0, 0)})
    b = arm("b", [["bb", "bb"], ["bb", "bb"]])
    got = win_rate(a, b, BY_LENGTH)
    assert (got["win"], got["loss"]) == (1, 2)
    assert got["win_rate"] == 0.5  # each prompt counts once, however many of its comparisons remain


def test_the_summary_keeps_the_contract_and_pairs_every_arm_with_the_baselines():
    arms = [random_arm(name, i) for i, name in enumerate(("no_prompter", "reference_prompter", "align_pro", "rlhf"))]
    summary = summarise(arms, "length", None)
    assert summary["prompts"] == 30
    assert summary["responses_per_prompt"] == 3
    _, win_rates = judge_arms(pairs(arms), BY_LENGTH, None, lambda done, note: None, lambda: None)
    compared = {(row["a"], row["b"]) for row in win_rates}
    assert {
        ("align_pro", "no_prompter"),
        ("align_pro", "reference_prompter"),
        ("rlhf", "no_prompter"),
        ("align_pro", "rlhf"),
    } <= compared
    for row in summary["arms"].values():
        assert row["ci95"][0] <= row["mean_reward"] <= row["ci95"][1]
        assert row["reward_variance"] == pytest.approx(row["variance_between_prompts"] + row["variance_within_prompts"])
    assert summarise(arms, "length", None) == summary


def test_lengths_are_in_words_over_prompts_and_of_rewrites_where_there_are():
    responses = [["one two", "one two three four"], ["one", "never counted"]]
    answered = arm("align_pro", responses, failed={(1, 1)})
    rewritten = replace(answered, rewrites=(((Generation("a b c"),) * 2), (Generation("a"),) * 2))
    given = replace(answered, rewrites=((Generation("x", "given"),) * 2,) * 2)
    found = summarise([rewritten], "length", None, training_prompts=7)
    assert found.arms["align_pro"].response_words.value == (3 + 1) / 2  # each prompt counts once
    assert found.arms["align_pro"].rewrite_words.value == 2
    assert (found["training_prompts"], found["arms"]["align_pro"]["mean_rewrite_words"]) == (7, 2)
    assert summarise([given], "length", None).arms["align_pro"].rewrite_words is None


class Fixed:
    """A reference of three equally likely rewrites, and a frozen model that repeats what it is asked."""

    name = "fixed"
    texts = ("a", "bb", "ccc")

    @in_texts
    def rewrite(self, prompts, n, seed):
        rng = np.random.default_rng(seed)
        return [[Generation(self.texts[i]) for i in rng.integers(0, 3, n)] for _ in prompts]

    @in_texts
    def respond(self, prompts, counts, seed):
        return [[Generation(p)] * c for p, c in zip(prompts, counts, strict=True)]


def test_gibbs_by_sampling_approaches_the_closed_form_as_candidates_grow():
    fixed = Fixed()
    reward = FunctionReward("length", lambda xs, ys: [len(y) for y in ys])
    exact = np.exp(gibbs.log_weights(np.array([1.0, 2.0, 3.0]), 0.7))
    distances, kls = [], []
    for candidates in (1, 4, 64):
        prompter = GibbsPrompter(fixed, fixed, reward, candidates, responses=1, lam=0.7)
        drawn = prompter.rewrite(["x"] * 60, 40, seed=1)
        seen = np.array([np.mean([g.text == t for row in drawn for g in row]) for t in fixed.texts])
        distances.append(np.abs(seen - exact).sum())
        kls.append(np.mean(prompter.kl_bounds))
        assert prompter.frozen_calls == 60 * 40 * candidates
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.05
    exact_kl = (exact * np.log(exact * 3)).sum()
    assert kls[0] == pytest.approx(0)
    assert kls[2] == pytest.approx(exact_kl, abs=0.05)


def test_gibbs_with_lambda_zero_takes_the_best_and_without_any_reward_fails():
    fixed = Fixed()
    reward = FunctionReward("length", lambda xs, ys: [len(y) for y in ys])
    best = GibbsPrompter(fixed, fixed, reward, 40, 1, lam=0.0).rewrite(["x"], 5, seed=0)
    assert {g.text for g in best[0]} == {"ccc"}
    broken = GibbsPrompter(fixed, fixed, FunctionReward("none", lambda xs, ys: [None] * len(xs)), 3, 1, lam=0.5)
    assert broken.rewrite(["x"], 1, seed=0)[0][0].failure == "no candidate has a reward"


def test_every_figure_has_an_interval_that_holds_it():
    a, b = random_arm("align_pro", 0, prompts=40), random_arm("no_prompter", 1, prompts=40)
    kl = np.random.default_rng(2).exponential(size=(40, 3))
    kl[3] = np.nan
    a = replace(a, kl=kl, second_rewards=a.rewards * 2, bonus=a.rewards / 5, prompt_terms={"brevity": a.rewards})
    b = replace(b, second_rewards=b.rewards + 1)
    summary = summarise([a, b], "letters", "twice")
    found = summary["arms"]["align_pro"]
    # A reward judges; texts have one word.
    same = {"order_consistency", "mean_length_difference", "mean_response_words", "mean_rewrite_words"}
    for record in (found, found["second_reward"], win_rate(a, b, BY_LENGTH).tree()):
        for name, value in record.items():
            if isinstance(value, float):
                low, high = record.get(f"{name}_ci95") or record["ci95"]
                if math.isnan(low):
                    assert record[f"{name}_ci95_withheld"] == "all prompts alike" and name in same
                    continue
                assert low <= value + 1e-12 and value - 1e-12 <= high, name
                assert low < high or name in same, name
    assert found["kl_to_reference"] == pytest.approx(np.nanmean(kl))
    assert summary["arms"]["no_prompter"]["kl_to_reference_ci95"] is None
