import torch

from alignpro.maths.losses import ppo_policy, ppo_value


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(4, 5, generator=generator)  # noqa: E731
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 4])[:, None]
    return draw(), draw(), draw(), mask


def test_at_the_sampling_policy_the_gradient_is_the_policy_gradient():
    logprobs, _, advantages, mask = tensors()
    logprobs.requires_grad_()
    ppo_policy(logprobs, logprobs.detach(), advantages, mask, clip=0.2).backward()
    assert torch.allclose(logprobs.grad, -advantages * mask)


def test_beyond_the_clip_in_the_favoured_direction_there_is_no_gradient():
    old, advantages, mask = torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), torch.ones(1, 2, dtype=torch.bool)
    new = torch.tensor([[0.5, -0.5]], requires_grad=True)
    ppo_policy(new, old, advantages, mask, clip=0.2).backward()
    assert (new.grad == 0).all()
    back = torch.tensor([[-0.5, 0.5]], requires_grad=True)  # moved the wrong way: the gradient stays
    ppo_policy(back, old, advantages, mask, clip=0.2).backward()
    assert (back.grad != 0).all()


def test_value_loss_never_falls_below_the_unclipped_one():
    values, old, returns, mask = tensors()
    clipped = ppo_value(values, old, returns, mask, clip=0.2)
    free = ppo_value(values, old, returns, mask, clip=1e9)
    assert clipped >= free
    assert torch.isclose(free, (0.5 * (values - returns) ** 2)[mask].sum())


def test_padding_counts_for_nothing():
    a, b, c, mask = tensors()
    dirty = [torch.where(mask, t, 50.0) for t in (a, b, c)]
    assert torch.equal(ppo_policy(a, b, c, mask, 0.2), ppo_policy(*dirty, mask, 0.2))
    assert torch.equal(ppo_value(a, b, c, mask, 0.2), ppo_value(*dirty, mask, 0.2))
