"""Properties that any fair comparison has, whoever judges."""

import numpy as np
import pytest
from in_texts import in_texts
from scripted_arms import AlwaysFirst, Mute, arm, random_arm

from alignpro.config import JudgeSettings
from alignpro.evaluate.arms.pairing import judged_pairs
from alignpro.judges.by_language_model import LlmJudge
from alignpro.judges.by_reward import RewardJudge
from alignpro.judges.comparisons import Comparison, compare_arms, count_comparisons, read_answers
from alignpro.judges.win_rate import judge_arms, sum_up, win_rate
from alignpro.maths.shares import share_interval
from alignpro.results import Sample, read_rows
from alignpro.rewards.functions import FunctionReward
from alignpro.runtime.files import read_jsonl
from alignpro.types import Generation, Judgement


class Noisy:
    """Prefers the longer answer, and whichever stands first now and then; sometimes it says nothing."""

    name = "noisy"
    symmetric = False

    def __init__(self):
        self.seen = []

    @in_texts
    def compare(self, prompts, a, b):
        self.seen += zip(prompts, a, b, strict=True)
        found = []
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            better = "a" if len(one) > len(other) or (i % 3 == 0) else "b"
            found.append(Judgement(None, failure="mumbled") if len(one) * len(other) % 5 == 0 else Judgement(better))
        return found


def test_both_orders_are_presented_of_the_same_answers():
    judge = Noisy()
    a, b = random_arm("a", 0, prompts=5), random_arm("b", 1, prompts=5)
    [found] = compare_arms(a, b, judge)
    assert sorted((p, y, x) for p, x, y in judge.seen[:15]) == sorted(judge.seen[15:])
    assert all(len(comparison.orders) == 2 for comparison in found)


def test_a_judge_for_whom_order_cannot_matter_is_asked_once():
    calls = []
    judge = RewardJudge(FunctionReward("length", lambda xs, ys: calls.append(len(xs)) or [len(y) for y in ys]))
    a = random_arm("a", 0)
    assert win_rate(a, random_arm("b", 1), judge)["order_consistency"] == 1
    assert sum(calls) == 2 * 90


@pytest.mark.parametrize("judge", [Noisy(), AlwaysFirst(), Mute()], ids=["noisy", "first", "mute"])
def test_swapping_arms_mirrors_every_figure(judge):
    """The noisy judge's whims go by place, so both ways round it is asked the same questions in another order."""
    a, b = random_arm("a", 0), random_arm("b", 1)
    [found] = compare_arms(a, b, judge)
    swapped = [Comparison(c.prompt, c.sample, c.b, c.a, tuple(j.mirrored() for j in c.orders[::-1])) for c in found]
    there, back = (sum_up("a", "b", "j", rows) for rows in (found, swapped))
    assert (there["win"], there["tie"], there["loss"]) == (back["loss"], back["tie"], back["win"])
    assert there["unparsed"] == back["unparsed"]
    assert there["order_consistency"] == pytest.approx(back["order_consistency"], nan_ok=True)
    assert there["mean_length_difference"] == -back["mean_length_difference"]
    for one, other in ((there, back), (there["length_controlled"], back["length_controlled"])):
        assert one["win_rate"] == pytest.approx(1 - other["win_rate"], nan_ok=True)
        assert one["ci95"] == pytest.approx([1 - bound for bound in other["ci95"][::-1]], nan_ok=True, abs=1e-6)


def test_an_always_first_judge_gives_half_with_and_without_length():
    row = win_rate(random_arm("a", 0), random_arm("b", 1), AlwaysFirst())
    assert (row["win_rate"], row["order_consistency"]) == (0.5, 0)
    assert row["length_controlled"]["win_rate"] == pytest.approx(0.5)


def test_equal_answers_tie_and_say_nothing_of_consistency():
    a = random_arm("a", 0)
    row = win_rate(a, a, RewardJudge(FunctionReward("length", lambda xs, ys: [len(y) for y in ys])))
    assert (row["win_rate"], row["tie"]) == (0.5, 90)
    assert np.isnan(row["order_consistency"])
    assert row["length_controlled"]["withheld"] == "the difference in length is the same in every comparison"


def test_one_unread_order_leaves_the_comparison_out_and_is_counted_with_its_reason():
    orders = (Judgement("a"), Judgement(None, failure="mumbled"))
    found = [Comparison(0, 0, "x", "y", orders), Comparison(1, 0, "x", "y", (Judgement("a"), Judgement("a")))]
    row = sum_up("a", "b", "j", found)
    assert (row["win"], row["unparsed"], row["unparsed_reasons"]) == (1, 1, {"mumbled": 1})
    assert row["win_rate"] == 1


def test_disagreeing_orders_tie():
    assert Comparison(0, 0, "x", "y", (Judgement("a"), Judgement("b"))).verdict == "tie"
    assert Comparison(0, 0, "x", "y", (Judgement("a"), Judgement("tie"))).verdict == "tie"
    assert Comparison(0, 0, "x", "y", (Judgement("a"), Judgement("a"))).verdict == "a"


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Prompts differ in how often a wins; their comparisons are not independent of one another."""
    rng = np.random.default_rng(5)
    inside, narrow, worlds = 0, 0, 200
    for _world in range(worlds):
        chance = rng.beta(0.6, 0.4, 50)  # 0.6 on average
        won = rng.random((50, 4)) < chance[:, None]
        found = [
            Comparison(i, k, "x", "y" * (1 + (i + k) % 3), (Judgement("a" if won[i, k] else "b"),))
            for i in range(50)
            for k in range(4)
        ]
        row = sum_up("a", "b", "j", found)
        inside += row["ci95"][0] <= 0.6 <= row["ci95"][1]
        half = 1.96 * np.sqrt(won.mean() * (1 - won.mean()) / won.size)  # as if comparisons were independent
        narrow += abs(row["win_rate"] - 0.6) <= half
    assert 0.90 <= inside / worlds <= 0.98
    assert narrow / worlds < 0.85


def test_a_judge_that_breaks_stops_the_comparison():
    class Broken(Noisy):
        @in_texts
        def compare(self, prompts, a, b):
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        win_rate(random_arm("a", 0), random_arm("b", 1), Broken())


def test_the_judge_sees_the_prompt_as_the_user_wrote_it_and_no_rewrite():
    class Frozen:
        name = "frozen"

        def __init__(self):
            self.asked = []

        @in_texts
        def respond(self, prompts, counts, seed):
            self.asked += prompts
            return [[Generation("no idea")] for _ in prompts]

    plain = arm("align_pro", [["one", "two"], ["three", "four"]])
    rewrites = tuple(tuple(Generation("SECRET REWRITE") for _ in row) for row in plain.responses)
    import dataclasses

    a = dataclasses.replace(plain, rewrites=rewrites)
    b = arm("no_prompter", [["five", "six"], ["seven", "eight"]])
    model = Frozen()
    row = win_rate(a, b, LlmJudge("frozen", model, ["tone"]))
    assert row["unparsed"] == 4
    assert len(model.asked) == 8
    assert all("| x0\n" in asked or "| x1\n" in asked for asked in model.asked)
    assert not any(word in asked for word in ("SECRET", "align_pro", "no_prompter") for asked in model.asked)


def test_limits_bound_prompts_samples_and_pairs():
    arms = [random_arm(name, i) for i, name in enumerate(("no_prompter", "reference_prompter", "align_pro", "rlhf"))]
    limits = JudgeSettings(prompts=7, samples=2, pairs="no_prompter")
    heard = []
    pairs = judged_pairs(arms, limits)
    rows, win_rates = judge_arms(pairs, Noisy(), limits, lambda done, note: heard.append(done), lambda: None)
    assert len(rows) == count_comparisons(pairs, limits) == 3 * 14 == heard[-1]
    assert {row["b"] for row in win_rates} == {"no_prompter"}
    assert {(row["prompt_id"], row["sample"]) for row in rows} == {(i, k) for i in range(7) for k in range(2)}


def test_answers_are_read_back_from_what_a_run_wrote(trained):
    rows = read_jsonl(trained / "samples.jsonl")
    arms = read_answers(read_rows(Sample, trained / "samples.jsonl"))
    assert [a.name for a in arms] == ["no_prompter", "reference_prompter", "align_pro", "gibbs_2"]
    assert {(len(a.prompts), len(row)) for a in arms for row in a.responses} == {(4, 2)}
    texts = [row["response"] for row in rows if row["stage"] == "evaluation" and row["arm"] == "gibbs_2"]
    assert [g.text for row in arms[-1].responses for g in row] == texts


@pytest.mark.parametrize(("size", "margin"), [(1.0, 0.0), (1e-6, 0.0), (1e16, 0.0), (1.0, 0.2)])
def test_rounding_decides_no_win(size, margin):
    """Scores of 0.3 and 0.1 + 0.2, and 0.8 and 0.6 with a tie margin of 0.2: equal, whatever their size."""
    one, other = (0.3 * size, (0.1 + 0.2) * size) if margin == 0 else (0.8, 0.6)
    scores = iter([one] * 90 + [other] * 90)
    judge = RewardJudge(FunctionReward("sums", lambda xs, ys: [next(scores) for _ in ys]), margin)
    row = win_rate(random_arm("a", 0), random_arm("b", 1), judge)
    assert (row["win"], row["tie"], row["loss"], row["win_rate"]) == (0, 90, 0, 0.5)


def test_an_answer_ties_with_itself_whatever_two_scorings_of_it_say():
    """A model scores a text a little otherwise in another batch."""
    noise = np.random.default_rng(0)
    a = random_arm("a", 0)
    row = win_rate(a, a, RewardJudge(FunctionReward("noisy", lambda xs, ys: noise.normal(size=len(ys)))))
    assert row["tie"] == 90


def test_judgements_are_written_unrounded():
    judge = RewardJudge(FunctionReward("small", lambda xs, ys: [1.23456789e-9 * len(y) for y in ys]))
    rows, [row] = judge_arms([(random_arm("a", 0), random_arm("b", 1))], judge, None, lambda *_: None, lambda: None)
    assert {one.orders[0].scores[0] for one in rows} <= {1.23456789e-9 * n for n in range(100)}
    assert row["win"] + row["loss"] > 0


@pytest.mark.parametrize("prompts", [5, 10, 20])
@pytest.mark.parametrize(("won", "tied"), [(0.9, 0.0), (0.6, 0.3)])
def test_win_rates_of_few_prompts_cover_the_truth_and_are_never_a_point(prompts, won, tied):
    rng, truth = np.random.default_rng(prompts), won + tied / 2
    points = rng.choice([1, 0.5, 0], (300, prompts, 1), p=[won, tied, round(1 - won - tied, 9)])
    found = np.array([share_interval(row) for row in points])
    assert ((found[:, 0] <= truth) & (truth <= found[:, 1])).mean() >= 0.93
    assert np.ptp(found, axis=1).min() > 0.1
    verdicts = [{1: "a", 0.5: "tie", 0: "b"}[value] for value in points[0, :, 0]]
    row = sum_up("a", "b", "j", [Comparison(i, 0, "x", "y", (Judgement(v),)) for i, v in enumerate(verdicts)])
    assert row["ci95"] == pytest.approx(found[0])
