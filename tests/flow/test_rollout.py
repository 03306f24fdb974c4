import numpy as np
from in_texts import in_texts

from alignpro.flow.objective import score_rewrites
from alignpro.flow.prompters import IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.types import Generation, RewardResult


class Scripted:
    """A prompter, frozen model and reward whose every call is written down."""

    name = "scripted"

    def __init__(self, rewrites=None, fail=(), rewards=None):
        self.rewrites, self.fail, self.rewards = rewrites, fail, rewards
        self.asked, self.scored = [], []

    @in_texts
    def rewrite(self, prompts, n, seed):
        return [
            [self.rewrites[i] if self.rewrites else Generation(f"{p}!{k}") for k in range(n)]
            for i, p in enumerate(prompts)
        ]

    @in_texts
    def respond(self, prompts, counts, seed):
        self.asked.append((list(prompts), list(counts)))
        return [
            [Generation("", failure="refused") if p in self.fail else Generation(f"{p}>{k}") for k in range(c)]
            for p, c in zip(prompts, counts, strict=True)
        ]

    @in_texts
    def score(self, prompts, responses):
        self.scored += list(zip(prompts, responses, strict=True))
        values = np.array(
            [self.rewards(x, y) if self.rewards else len(y) for x, y in zip(prompts, responses, strict=True)], float
        )
        return RewardResult(values, tuple("no score" if np.isnan(v) else None for v in values))


def test_the_reward_sees_the_original_prompt_and_never_the_rewrite():
    flow = Scripted()
    rollout(["owls", "rain"], flow, flow, flow, rewrites=2, responses=2, seed=0)
    assert {x for x, _ in flow.scored} == {"owls", "rain"}
    assert all("!" in y for _, y in flow.scored)  # while the answers do come from the rewrites


def test_shapes_and_order_are_kept():
    flow = Scripted(rewards=lambda x, y: float(y.split(">")[1]))
    made = rollout(["a", "b", "c"], flow, flow, flow, rewrites=2, responses=3, seed=0)
    assert made.rewards.shape == (3, 2, 3)
    assert made.responses[1][0][2].text == "b!0>2"
    np.testing.assert_array_equal(made.rewards[2, 1], [0, 1, 2])
    assert made.frozen_calls == 18


def test_equal_rewrites_are_asked_together_and_still_answered_separately():
    flow = Scripted(rewrites=[Generation("same"), Generation("same"), Generation("other")])
    made = rollout(["a", "b", "c"], flow, flow, flow, rewrites=2, responses=2, seed=0)
    assert flow.asked == [(["same", "other"], [8, 4])]
    answers = [y.text for row in made.responses[:2] for group in row for y in group]
    assert sorted(answers) == sorted(f"same>{k}" for k in range(8))


def test_failures_are_masked_and_counted_and_cost_no_call():
    broken = Generation("raw", failure="empty rewrite")
    flow = Scripted(rewrites=[broken, Generation("fine"), Generation("bad")], fail=("bad",))
    made = rollout(["a", "b", "c"], flow, flow, flow, responses=2, seed=0)
    assert flow.asked == [(["fine", "bad"], [2, 2])]
    assert np.isnan(made.rewards[[0, 2]]).all()
    assert np.isfinite(made.rewards[1]).all()
    assert made.failures == {"empty rewrite": 2, "refused": 2}
    assert made.failed == 4
    assert ("a", "") not in flow.scored


def test_a_reward_that_fails_is_nan_and_never_zero():
    flow = Scripted(rewards=lambda x, y: np.nan if x == "a" else 1.0)
    made = rollout(["a", "b"], flow, flow, flow, seed=0)
    assert np.isnan(made.rewards[0, 0, 0])
    assert made.rewards[1, 0, 0] == 1.0
    assert made.failures == {"no score": 1}


def test_without_a_prompter_the_frozen_model_gets_the_prompt_itself():
    flow = Scripted()
    rollout(["a", "b"], IdentityPrompter(), flow, flow, responses=3, seed=0)
    assert flow.asked == [(["a", "b"], [3, 3])]


def test_for_an_estimate_equal_rewrites_of_a_prompt_are_asked_once_and_each_prompt_by_itself():
    flow = Scripted(rewards=lambda x, y: len(x) * 100 + int(y.split(">")[1]))
    rewrites = [[Generation(text) for text in row] for row in (["s", "s", "t"], ["s", "u", "u"])]
    made = score_rewrites(["a", "bb"], rewrites, flow, flow, responses=2, seed=0)
    ((texts, counts),) = flow.asked
    assert dict(zip(texts, counts, strict=True)) == {"s": 4, "t": 2, "u": 2}
    np.testing.assert_array_equal(made.frozen_calls, [4, 4])
    assert made.rewards.shape == (2, 3, 2)
    np.testing.assert_array_equal(made.rewards[0, 0], made.rewards[0, 1])
    np.testing.assert_array_equal(made.rewards[1, 1], made.rewards[1, 2])
    assert len({*made.rewards[0, 0], *made.rewards[1, 0]}) == 4  # the same text, but answers and x of their own
    assert len(flow.scored) == 8


def test_for_an_estimate_failures_are_masked_and_cost_no_answer():
    broken = Generation("s", failure="empty rewrite")
    flow = Scripted(fail=("bad",), rewards=lambda x, y: np.nan if y == "odd>1" else 1.0)
    rewrites = [[broken, Generation("s"), Generation("bad")], [broken, broken, broken], [Generation("odd")] * 3]
    made = score_rewrites(["a", "b", "c"], rewrites, flow, flow, responses=2, seed=0)
    np.testing.assert_array_equal(made.frozen_calls, [4, 0, 2])
    np.testing.assert_array_equal(np.isfinite(made.rewards).sum(-1), [[0, 2, 0], [0, 0, 0], [1, 1, 1]])
    assert made.failures == {"empty rewrite": 4, "refused": 2, "no score": 1}
    nothing = score_rewrites(["a"], [[broken, broken]], flow, flow, responses=2, seed=0)
    assert np.isnan(nothing.rewards).all()
    assert nothing.rewards.shape == (1, 2, 2)
