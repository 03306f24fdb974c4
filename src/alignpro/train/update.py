"""What every method shares: the experience of a step, and clipped-surrogate epochs over it in minibatches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from alignpro.config import OnlineSettings
from alignpro.maths import losses
from alignpro.maths.kl import k3
from alignpro.models.logprobs import Actions
from alignpro.models.sharding import clip
from alignpro.runtime import processes
from alignpro.train.guard import check, check_weights
from alignpro.train.master_weights import MasterAdam
from alignpro.train.pieces import Cut, Pieces
from alignpro.train.step_size import StepSize, moved


@dataclass(frozen=True, slots=True)
class Experience:
    """N rows of actions taken: logprobs and ref_logprobs [N, T] (0 on padding), rewards, groups, counts [N].

    Rows of one group answer the same prompt; `counts` says how often each was drawn. Rewards, and the `kl_coef` beside
    them, are in the units of `train.units`.
    """

    actions: Actions
    logprobs: Tensor
    ref_logprobs: Tensor
    rewards: Tensor
    groups: Tensor
    counts: Tensor


class Learner(Protocol):
    """A method: what it holds beside the policy, and what it does with a step's experience.

    A checkpoint keeps its optimiser, its rate and the size of its pieces; a method that holds more says so in
    `state_dict` and `load_state_dict`. `powers` names the metrics that are in units of reward, and the power of the
    unit.
    """

    optimizer: torch.optim.Optimizer
    step_size: StepSize
    pieces: Pieces
    powers: Mapping[str, int] = {}

    def update(self, experience: Experience, *, kl_coef: float, temperature: float, seed: int) -> dict[str, float]:
        """Improve the policy; the metrics of `docs/metrics.md`. Raises LossNotFinite before a step that would ruin
        it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything of it that a checkpoint needs."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "rate": self.step_size.rate,
            "most": self.step_size.most,
            "tokens": self.pieces.tokens,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo what happened since `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_size.rate, self.step_size.most = state["rate"], state.get("most")
        self.pieces.tokens = self.pieces.tokens or state.get("tokens")


PieceLoss = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Row indices -> loss summed over tokens, and figures summed likewise."""


def adam(policy: nn.Module, step_size: StepSize, *more: dict[str, Any]) -> torch.optim.Optimizer:
    """Adam over the policy's trained weights, and over `more` parameter groups, which have an `own_rate`."""
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = MasterAdam([{"params": trained, "own_rate": None}, *more])
    step_size.begin(optimizer, 1.0)
    return optimizer


def surrogate(
    logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped policy loss summed over tokens [N, T], and how far the policy has moved."""
    loss = losses.ppo_policy(logprobs, old, advantages, mask, clip)
    with torch.no_grad():
        clipped = ((logprobs - old).exp() - 1).abs() > clip
        figures = {
            "policy_loss": loss.detach(),
            "approx_kl": losses.masked_sum(k3(old, logprobs), mask),
            "clip_share": losses.masked_sum(clipped.float(), mask),
            "moved": moved(logprobs, old, mask),
            "apart": losses.masked_sum((old - logprobs).abs(), mask),
            "feigned": losses.masked_sum(old - logprobs, mask),
        }
    return loss, figures


def sweep(
    learner: Learner, experience: Experience, settings: OnlineSettings, piece_loss: PieceLoss, seed: int
) -> dict[str, float]:
    """`epochs` passes over N rows in shuffled minibatches; losses are a token of their minibatch.

    Several processes share every minibatch by rows and sum their gradients, which therefore are those of one process.
    Stops early, before the update that would carry the policy further, when a minibatch's mean approximate KL to the
    sampling policy passes 1.5 times `target_kl`, or its movement what the step size allows. How far the whole step went
    is measured on the last minibatch, and steers the next step's size. On the first, before any update, stands how far
    log-probabilities as sampled are from those computed here, which is rounding: it is no movement.
    """
    mask = experience.actions.action_mask
    cut = learner.pieces.cutter(experience.actions, experience.groups, piece_loss)
    gap: dict[str, float] = {}
    rounding = 0.0
    generator = torch.Generator().manual_seed(seed)
    log: dict[str, list[float]] = {}
    shuffled = [
        rows
        for _ in range(settings.epochs)
        for rows in torch.randperm(len(mask), generator=generator).split(settings.minibatch_size)
    ]
    for rows in shuffled:
        learner.optimizer.zero_grad(set_to_none=True)
        figures = _over_pieces(rows, mask, settings, piece_loss, cut, learn=True)
        check(figures)
        step_kl, a_token, a_sample = (figures.pop(name) for name in ("step_kl", "apart", "feigned"))
        if not gap:
            gap, rounding = {"sampling_gap": a_token, "sampling_kl": a_sample}, step_kl
        step_kl = max(0.0, step_kl - rounding)
        stopped = settings.target_kl is not None and figures["approx_kl"] > 1.5 * settings.target_kl
        if log and (stopped or learner.step_size.is_too_far(step_kl)):
            break
        figures |= step(learner.optimizer, settings.max_grad_norm)
        for name, number in figures.items():
            log.setdefault(name, []).append(number)
    else:
        with torch.no_grad():
            step_kl = _over_pieces(rows, mask, settings, piece_loss, cut, learn=False)["step_kl"]
            step_kl = max(0.0, step_kl - rounding)
    learner.step_size.after(step_kl)
    metrics = {name: sum(values) / len(values) for name, values in log.items()}
    return metrics | gap | {"step_kl": step_kl, "updates": float(len(log.get("policy_loss", ())))}


def _over_pieces(
    rows: Tensor, mask: Tensor, settings: OnlineSettings, piece_loss: PieceLoss, cut: Cut, *, learn: bool
) -> dict[str, float]:
    """A minibatch's figures a token, and `step_kl` and `feigned` a sample, over all processes; with `learn` its
    gradients too."""
    tokens = mask[rows].sum()
    figures: dict[str, float] = {}
    for piece, counts in processes.pieces(rows, settings.gradient_accumulation, cut):
        loss, parts = piece_loss(piece)
        if learn:
            (counts * loss / tokens).backward()
        for name, value in parts.items():
            figures[name] = figures.get(name, 0.0) + counts * float(value / tokens)
    figures = processes.total_figures(figures)
    length = float(tokens) / len(rows)
    return figures | {"step_kl": figures.pop("moved") * length, "feigned": figures["feigned"] * length}


def step(optimizer: torch.optim.Optimizer, max_grad_norm: float | None) -> dict[str, float]:
    """One step of the optimiser on the gradients of all processes, summed and clipped; the norm before clipping.

    Raises LossNotFinite, before the step where the gradient is not finite.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    processes.total_gradients(parameters)
    figures = {"grad_norm": clip(parameters, math.inf if max_grad_norm is None else max_grad_norm)}
    check(figures)
    optimizer.step()
    check_weights(parameters)
    return figures
