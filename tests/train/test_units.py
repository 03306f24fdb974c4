"""Rewards are learned from in canonical units: a constant added, or another scale of reward and kl.coef, changes
nothing."""

import copy
import functools
from collections import Counter

import numpy as np
import pytest
import torch

from alignpro.config import KlSettings, TrainSettings
from alignpro.config.training import RlhfSettings
from alignpro.errors import RewardFailure
from alignpro.lab.few_words import few_words
from alignpro.runtime.files import read_jsonl
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.train.collectors import Collected, oracle_collector, prompter_collector
from alignpro.train.loop import Job, train
from alignpro.train.methods import learner
from alignpro.train.policy import copy_of
from alignpro.train.units import ENOUGH, Units
from alignpro.types import Generation, as_prompts

KL_COEF = 0.2
UPDATES = {
    "ppo": {"ppo": {"epochs": 2, "minibatch_size": 16}},
    "ppo, plain": {"ppo": {"epochs": 2, "minibatch_size": 16, "gamma": 0.9, "whiten_advantages": False}},
    "rloo": {"group": {"epochs": 2, "minibatch_size": 16}},
    "grpo": {"group": {"epochs": 2, "minibatch_size": 16}},
    "grpo, divided": {"group": {"epochs": 2, "minibatch_size": 16, "divide_by_deviation": True}},
    "weighted_likelihood": {"offline": {}},
    "dpo": {"offline": {}},
    "exo": {"offline": {}},
    "oracle": {"ppo": {"epochs": 2, "minibatch_size": 16}},
}
OTHERWISE = [(level, scale) for scale in (1e-3, 1.0, 1e3) for level in (0, 100, 1e4)] + [(7, 1.0), (-100, 1.0)]


def settings_of(name, scale, steps=1, **more):
    method = {"oracle": "ppo"}.get(name, name.partition(",")[0])
    kind = RlhfSettings if name == "oracle" else TrainSettings
    own = {part: {"learning_rate": 1e-3, "anneal": False, **given} for part, given in UPDATES[name].items()}
    own["average"] = 0.0
    kl = KlSettings(coef=KL_COEF * scale)
    return kind(method=method, steps=steps, prompts_per_step=8, rewrites=4, kl=kl, **(own | more))


@functools.cache
def start():
    return few_words(0, words=6).prompter.lm


def experience(rewards):
    """8 prompts with 4 actions each, whose `rewards` [32] are given."""
    rng = np.random.default_rng(0)
    queries = [rng.integers(0, 7, rng.integers(1, 6)).tolist() for _ in range(8) for _ in range(4)]
    actions = [
        Generation(
            "some", tokens=rng.integers(0, 7, n), logprobs=rng.normal(-2, 0.5, n).astype(np.float32), query=query
        )
        for query, n in zip(queries, rng.integers(1, 6, 32), strict=True)
    ]
    return Collected(actions, np.repeat(np.arange(8), 4), rewards, Counter(), 32)


def moved(name, folder, rewards, scale):
    """How one update on fixed experience moves each weight, and its row of metrics."""
    policy = copy_of(start())
    folder.mkdir(exist_ok=True)
    settings = settings_of(name, scale)
    train(
        policy,
        start(),
        learner(policy.model, settings),
        lambda prompts, seed: experience(rewards),
        as_prompts(["x"] * 8),
        settings,
        Job(folder, "training", 0, StopRequest(""), Progress()),
        max_failed=0.95,
    )
    before = torch.cat([p.detach().flatten() for p in start().model.parameters()])
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()]) - before, rows(folder)[-1]


def rows(folder):
    return read_jsonl(folder / "metrics.jsonl")


REWARDS = {
    "usual": np.random.default_rng(1).standard_normal(32),
    "shares": (np.random.default_rng(2).random(32) < 0.2).astype(float),
    "all failed but two": np.where(np.arange(32) < 2, [1.0, 3.0] * 16, np.nan),
    "one prompt's equal": np.where(np.arange(32) < 4, 0.1, np.random.default_rng(3).standard_normal(32)),
}


@pytest.mark.parametrize("name", UPDATES)
def test_one_update_is_that_of_any_units_of_reward(name, tmp_path):
    for kind, rewards in REWARDS.items():
        plain, told = moved(name, tmp_path / kind, rewards, 1.0)
        assert plain.abs().max() > 1e-4
        for level, scale in OTHERWISE if kind == "usual" else [(1e4, 1e-3)]:
            other, also = moved(name, tmp_path / f"{kind} {level} {scale}", scale * rewards + level, scale)
            assert (other - plain).norm() < 1e-5 * plain.norm(), (kind, level, scale)
            assert also["reward"] == pytest.approx(scale * told["reward"] + level, rel=1e-6)
            assert also["objective"] == pytest.approx(scale * told["objective"] + level, rel=1e-6)
            assert also["kl_coef"] == KL_COEF * scale
            assert also["grad_norm"] == pytest.approx(told["grad_norm"], rel=1e-5)
            for column, power in (("value_loss", 2), ("advantage_std", 1)):
                if column in told:
                    own = power if "divided" not in name else 0
                    assert also[column] == pytest.approx(scale**own * told[column], rel=1e-4)


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("rewards", [np.full(32, 0.1), np.full(32, 0.3) + 2**-54 * (np.arange(32) % 2)], ids=str)
def test_equal_rewards_teach_nothing(name, rewards, tmp_path):
    change, row = moved(name, tmp_path, rewards, 1.0)
    assert (change == 0).all()
    assert row["reward_unit"] is None
    assert row["reward"] == pytest.approx(rewards[0])


@pytest.mark.parametrize("size", [1e-30, 1e30, 1e39, 1e150])
def test_rewards_of_any_size_that_float64_holds_are_learned_from(size, tmp_path):
    plain, _ = moved("ppo", tmp_path / "1", REWARDS["usual"], 1.0)
    other, row = moved("ppo", tmp_path / "2", REWARDS["usual"] * size, size)
    assert (other - plain).norm() < 1e-5 * plain.norm()
    assert row["reward_unit"] == pytest.approx(size * REWARDS["usual"].std())


def test_what_float64_or_float32_cannot_hold_stops_by_name(tmp_path):
    with pytest.raises(RewardFailure, match=r"as large as 1\.5e\+308 have no mean"):
        moved("ppo", tmp_path, np.where(np.arange(32) % 2, 1.5e308, -1.5e308), 1.0)
    units = Units().after(np.array([0.0, 1e-20] * ENOUGH))
    with pytest.raises(RewardFailure, match=r"a reward of 1e\+20 lies too many deviations"):
        units.canonical(np.array([0.0, 1e20]))


@pytest.mark.parametrize("size", [1, 3, ENOUGH, 100])
def test_units_are_those_of_the_first_rewards_however_they_come(size):
    rewards = 5e3 + np.random.default_rng(0).standard_normal(200)
    units, seen = Units(), 0
    for start_ in range(0, 200, size):
        if seen < ENOUGH:
            seen += size
        units = units.after(rewards[start_ : start_ + size])
    assert units.count == seen
    assert units.mean == pytest.approx(rewards[:seen].mean(), rel=1e-14)
    assert units.deviation == pytest.approx(rewards[:seen].std(), rel=1e-10)


def test_units_wait_for_rewards_that_differ():
    units = Units().after(np.full(50, 0.1)).after(np.full(1, 0.1))
    assert (units.known, units.count, units.mean) == (False, 51, 0.1)
    units = units.after(np.array([]))
    more = units.after(np.array([0.1, 1.1]))
    assert more.deviation == pytest.approx(np.std([0.1] * 52 + [1.1]))
    assert more.after(np.array([9.0])) is more


@functools.cache
def words():
    return few_words(0, words=2, prompt_words=3)


def run(name, folder, level, scale):
    """A whole training on a world of few words: reward and KL at the end, and every row."""
    world, settings = words(), settings_of(name, scale, steps=5)
    reward = copy.copy(world.reward)
    score = world.reward.function
    object.__setattr__(reward, "function", lambda x, y: [scale * r + level for r in score(x, y)])
    oracle = name == "oracle"
    lm = world.frozen.lm if oracle else world.prompter.lm
    policy = copy_of(lm)
    if oracle:
        collect = oracle_collector(type(world.frozen)(policy), reward, settings)
    else:
        collect = prompter_collector(type(world.prompter)(policy), world.frozen, reward, settings)
    folder.mkdir()
    train(
        policy,
        lm,
        learner(policy.model, settings),
        collect,
        as_prompts(world.prompts),
        settings,
        Job(folder, "training", 0, StopRequest(""), Progress()),
        max_failed=0.0,
    )
    return rows(folder)


@pytest.mark.parametrize("name", ["ppo", "ppo, plain", "rloo", "grpo, divided", "oracle"])
def test_a_whole_run_is_that_of_any_units_of_reward(name, tmp_path):
    plain = run(name, tmp_path / "plain", 0.0, 1.0)
    assert plain[-1]["kl"] > 0.02
    for a, b in zip(plain, run(name, tmp_path / "other", 100.0, 10.0), strict=True):
        assert b["kl"] == pytest.approx(a["kl"], abs=1e-3)
        assert (b["reward"] - 100) / 10 == pytest.approx(a["reward"], abs=1e-3)
