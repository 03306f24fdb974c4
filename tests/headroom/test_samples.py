"""What an estimate rests on, sampled from scripted models."""

import numpy as np
import pytest
from in_texts import in_texts

from alignpro.config import HeadroomSettings
from alignpro.errors import RewardFailure
from alignpro.evaluate.models import Models, Reference
from alignpro.headroom.samples import gather
from alignpro.rewards.composite import AS_IT_IS, CompositeReward, Gate, Term
from alignpro.rewards.functions import FunctionReward
from alignpro.runtime.interrupt import StopRequest
from alignpro.types import Generation, as_prompts

SETTINGS = HeadroomSettings(rewrites=6, responses=2, answers=8, chunk=2)
BY_LENGTH = FunctionReward("length", lambda xs, ys: [len(y) for y in ys])


class Scripted:
    """A prompter that writes what `write(prompt, draw)` gives, and a frozen model that counts and repeats."""

    name = "scripted"

    def __init__(self, write):
        self.write, self.answers = write, 0

    @in_texts
    def rewrite(self, prompts, n, seed):
        return [[self.write(prompt, draw) for draw in range(n)] for prompt in prompts]

    @in_texts
    def respond(self, prompts, counts, seed):
        self.answers += sum(counts)
        return [[Generation(prompt)] * count for prompt, count in zip(prompts, counts, strict=True)]


def sampled(flow, prompts, path, reward=BY_LENGTH, max_failed=1.0, identity="these"):
    models = Models(Reference(flow, None), None, (), flow, None, reward, None)
    return gather(
        as_prompts(prompts),
        models,
        None,
        SETTINGS,
        path=path / "rows.jsonl",
        identity=identity,
        seed=0,
        max_failed=max_failed,
        stop=StopRequest(""),
        advance=lambda *told: None,
    )


def broken(prompt, draw):
    return Generation("raw", failure="empty rewrite") if prompt == "bad" or draw == 0 else Generation("x" * draw)


def test_a_prompt_with_failed_rewrites_alone_is_masked_and_asks_for_plain_answers_only(tmp_path):
    flow = Scripted(broken)
    made = sampled(flow, ["bad", "good"], tmp_path)
    assert np.isnan(made.rewards[0]).all()
    assert np.isnan(made.rewards[1, 0]).all()
    np.testing.assert_array_equal(made.rewards[1, 1:], [[n, n] for n in range(1, 6)])
    np.testing.assert_array_equal(made.raw, [[3] * 8, [4] * 8])
    assert made.frozen_calls == flow.answers == 2 * 5 + 2 * 8
    assert np.isnan(made.distance).all()  # this frozen model tells no likelihoods


def test_a_failed_rewrite_takes_no_reward_from_a_good_one_of_the_same_text(tmp_path):
    made = sampled(Scripted(lambda p, n: Generation("same", failure="cut" if n % 2 else None)), ["a"], tmp_path)
    np.testing.assert_array_equal(made.rewards[0, :, 0], [4, np.nan] * 3)


def test_equal_rewrites_share_their_answers_and_rows_of_other_models_are_asked_anew(tmp_path):
    flow = Scripted(lambda prompt, draw: Generation(prompt * (1 + draw % 2)))
    first = sampled(flow, ["a", "b", "c"], tmp_path)
    assert flow.answers == first.frozen_calls == 3 * (2 * 2 + 8)
    np.testing.assert_array_equal(first.same, [[0, 1] * 3] * 3)
    again = sampled(flow, ["c", "a"], tmp_path)
    assert flow.answers == first.frozen_calls
    np.testing.assert_array_equal(again.rewards, first.rewards[[2, 0]])
    sampled(flow, ["a"], tmp_path, identity="others")
    assert flow.answers == first.frozen_calls + 12


def test_the_parts_of_a_gated_reward_are_kept_beside_it_and_read_back(tmp_path):
    short = FunctionReward("short", lambda xs, ys: [float(len(y) < 5) for y in ys])
    reward = CompositeReward((Term("length", BY_LENGTH, 1.0, None, AS_IT_IS),), (Gate("short", short),))
    flow = Scripted(broken)
    first = sampled(flow, ["bad", "good"], tmp_path, reward)
    np.testing.assert_array_equal(first.parts["length"][1, 1:, 0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(first.parts["short"][1, 1:, 0], [1, 1, 1, 1, 0])
    assert np.isnan(first.parts["short"][0]).all() and np.isnan(first.parts["short"][1, 0]).all()
    np.testing.assert_array_equal(first.raw_parts["length"], [[3] * 8, [4] * 8])
    np.testing.assert_array_equal(first.rewards, first.parts["length"] * first.parts["short"])
    asked = flow.answers
    again = sampled(flow, ["good", "bad"], tmp_path, reward)
    assert flow.answers == asked
    for name in ("length", "short"):
        np.testing.assert_array_equal(again.parts[name], first.parts[name][::-1])
        np.testing.assert_array_equal(again.raw_parts[name], first.raw_parts[name][::-1])


def test_the_share_of_failures_is_of_all_prompts_so_far_not_of_the_last_few(tmp_path):
    prompts = ["a", "b", "c", "d", "bad"]  # the last is a chunk of its own
    half = FunctionReward("half", lambda xs, ys: [None if x == "bad" else len(y) for x, y in zip(xs, ys, strict=True)])
    flow = Scripted(lambda prompt, draw: Generation(prompt))
    assert np.isnan(sampled(flow, prompts, tmp_path, half, 0.2).raw).sum() == 8
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RewardFailure, match=r"12 of 60 samples have no reward \(\d+ x reward gave None\)"):
        sampled(flow, prompts, other, half, 0.19)
    flow.answers = 0
    sampled(flow, prompts, other, BY_LENGTH, 0.19)  # the reward mended, what was sampled before is kept
    assert flow.answers == 2 + 8
