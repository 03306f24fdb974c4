"""Training: the prompter, and the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from alignpro.config import OFFLINE, TrainSettings
from alignpro.errors import RunFailure
from alignpro.evaluate.arms import AlignPro, Arm, Rlhf
from alignpro.evaluate.models import Models
from alignpro.evaluate.sampling import run_arm, sample_rows
from alignpro.models import batches
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.results import Step, append_rows, read_rows
from alignpro.rng import derive
from alignpro.running.opening import Run
from alignpro.running.pieces import Pieces
from alignpro.running.stages.saving import publish, write_model
from alignpro.runtime import files, processes, run_folder
from alignpro.train import offline
from alignpro.train.collectors import Collect, oracle_collector, prompter_collector
from alignpro.train.loop import Job, prompts_of_step, train
from alignpro.train.methods import learner
from alignpro.train.policy import trainable
from alignpro.train.units import Units
from alignpro.train.validation import Monitor
from alignpro.types import FloatArray

Track = Callable[..., None]
"""(a step's row, prefix of its names, steps before it)."""


def train_prompter(run: Run, track: Track) -> None:
    """Train the prompter on (9) and write it as a plain Hugging Face model to prompter/; `track` gets every step."""
    settings, pieces = run.settings, run.pieces
    if run.folder.trained:
        return
    own = (pieces.prompter.lm, settings.prompter.lora, settings.train, "prompter.lora", settings.seed)
    with _unchanged(pieces), trainable(*own) as (policy_lm, reference_lm):
        policy, reference = LocalPrompter(policy_lm), LocalPrompter(reference_lm)
        models = pieces.models(policy, None, reference)

        collect, spent, units = _experience(run, policy, reference)
        spent += int((files.read_json(run.folder.reward_scales) or {}).get("frozen_calls", 0))
        train(
            policy_lm,
            reference_lm,
            learner(policy_lm.model, settings.train),
            collect,
            pieces.prompts.train,
            settings.train,
            Job(
                run.folder.path,
                "training the prompter",
                derive(settings.seed, "train"),
                run.stop,
                run.progress,
                track,
                settings.guards.stop,
            ),
            max_failed=settings.reward.max_failed,
            monitor=_monitor(run, AlignPro(), models, settings.train, run.folder.samples),
            spent=spent,
            units=units,
        )
        write_model(policy_lm.model, policy_lm.tokenizer, run.folder.prompter)
    processes.by_first(lambda: publish(run.folder.prompter))


def train_rlhf(run: Run, track: Track) -> None:
    """Train the oracle by the same PPO on (2) and write it to rlhf/model/; trackers see its steps after the
    prompter's, since they take none twice."""
    settings, pieces = run.settings, run.pieces
    target = run.folder.rlhf / "model"
    if run_folder.holds_model(target):
        return
    run.folder.rlhf.mkdir(exist_ok=True)
    frozen = pieces.local_frozen.lm
    own = (frozen, settings.rlhf.lora, settings.rlhf, "rlhf.lora", settings.seed)
    with _unchanged(pieces), trainable(*own) as (policy, reference):
        oracle = LocalFrozenModel(policy)
        models = replace(pieces.models(None, oracle), frozen=LocalFrozenModel(reference))
        train(
            policy,
            reference,
            learner(policy.model, settings.rlhf),
            oracle_collector(oracle, pieces.reward, settings.rlhf),
            pieces.prompts.train,
            settings.rlhf,
            Job(
                run.folder.rlhf,
                "training the RLHF oracle",
                derive(settings.seed, "rlhf"),
                run.stop,
                run.progress,
                lambda row: track(row, "rlhf/", settings.train.steps),
            ),
            max_failed=settings.reward.max_failed,
            monitor=_monitor(run, Rlhf(), models, settings.rlhf, run.folder.rlhf / "samples.jsonl"),
        )
        write_model(policy.model, policy.tokenizer, target)
    processes.by_first(lambda: publish(target))


def _monitor(run: Run, arm: Arm, models: Models, train: TrainSettings, samples: Path) -> Monitor | None:
    """Looks at the validation prompts, whose answers are written to `samples`; None where there are no such prompts."""
    settings = run.settings
    prompts = run.pieces.prompts.validation[: settings.evaluate.monitor_prompts]

    def look(step: int) -> dict[str, float]:
        made = run_arm(arm, models, prompts, settings, derive(settings.seed, "monitor"), 1)
        append_rows(samples, sample_rows(made, "monitor", step))
        bonus = 0.0 if made.bonus is None else made.bonus
        kl = np.full_like(made.rewards, np.nan) if made.kl is None else made.kl
        worth = made.rewards + bonus - train.kl.coef * kl
        return {"prompts": len(prompts), "reward": _mean(made.rewards), "kl": _mean(kl), "objective": _mean(worth)}

    return Monitor(settings.evaluate.every, look) if prompts else None


def _mean(values: FloatArray) -> float:
    """Over the samples that have a value; nan where none has."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def training_prompts(run: Run) -> int:
    """How many different prompts the prompter's training asked."""
    train, prompts = run.settings.train, run.pieces.prompts.train
    steps = train.steps
    if train.patience is not None or run.settings.guards.stop is not None:
        steps = int(next((row.step for row in reversed(read_rows(Step, run.folder.metrics))), steps))
    return min(len(set(prompts)), steps * train.prompts_per_step)


@contextmanager
def _unchanged(pieces: Pieces) -> Iterator[None]:
    """Check that training left the frozen model and the reference, an adapter's base, as they were to the last bit.

    Raises RunFailure where they did.
    """
    watched = {"the reference prompter": pieces.prompter.lm} if "prompter" in pieces else {}
    if isinstance(pieces.frozen, LocalFrozenModel):
        watched["the frozen model"] = pieces.frozen.lm
    before = {name: fingerprint(lm.model) for name, lm in watched.items()}
    yield
    for name, lm in watched.items():
        if fingerprint(lm.model) != before[name]:
            raise RunFailure(
                f"the weights of {name} changed during training, which is a defect of alignpro; please report it"
            )


def _experience(run: Run, policy: LocalPrompter, reference: LocalPrompter) -> tuple[Collect, int, Units | None]:
    """Where training's samples come from, the answers asked of the frozen model beforehand, and the units of rewards
    where those tell them."""
    settings, pieces = run.settings, run.pieces
    if settings.train.method not in OFFLINE:
        collect = prompter_collector(
            pieces.pipeline(policy), pieces.frozen, pieces.reward, settings.train, pieces.prompt_terms, pieces.guards
        )
        return collect, 0, None
    seed, per_step = derive(settings.seed, "train"), settings.train.prompts_per_step
    steps = [prompts_of_step(pieces.prompts.train, s + 1, per_step, seed) for s in range(settings.train.steps)]
    prompts = list(dict.fromkeys(prompt for step in steps for prompt in step))
    keep = batches.keeping(run.folder.batches)
    with keep as written, run.progress.task("sampling the reference", len(prompts)) as advance:
        gathered = offline.gather(
            prompts,
            pieces.pipeline(reference),
            pieces.frozen,
            pieces.reward,
            settings.train,
            path=run.folder.path / "rollouts.jsonl",
            seed=derive(settings.seed, "offline"),
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            written=written,
            prompt_terms=pieces.prompt_terms,
        )
    return offline.replay(gathered), offline.calls(gathered), offline.units_of(gathered)
