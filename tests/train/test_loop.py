from collections import Counter

import numpy as np
import pytest

from alignpro.errors import RewardFailure
from alignpro.flow.failures import check_failures
from alignpro.train.loop import prompts_of_step


def test_every_prompt_is_seen_once_a_pass_in_another_order_each_time():
    prompts = [f"p{i}" for i in range(10)]
    seen = [p for step in range(1, 6) for p in prompts_of_step(prompts, step, 4, seed=0)]
    first, second = seen[:10], seen[10:20]
    assert sorted(first) == sorted(second) == sorted(prompts)
    assert first != second
    assert prompts_of_step(prompts, 3, 4, seed=0) == seen[8:12]  # a step's prompts follow from its number alone
    assert prompts_of_step(prompts, 1, 4, seed=1) != seen[:4]


def test_more_prompts_a_step_than_there_are_is_fine():
    assert len(prompts_of_step(["a", "b"], 1, 5, seed=0)) == 5


def test_failures_stop_a_run_only_past_their_share():
    rewards = np.array([1.0, np.nan, 2.0, 3.0])
    check_failures(rewards, Counter({"x": 1}), 0.25, "step 1")
    check_failures(np.ones(3), Counter(), 0.0, "step 1")
    with pytest.raises(RewardFailure, match="1 of 4 samples have no reward"):
        check_failures(rewards, Counter({"x": 1}), 0.2, "step 1")
    with pytest.raises(RewardFailure):
        check_failures(np.full(2, np.nan), Counter({"x": 2}), 1.0, "step 1")  # nothing to learn from
