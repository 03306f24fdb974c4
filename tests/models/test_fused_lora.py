"""An adapted layer that computes its product and its adapter's together says what peft's own says."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from tiny import make_model

from alignpro.config import LoraSettings
from alignpro.models.fused_lora import FusedLinear, fuse
from alignpro.models.lora import adapted

INPUT = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))


def layer(bias, dtype, **settings):
    torch.manual_seed(1)
    inside = torch.nn.Sequential(torch.nn.Linear(32, 24, bias=bias)).to(dtype)
    model = get_peft_model(inside, LoraConfig(r=4, lora_alpha=8, target_modules=["0"], **settings))
    torch.nn.init.normal_(model.base_model.model[0].lora_B["default"].weight, std=0.5)
    return model


def outcome(model, dtype):
    model.zero_grad()
    x = INPUT.bfloat16().to(dtype).requires_grad_()
    y = model(x)
    (y.float() * torch.arange(24) / 24).tanh().sum().backward()
    own = model.base_model.model[0]
    return [y.detach(), x.grad, own.lora_A["default"].weight.grad, own.lora_B["default"].weight.grad]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_values_and_gradients_are_those_of_peft(bias, dtype, bound):
    model = layer(bias, dtype)
    wanted = outcome(model, dtype)
    fuse(model)
    assert type(model.base_model.model[0]) is FusedLinear
    for got, want in zip(outcome(model, dtype), wanted, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        assert float((got.float() - want.float()).norm() / want.float().norm()) < bound


def test_in_low_precision_it_is_as_near_to_the_truth_as_peft():
    model = layer(True, torch.bfloat16)
    exact = outcome(copy.deepcopy(model).double(), torch.float64)

    def off(found):
        return [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]

    peft = off(outcome(model, torch.bfloat16))
    fuse(model)
    own = off(outcome(model, torch.bfloat16))
    assert max(own) < torch.finfo(torch.bfloat16).eps
    assert all(one < 3 * its for one, its in zip(own, peft, strict=True))


def test_switched_off_or_merged_it_is_the_layer_that_peft_says():
    model = layer(True, torch.float32)
    fuse(model)
    own = model.base_model.model[0]
    with model.disable_adapter():
        assert torch.equal(model(INPUT), own.base_layer(INPUT))
    apart = model(INPUT)
    own.merge()
    assert torch.allclose(model(INPUT), apart, atol=1e-5)
    own.unmerge()


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_what_it_does_not_compute_is_left_to_peft(settings):
    model = layer(True, torch.float32, **settings)
    fuse(model)
    assert type(model.base_model.model[0]) is Linear


def test_a_policy_computes_so_and_is_plain_again_afterwards():
    model = make_model("llama")
    with adapted(model, LoraSettings(rank=4, alpha=8), "policy.lora", 0) as policy:
        kinds = {type(one) for one in policy.modules() if isinstance(one, Linear)}
        assert kinds == {FusedLinear}
    assert not any(isinstance(one, Linear) for one in model.modules())
