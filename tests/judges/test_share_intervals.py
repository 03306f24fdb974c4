"""Intervals of the shares won, tied and lost, and answers sampled otherwise than in training."""

from types import SimpleNamespace

import numpy as np
import pytest

from alignpro.config import DataSettings, Sampling
from alignpro.errors import SettingsError
from alignpro.evaluate.models import answering_by
from alignpro.judges.win_rate import share_intervals
from alignpro.lab import world
from alignpro.running.prompts import prompts_of


def test_swapping_the_arms_swaps_the_intervals_of_wins_and_losses():
    rng = np.random.default_rng(0)
    prompts = np.repeat(np.arange(30), 4)
    verdicts = [("a", "tie", "b", None)[i] for i in rng.choice(4, 120, p=[0.5, 0.2, 0.25, 0.05])]
    mirror = {"a": "b", "b": "a", "tie": "tie", None: None}
    found = share_intervals(verdicts, prompts)
    swapped = share_intervals([mirror[v] for v in verdicts], prompts)
    assert swapped["a"] == found["b"] and swapped["tie"] == found["tie"]
    for verdict in ("a", "tie", "b"):
        share = np.mean([v == verdict for v in verdicts if v is not None])
        assert found[verdict][0] < share < found[verdict][1]


def test_answers_to_one_prompt_that_agree_count_once():
    verdicts = [("a", "b")[i % 2] for i in range(20)]
    alone = share_intervals(verdicts, np.arange(20))["a"]
    repeated = share_intervals([v for v in verdicts for _ in range(50)], np.repeat(np.arange(20), 50))
    assert repeated["a"] == pytest.approx(alone)


def test_intervals_cover_the_share_of_all_prompts_as_often_as_they_say():
    rng, hits, trials = np.random.default_rng(2), 0, 300
    for _trial in range(trials):
        chance = rng.beta(2, 1, 60)  # prompts differ, on average 2/3 are won
        wins = rng.random((60, 3)) < chance[:, None]
        low, high = share_intervals(["a" if w else "b" for w in wins.ravel()], np.repeat(np.arange(60), 3))["a"]
        hits += low <= 2 / 3 <= high
    assert 0.9 <= hits / trials <= 0.985


def test_an_endpoint_is_not_asked_to_sample_otherwise():
    with pytest.raises(SettingsError, match=r"frozen\.sampling"):
        answering_by(SimpleNamespace(frozen=object(), rlhf=None), Sampling(top_p=0.5))


def test_the_kinds_of_lab_prompts_part_the_whole():
    everything = prompts_of(DataSettings(prompts="lab"), 0)
    parts = {kind: prompts_of(DataSettings(prompts=f"lab:{kind}"), 0) for kind in ("fact", "howto", "advice")}
    for side in ("train", "test"):
        texts = [x.text for part in parts.values() for x in getattr(part, side)]
        assert sorted(texts) == sorted(x.text for x in getattr(everything, side))
    for kind, part in parts.items():
        assert {world.read(x.text).subject.kind for x in part.test} == {kind}
