"""Log-probabilities of the tokens that were taken, and their gradient, are log-softmax's."""

import pytest
import torch

from alignpro.models.logprobs import taken_logprobs


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("rows", [1, 17])  # 34 in all: more than are gone through at a time
def test_values_and_gradients_are_those_of_log_softmax(rows, temperature):
    luck = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(2, rows, 23, generator=luck)).requires_grad_()
    action = torch.randint(23, (2, rows), generator=luck)
    weights = torch.randn(2, rows, generator=luck)

    got = taken_logprobs(logits, action, temperature)
    (grad,) = torch.autograd.grad((weights * got).sum(), logits)
    wanted = (logits / temperature).log_softmax(-1).gather(-1, action[..., None]).squeeze(-1)
    (wanted_grad,) = torch.autograd.grad((weights * wanted).sum(), logits)

    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(grad, wanted_grad)


def test_half_precision_is_summed_in_float32_and_its_gradient_is_of_its_own_kind():
    logits = torch.randn(3, 40, 300, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    action = torch.zeros(3, 40, dtype=torch.long)
    got = taken_logprobs(logits, action, 1.0)
    torch.testing.assert_close(got, logits.float().log_softmax(-1)[..., 0])
    got.sum().backward()
    assert logits.grad.dtype == torch.bfloat16
    assert abs(float(logits.grad.float().sum())) < 0.1  # each row's gradient sums to nothing
