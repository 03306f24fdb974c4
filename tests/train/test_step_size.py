"""Steps are steered to one size whatever the model, the method and the weights that are trained."""

import copy

import numpy as np
import pytest
import torch
from tiny import make_model

from alignpro.config import GroupSettings, LoraSettings, OfflineSettings, PpoSettings, Sampling
from alignpro.models.logprobs import collate, score
from alignpro.models.lora import adapted
from alignpro.models.sampler import sample
from alignpro.train import group
from alignpro.train.offline import OfflineLearner
from alignpro.train.offline_losses import LOSSES
from alignpro.train.ppo import Ppo
from alignpro.train.step_size import FASTEST, HEADWAY, StepSize, moved, usual_rate
from alignpro.train.update import Experience

QUERIES = [[5, 2, 3], [7, 7], [9, 1, 4, 2]] * 3
SMALL = {"minibatch_size": 18, "epochs": 2}


def experience(model, reference, seed):
    """Four draws of each query, rewarded at random."""
    drawn = sample(model, QUERIES, [4] * len(QUERIES), Sampling(max_new_tokens=6), [], 0, seed, batch_size=64)
    queries = [query for query in QUERIES for _ in range(4)]
    tokens = [g.tokens for row in drawn for g in row]
    batch = collate(queries, tokens, 0)
    ref = score(reference, queries, tokens, 0)

    def padded(rows):
        return torch.stack([torch.as_tensor(np.pad(row, (0, 6 - len(row)))) for row in rows])[
            :, : batch.action.shape[1]
        ]

    rows = len(queries)
    return Experience(
        batch,
        padded([g.logprobs for row in drawn for g in row]),
        padded(ref),
        torch.randn(rows, generator=torch.Generator().manual_seed(seed)),
        torch.arange(rows) // 4,
        torch.ones(rows),
    )


LEARNERS = {
    "ppo": lambda model: Ppo(model, PpoSettings(**SMALL)),
    "rloo": lambda model: group.rloo(model, GroupSettings(**SMALL)),
    "dpo": lambda model: OfflineLearner(model, OfflineSettings(), LOSSES["dpo"]),
}


@pytest.mark.parametrize("weights", ["all", "adapter"])
@pytest.mark.parametrize("method", LEARNERS)
def test_every_step_moves_the_policy_by_about_what_is_asked(method, weights):
    reference = make_model("llama")
    model = copy.deepcopy(reference)

    def sizes(policy):
        learner = LEARNERS[method](policy)
        for step in range(16):
            learner.step_size.begin(learner.optimizer, 1.0)
            yield learner.update(experience(policy, reference, step), kl_coef=0.1, temperature=1.0, seed=step)[
                "step_kl"
            ]

    if weights == "all":
        last = list(sizes(model))[8:]
    else:
        with adapted(model, LoraSettings(rank=4, alpha=8), "prompter.lora", 0) as policy:
            last = list(sizes(policy))[8:]
    assert 0.01 < np.median(last) < 0.04  # 0.02 by default
    assert max(last) < 0.1


def test_a_rate_that_is_given_stays_as_it_is():
    size = StepSize(make_model("llama"), GroupSettings(learning_rate=3e-4))
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "own_rate": own} for own in (None, 0.05)], lr=1.0)
    for kl in (1e-9, 10.0):
        assert size.begin(optimizer, 0.5) == 1.5e-4
        assert [group["lr"] for group in optimizer.param_groups] == [1.5e-4, 0.025]
        assert not size.is_too_far(kl)
        size.after(kl)


def test_a_rate_is_bounded_where_nothing_moves_the_policy():
    model = make_model("llama")
    size = StepSize(model, GroupSettings())
    for _ in range(50):
        size.after(0.0)
    assert size.rate == FASTEST * usual_rate(model)


def test_a_policy_that_moves_no_more_does_not_raise_the_rate_beyond_what_once_moved_it():
    model = make_model("llama")
    size, settings = StepSize(model, GroupSettings()), GroupSettings()
    per_rate = settings.step_kl / (usual_rate(model) / 8) ** 2  # an eighth of the usual rate moves it as is wanted
    for _ in range(20):
        size.after(per_rate * size.rate**2)
    found = size.rate
    assert found == pytest.approx(usual_rate(model) / 8, rel=0.05)
    for _ in range(20):
        size.after(0.0)
    assert size.rate == size.most == pytest.approx(HEADWAY * found, rel=0.05)
    size.after(400 * settings.step_kl)  # one step that went astray does not bind those that follow
    assert size.most == pytest.approx(HEADWAY * found, rel=0.05)
    size.rate = HEADWAY * found
    size.after(settings.step_kl)  # seen to be right at this rate, which therefore may rise as far above it again
    assert size.most == pytest.approx(HEADWAY**2 * found, rel=0.05)


def test_a_token_that_became_impossible_does_not_pass_for_a_great_step():
    old, mask = torch.full((4, 5), -2.0), torch.ones(4, 5, dtype=torch.bool)
    new = old + 0.1
    new[0, 0] = -50.0
    assert float(moved(new, old, mask)) == pytest.approx(19 * 0.005 + 0.5)


def test_the_usual_rate_falls_with_width_and_is_ten_times_that_for_an_adapter():
    model = make_model("llama")  # 32 wide
    assert usual_rate(model) == pytest.approx(5e-5 * 62.5**0.8)
    with adapted(model, LoraSettings(rank=4, alpha=8), "prompter.lora", 0) as policy:
        assert usual_rate(policy) == pytest.approx(5e-4 * 62.5**0.8)


def test_the_first_step_corrects_the_slow_start_at_once_and_later_ones_by_half():
    size = StepSize(make_model("llama"), GroupSettings(step_kl=0.02))
    slow = size.rate
    size.after(0.02 / 64)
    assert size.rate == pytest.approx(8 * slow)
    size.after(0.02 / 16)
    assert size.rate == pytest.approx(16 * slow)
