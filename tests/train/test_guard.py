"""What is not finite reaches neither weights nor checkpoints, whatever learns."""

import math

import pytest
import torch
from test_units import REWARDS, UPDATES, experience, settings_of, start

from alignpro.errors import LossNotFinite
from alignpro.runtime.files import read_jsonl
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.train import checkpoint, supervised
from alignpro.train.loop import Job, train
from alignpro.train.methods import learner
from alignpro.train.policy import copy_of
from alignpro.types import as_prompts


def finite(state):
    if isinstance(state, torch.Tensor):
        return bool(torch.isfinite(state).all()) if state.is_floating_point() else True
    if isinstance(state, dict):
        return all(finite(value) for value in state.values())
    return all(finite(value) for value in state) if isinstance(state, list) else True


@pytest.mark.parametrize("rate", [1e12, 1e30])
@pytest.mark.parametrize("name", UPDATES)
def test_training_that_diverges_stops_and_leaves_the_last_good_checkpoint(name, rate, tmp_path):
    settings = settings_of(name, 1.0, steps=4, save_every=1, keep_checkpoints=2)
    policy = copy_of(start())
    method = learner(policy.model, settings)
    part = next(part for part in ("ppo", "group", "offline") if getattr(settings, part) is settings.of_method)

    def collect(prompts, seed):
        if (tmp_path / "checkpoints" / "step-000002").exists():
            method.step_size.rate = rate
        return experience(REWARDS["usual"])

    section = "rlhf" if name == "oracle" else "train"
    says = (
        rf"step [34] of 4: .* is (not finite|nan|inf|-inf).*; the checkpoint of step [23] is whole.*{section}\.{part}\."
    )
    with pytest.raises(LossNotFinite, match=says):
        train(
            policy,
            start(),
            method,
            collect,
            as_prompts(["x"] * 8),
            settings,
            Job(tmp_path, "training", 0, StopRequest(""), Progress()),
            max_failed=0.0,
        )
    latest = checkpoint.load_latest(tmp_path / "checkpoints")
    assert latest.step in (2, 3)
    assert finite(latest.state)
    assert all(math.isfinite(row["grad_norm"]) for row in read_jsonl(tmp_path / "metrics.jsonl"))


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("loss", "step 2 of 3: the loss is nan at a learning rate"),
        ("gradient", "step 2 of 3: the gradient's length is inf at"),
        ("weight", "step 2 of 3: a weight is not finite after the optimiser's step at"),
    ],
)
def test_a_fit_stops_before_it_saves_what_is_not_finite(at, says, tmp_path):
    model = torch.nn.Linear(2, 1)
    kept = []

    def pieces(step):
        loss = model(torch.ones(1, 2)).square().sum()
        if step == 2 and at == "loss":
            loss = loss * math.nan
        if step == 2 and at == "gradient":
            model.weight.register_hook(lambda gradient: gradient * math.inf)
        if step == 2 and at == "weight":
            with torch.no_grad():
                model.bias[0] = math.inf
            loss = model.weight.square().sum()
        yield loss, float(loss.detach())

    with pytest.raises(LossNotFinite, match=f"{says}.*no checkpoint was saved before it"):
        supervised.fit(
            model, lambda step: step, pieces, 3, 1e-3, warmup=0, on_step=lambda step, loss: kept.append(step)
        )
    assert kept == [1]
