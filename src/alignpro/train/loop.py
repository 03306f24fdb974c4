"""The training loop of one policy: collect, update, log, save; resumes where it stopped.

The prompter and the RLHF oracle run through the same loop and differ in `collect` alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignpro import folder as files
from alignpro.config import TrainSettings
from alignpro.errors import CheckpointError, Interrupted, RewardFailure
from alignpro.interrupt import StopRequest
from alignpro.maths.kl import KlCoefficient
from alignpro.models.local import LanguageModel
from alignpro.models.logprobs import collate, score
from alignpro.progress import Advance
from alignpro.rng import derive
from alignpro.train import checkpoint, ppo
from alignpro.types import FloatArray, Generation


@dataclass(frozen=True, slots=True)
class Collected:
    """What one step's sampling gave: N actions, the reward [N] of each (nan where it failed), and what it took."""

    queries: list[list[int]]
    actions: list[Generation]
    rewards: FloatArray
    failures: Counter[str]
    frozen_calls: int


Collect = Callable[[Sequence[str], int], Collected]
"""(prompts, seed) -> Collected; samples the policy as it stands."""

Monitor = Callable[[int], None]
"""Called with the step after which a small evaluation is due."""


@dataclass
class Progressed:
    """How far a training came."""

    step: int
    kl: KlCoefficient
    frozen_calls: int = 0
    seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)


def train(
    policy: LanguageModel,
    reference: LanguageModel,
    collect: Collect,
    prompts: Sequence[str],
    settings: TrainSettings,
    *,
    folder: Path,
    seed: int,
    max_failed: float,
    stop: StopRequest,
    advance: Advance,
    say: Callable[[str], None],
    monitor: Monitor | None = None,
    monitor_every: int = 0,
) -> Progressed:
    """Train `policy` in place for `settings.steps` steps, from the newest checkpoint in `folder` if there is one.

    Every step's prompts and draws follow from (seed, step) alone, so a resumed run repeats an uninterrupted one. Raises
    RewardFailure past `max_failed`, Interrupted where a stop was asked for, CheckpointError; each after saving what
    can be.
    """
    head = ppo.ValueHead(policy.model.config.get_text_config().hidden_size).to(policy.model.device)
    optimizer = ppo.make_optimizer(policy.model, head, settings.ppo)
    kl = KlCoefficient(settings.kl.coef, settings.kl.adaptive, settings.kl.target, settings.kl.horizon)
    average = Average(policy.model, settings.average)
    done = _resume(folder, policy, head, optimizer, average, say) or Progressed(0, kl)
    files.keep_rows(folder / "metrics.jsonl", lambda row: row["step"] <= done.step)
    files.keep_rows(folder / "samples.jsonl", lambda row: row["step"] <= done.step and row["stage"] == "monitor")
    saved = done.step
    if monitor and monitor_every and done.step == 0 and settings.steps:
        monitor(0)

    def save() -> None:
        nonlocal saved
        if saved != done.step:
            checkpoint.save(
                folder / "checkpoints",
                done.step,
                _state(policy, head, optimizer, average, done),
                settings.keep_checkpoints,
            )
            saved = done.step

    while done.step < settings.steps:
        begun = time.perf_counter()
        step = done.step + 1
        batch_prompts = prompts_of_step(prompts, step, settings.prompts_per_step, seed)
        try:
            collected = collect(batch_prompts, derive(seed, "step", step))
            check_failures(collected.rewards, collected.failures, max_failed, f"step {step}")
        except Exception:
            save()
            raise
        metrics = _learn(
            policy,
            reference,
            head,
            optimizer,
            collected,
            settings,
            done.kl,
            step,
            derive(seed, "update", step),
        )
        average.after_step()
        done.step = step
        done.frozen_calls += collected.frozen_calls
        done.failures += collected.failures
        done.seconds += time.perf_counter() - begun
        row = {"step": step, **metrics, "failed": int(np.isnan(collected.rewards).sum())}
        row |= {"frozen_calls": done.frozen_calls, "seconds": round(done.seconds, 3)}
        files.append_jsonl(folder / "metrics.jsonl", [row])
        done.kl = done.kl.after(metrics["kl"], len(collected.rewards))
        advance(step, f"reward {metrics['reward']:.3f}  KL {metrics['kl']:.2f}  {_failed(done.failures)}".rstrip())
        if monitor and monitor_every and (step % monitor_every == 0 or step == settings.steps):
            monitor(step)
        if step % settings.save_every == 0 or step == settings.steps or stop.asked:
            save()
        if stop.asked:
            raise Interrupted(f"stopped after step {step} of {settings.steps}")
    average.take()
    return done


class Average:
    """A moving average of a model's trained weights: less of the last steps' noise in what training gives.

    After each step, average = keep * average + (1 - keep) * weights. With keep 0 the weights themselves are the result.
    """

    def __init__(self, model: torch.nn.Module, keep: float) -> None:
        self._model, self._keep = model, keep
        self.weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad} if keep else {}

    def after_step(self) -> None:
        for name, weight in self._model.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(weight.detach(), 1 - self._keep)

    @torch.no_grad()
    def take(self) -> None:
        """Put the average into the model."""
        for name, weight in self._model.named_parameters():
            if name in self.weights:
                weight.copy_(self.weights[name])


def prompts_of_step(prompts: Sequence[str], step: int, per_step: int, seed: int) -> list[str]:
    """The prompts of a step (from 1): slices of one shuffled pass over the data after another."""
    chosen: list[str] = []
    for position in range((step - 1) * per_step, step * per_step):
        epoch, index = divmod(position, len(prompts))
        if not chosen or index == 0:
            order = np.random.default_rng(derive(seed, "order", epoch)).permutation(len(prompts))
        chosen.append(prompts[order[index]])
    return chosen


def check_failures(rewards: FloatArray, failures: Counter[str], max_failed: float, where: str) -> None:
    """Raise RewardFailure where more than the allowed share of samples has no reward."""
    failed = int(np.isnan(rewards).sum())
    if (failed and failed > max_failed * rewards.size) or failed == rewards.size:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in failures.most_common(3))
        raise RewardFailure(
            f"{where}: {failed} of {rewards.size} samples have no reward ({reasons}), more than the"
            f" {max_failed:.0%} that reward.max_failed allows"
        )


def _learn(
    policy: LanguageModel,
    reference: LanguageModel,
    head: ppo.ValueHead,
    optimizer: torch.optim.Optimizer,
    collected: Collected,
    settings: TrainSettings,
    kl: KlCoefficient,
    step: int,
    seed: int,
) -> dict[str, float]:
    rows = np.flatnonzero(np.isfinite(collected.rewards))
    queries = [collected.queries[i] for i in rows]
    actions = [collected.actions[i] for i in rows]
    rewards = collected.rewards[rows]
    tokens = [a.tokens for a in actions]
    temperature = policy.sampling.temperature
    ref = score(reference.model, queries, tokens, reference.pad_id, temperature, policy.batch_size)
    kls = np.array([float(a.logprobs.sum() - r.sum()) for a, r in zip(actions, ref, strict=True)])
    batch = collate(queries, tokens, policy.pad_id, policy.model.device)
    experience = ppo.Experience(
        batch,
        _padded([a.logprobs for a in actions], batch.action_mask),
        _padded(ref, batch.action_mask),
        torch.as_tensor(rewards, dtype=torch.float32, device=policy.model.device),
    )
    step_scale = min(1.0, step / max(1, settings.ppo.warmup_steps))
    if settings.ppo.anneal:
        step_scale *= 1 - 0.9 * step / settings.steps
    rates = [settings.ppo.learning_rate, settings.ppo.value_learning_rate or settings.ppo.learning_rate]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * step_scale
    metrics = ppo.update(
        policy.model,
        head,
        optimizer,
        experience,
        settings.ppo,
        kl_coef=kl.value,
        temperature=temperature,
        seed=seed,
    )
    mean_kl = float(kls.mean())
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "objective": float(rewards.mean()) - kl.value * mean_kl,
        "kl": mean_kl,
        "kl_coef": kl.value,
        **metrics,
        "action_tokens": float(np.mean([len(t) for t in tokens])),
        "cut_off": float(np.mean([a.finish == "length" for a in actions])),
        "learning_rate": rates[0] * step_scale,
    }


def _padded(rows: Sequence[Any], mask: torch.Tensor) -> torch.Tensor:
    padded = torch.zeros(mask.shape)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.as_tensor(row)
    return padded.to(mask.device)


def _state(
    policy: LanguageModel,
    head: ppo.ValueHead,
    optimizer: torch.optim.Optimizer,
    average: Average,
    done: Progressed,
) -> dict[str, Any]:
    return {
        "average": average.weights,
        "policy": policy.model.state_dict(),
        "value_head": head.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": checkpoint.random_states(),
        "kl": asdict(done.kl),
        "step": done.step,
        "frozen_calls": done.frozen_calls,
        "seconds": done.seconds,
        "failures": dict(done.failures),
    }


def _resume(
    folder: Path,
    policy: LanguageModel,
    head: ppo.ValueHead,
    optimizer: torch.optim.Optimizer,
    average: Average,
    say: Callable[[str], None],
) -> Progressed | None:
    found = checkpoint.load_latest(folder / "checkpoints")
    if found is None:
        return None
    for fault in found.passed_over:
        say(f"checkpoint {fault}; falling back to the one before")
    state = found.state
    try:
        policy.model.load_state_dict(state["policy"])
        head.load_state_dict(state["value_head"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights = {name: weight.to(policy.model.device) for name, weight in state["average"].items()}
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint of step {found.step} is not of this model ({str(error).splitlines()[0]})"
        ) from None
    checkpoint.restore_random_states(state["random"])
    say(f"resumed after step {found.step}")
    return Progressed(
        found.step,
        KlCoefficient(**state["kl"]),
        state["frozen_calls"],
        state["seconds"],
        Counter(state["failures"]),
    )


def _failed(failures: Counter[str]) -> str:
    total = sum(failures.values())
    return f"{total} failed samples masked" if total else ""
