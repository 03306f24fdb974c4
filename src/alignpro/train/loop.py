"""The training loop of one policy: collect, update, log, save; resumes where it stopped.

The prompter and the RLHF oracle run through the same loop and differ in `collect` alone.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignpro.config import TrainSettings
from alignpro.config.training import RlhfSettings
from alignpro.errors import Interrupted
from alignpro.flow.failures import check_failures
from alignpro.maths.kl import KlCoefficient
from alignpro.models.language_model import LanguageModel
from alignpro.models.logprobs import collate, score
from alignpro.models.lora import load_trained_state, trained_state
from alignpro.models.sharding import gathered, like, whole
from alignpro.results.words import plain
from alignpro.rng import derive
from alignpro.runtime import files, memory, processes
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.train import checkpoint, guard, records
from alignpro.train.collectors import Collect, Collected
from alignpro.train.units import PLAIN, Units
from alignpro.train.update import Experience, Learner
from alignpro.train.validation import Average, Monitor, Validation
from alignpro.train.watch import Watch
from alignpro.types import Prompt


@dataclass(frozen=True)
class Job:
    """What a training is part of: where it keeps its state, what its luck follows from, how it speaks and is stopped.

    `name` is what progress calls it; `track` gets every row of metrics.jsonl. `most_rejected` is the share of rewrites
    rejected by guards past which it stops.
    """

    folder: Path
    name: str
    seed: int
    stop: StopRequest
    progress: Progress
    track: Callable[[dict[str, Any]], None] | None = None
    most_rejected: float | None = None


@dataclass
class Progressed:
    """How far a training came."""

    step: int
    kl: KlCoefficient
    units: Units = field(default_factory=Units)
    frozen_calls: int = 0
    seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)


def train(
    policy: LanguageModel,
    reference: LanguageModel,
    learner: Learner,
    collect: Collect,
    prompts: Sequence[Prompt],
    settings: TrainSettings,
    job: Job,
    *,
    max_failed: float,
    monitor: Monitor | None = None,
    spent: int = 0,
    units: Units | None = None,
) -> Progressed:
    """Train `policy` in place by `learner` for `settings.steps` steps, from the newest checkpoint of the job if any.

    `spent` answers of the frozen model were asked before the first step. `units` are those of rewards, where the
    reference was sampled before; None takes them from the first step. What `monitor` sees decides, by the settings,
    whether it ends early and which weights are left in the policy. Every step's prompts and draws follow from
    (job.seed, step) alone, so a resumed run repeats an uninterrupted one. Raises RewardFailure past `max_failed`,
    Interrupted where a stop was asked for, CheckpointError, each after saving what can be; LossNotFinite, with the
    newest checkpoint left as it is.
    """
    kl = KlCoefficient(settings.kl.coef, settings.kl.adaptive, settings.kl.target, settings.kl.horizon)
    average = Average(policy.model, settings.average)
    validation = Validation(monitor, policy.model, average, settings, job.folder)
    done = _resume(job, policy, learner, average, validation) or Progressed(0, kl, units or Units(), spent)
    watch = Watch(job.folder, done.step, settings.steps, job.progress.say, job.most_rejected)
    saved = done.step
    validation.begin(done.step)

    collected: Collected | None = None
    step = done.step

    def broken(fault: str) -> str:
        return (
            f"step {step} of {settings.steps}: {fault}; {guard.kept(saved)}. Start anew with a lower {_rate(settings)},"
            " or look at kl.coef and the reward"
        )

    def save() -> None:
        nonlocal saved
        if saved != done.step:
            if collected is not None:
                _check_policy(policy, collected)
            state = whole(_state(policy, learner, average, validation, done))
            held = job.folder / "checkpoints"
            processes.by_first(
                lambda: checkpoint.save(held, done.step, state, settings.keep_checkpoints, records.taken(job.folder))
            )
            saved = done.step

    with job.progress.task(job.name, settings.steps, done.step) as advance, guard.telling(broken):
        while done.step < settings.steps and not (validation.over or watch.over):
            begun = time.perf_counter()
            step = done.step + 1
            batch_prompts = prompts_of_step(prompts, step, settings.prompts_per_step, job.seed)
            try:
                fresh = collect(batch_prompts, derive(job.seed, "step", step))
                check_failures(fresh.worth, fresh.failures, max_failed, f"step {step}")
            except Exception:
                save()
                raise
            collected = fresh
            if units is None:
                done.units = done.units.after(collected.worth[np.isfinite(collected.worth)])
            metrics = _learn(
                policy,
                reference,
                learner,
                collected,
                settings,
                done.kl,
                done.units,
                step,
                derive(job.seed, "update", step),
            )
            average.after_step(step)
            done.step = step
            done.frozen_calls += collected.frozen_calls
            done.failures += collected.failures
            done.seconds += time.perf_counter() - begun
            row = {"step": step, **metrics, "failed": int((~np.isfinite(collected.worth)).sum())}
            row |= {"frozen_calls": done.frozen_calls, "seconds": round(done.seconds, 3)}
            row["peak_gib"] = round(memory.peak(policy.model.device) / 2**30, 3)
            files.append_jsonl(job.folder / "metrics.jsonl", [row], checked=True)
            watch.after(row)
            if job.track:
                job.track(row)
            done.kl = done.kl.after(metrics["kl"], len(collected.rewards))
            width = 4 * metrics["reward_std"] / len(collected.rewards) ** 0.5
            reward = plain(metrics["reward"], width)
            advance(step, f"reward {reward}  KL {metrics['kl']:.2f}  {_failed(done.failures)}".rstrip())
            validation.after(step)
            stopping = job.stop.agreed()
            over = step == settings.steps or validation.over or watch.over
            if step % settings.save_every == 0 or over or stopping:
                save()
            if stopping:
                raise Interrupted(f"stopped after step {step} of {settings.steps}")
    taken = validation.take()
    if validation.over and done.step < settings.steps:
        job.progress.say(
            f"{job.name}: stopped after step {done.step} of {settings.steps}, since {settings.patience} looks at the"
            f" validation prompts were no better than that after step {validation.best_step}"
        )
    if settings.take == "best":
        told = (
            "the last weights are taken, since no look had an objective" if taken is None else f"step {taken} is best"
        )
        job.progress.say(f"{job.name}: {told}")
    return done


def prompts_of_step(prompts: Sequence[Prompt], step: int, per_step: int, seed: int) -> list[Prompt]:
    """The prompts of a step (from 1): slices of one shuffled pass over the data after another."""
    chosen: list[Prompt] = []
    for position in range((step - 1) * per_step, step * per_step):
        epoch, index = divmod(position, len(prompts))
        if not chosen or index == 0:
            order = np.random.default_rng(derive(seed, "order", epoch)).permutation(len(prompts))
        chosen.append(prompts[order[index]])
    return chosen


def _learn(
    policy: LanguageModel,
    reference: LanguageModel,
    learner: Learner,
    collected: Collected,
    settings: TrainSettings,
    kl: KlCoefficient,
    units: Units,
    step: int,
    seed: int,
) -> dict[str, float]:
    worth = collected.worth
    rows = np.flatnonzero(np.isfinite(worth))
    actions = [collected.actions[i] for i in rows]
    rewards, worth = collected.rewards[rows], worth[rows]
    queries, tokens = [a.query for a in actions], [a.tokens for a in actions]
    temperature, device = policy.sampling.temperature, policy.model.device
    ref = [a.logprobs for a in actions]
    if not collected.from_reference:
        size = f"{reference.section}.batch_size"
        ref = score(reference.model, queries, tokens, reference.pad_id, temperature, policy.batch_size, size)
    rate = learner.step_size.begin(learner.optimizer, _scale(step, settings))
    mean_kl = float(np.mean([a.logprobs.sum() - r.sum() for a, r in zip(actions, ref, strict=True)], dtype=np.float64))
    sampled = {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "objective": float(worth.mean()) - kl.value * mean_kl,
        "kl": mean_kl,
        "kl_coef": kl.value,
        "reward_zero": units.mean,
        "reward_unit": units.deviation if units.known else math.nan,
    }
    learned: dict[str, float] = {}
    if units.known:  # else all rewards are equal, and the best policy is the reference that it still is
        batch = collate(queries, tokens, policy.pad_id, device)
        experience = Experience(
            batch,
            _padded([a.logprobs for a in actions], batch.action_mask),
            _padded(ref, batch.action_mask),
            torch.as_tensor(units.canonical(worth), dtype=torch.float32, device=device),
            torch.as_tensor(collected.groups[rows], device=device),
            torch.as_tensor(np.ones(len(rows)) if collected.counts is None else collected.counts[rows], device=device),
        )
        with memory.lower(f"{_section(settings)}.update.tokens", learner.pieces.tokens, "updating the policy"):
            learned = learner.update(experience, kl_coef=kl.value / units.deviation, temperature=temperature, seed=seed)
        learned |= {name: learned[name] * units.deviation**power for name, power in learner.powers.items()}
    if "reward" in learned:  # an offline method tells the policy's own, not that of the samples
        learned["reward"] = units.told(learned["reward"])
        learned["objective"] = learned["reward"] - kl.value * learned["kl"]
    return {
        **sampled,
        **collected.columns,
        **learned,
        "action_tokens": float(np.mean([len(t) for t in tokens])),
        "cut_off": float(np.mean([a.finish == "length" for a in actions])),
        "empty": float(np.mean([len(a.tokens) > 0 and not a.text.strip() for a in collected.actions])),
        "learning_rate": rate,
    }


def _check_policy(policy: LanguageModel, collected: Collected) -> None:
    """Raise LossNotFinite where finite weights give log-probabilities that are not, of one action that was taken."""
    action = next(a for a in collected.actions if len(a.tokens))
    with gathered(policy.model):
        (logprobs,) = score(policy.model, [action.query], [action.tokens], policy.pad_id)
    guard.check({"the policy's log-probability of what it wrote": float(logprobs.sum())})


def _section(settings: TrainSettings) -> str:
    return "rlhf" if isinstance(settings, RlhfSettings) else "train"


def _rate(settings: TrainSettings) -> str:
    """What sets the size of steps, by the name of its setting."""
    section = _section(settings)
    part = next(name for name in ("ppo", "group", "offline") if getattr(settings, name) is settings.of_method)
    update = settings.of_method
    if update.learning_rate is None:
        return f"{section}.{part}.step_kl (it is {update.step_kl:g})"
    return f"{section}.{part}.learning_rate (it is {update.learning_rate:g})"


def _scale(step: int, settings: TrainSettings) -> float:
    """Share of the learning rate at a step (from 1)."""
    update = settings.of_method
    warm = min(1.0, step / max(1, update.warmup_steps))
    return warm * (1 - 0.9 * step / settings.steps) if update.anneal else warm


def _padded(rows: Sequence[Any], mask: torch.Tensor) -> torch.Tensor:
    padded = torch.zeros(mask.shape)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.as_tensor(row)
    return padded.to(mask.device)


def _state(
    policy: LanguageModel, learner: Learner, average: Average, validation: Validation, done: Progressed
) -> dict[str, Any]:
    return {
        "average": average.weights,
        "validation": validation.state(),
        "policy": trained_state(policy.model),
        "units": asdict(done.units),
        "learner": learner.state_dict(),
        "random": checkpoint.random_states(),
        "kl": asdict(done.kl),
        "step": done.step,
        "frozen_calls": done.frozen_calls,
        "seconds": done.seconds,
        "failures": dict(done.failures),
    }


def _resume(
    job: Job, policy: LanguageModel, learner: Learner, average: Average, validation: Validation
) -> Progressed | None:
    def put_back(state: dict[str, Any]) -> None:
        load_trained_state(policy.model, state["policy"])
        learner.load_state_dict(state["learner"])
        own = average.weights
        average.weights = {n: like(saved.to(own[n].device), own[n]) for n, saved in state["average"].items()}
        if "validation" in state:  # there is none in checkpoints from before it decided anything
            validation.load_state(state["validation"])
        state.setdefault("units", asdict(PLAIN))  # a run that began without goes on without

    latest = checkpoint.resume(job.folder / "checkpoints", put_back, job.progress.say)
    records.rewind(job.folder, latest, job.progress.say)
    if latest is None:
        return None
    state = latest.state
    return Progressed(
        latest.step,
        KlCoefficient(**state["kl"]),
        Units(**state["units"]),
        state["frozen_calls"],
        state["seconds"],
        Counter(state["failures"]),
    )


def _failed(failures: Counter[str]) -> str:
    total = sum(failures.values())
    return f"{total} failed sample{'s' * (total > 1)} masked" if total else ""
