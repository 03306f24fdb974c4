"""The stages of a run: train the prompter, train the oracle, compare the arms, estimate the headroom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro import folder as files
from alignpro.assemble import Pieces, copy_of, load_other_frozen, load_trained
from alignpro.config import OFFLINE, Settings, TrainSettings
from alignpro.errors import RunFailure
from alignpro.evaluate.arms import ArmResult, run_arm, sample_rows
from alignpro.evaluate.summary import summarise
from alignpro.folder import RunFolder
from alignpro.headroom.estimates import Estimator
from alignpro.headroom.robustness import robustness
from alignpro.headroom.samples import gather
from alignpro.interrupt import StopRequest
from alignpro.models.local import LanguageModel, LocalFrozenModel, LocalPrompter, fingerprint
from alignpro.progress import Progress
from alignpro.rng import derive
from alignpro.train import offline
from alignpro.train import prompter as prompter_training
from alignpro.train import rlhf as rlhf_training
from alignpro.train.collected import Collect, check_failures
from alignpro.train.loop import prompts_of_step, train
from alignpro.train.methods import learner


@dataclass(frozen=True)
class Run:
    """An open run: its folder, its pieces, and how to speak and stop."""

    folder: RunFolder
    pieces: Pieces
    progress: Progress
    stop: StopRequest

    @property
    def settings(self) -> Settings:
        return self.pieces.settings


def train_prompter(run: Run) -> None:
    """Train the prompter on (9) and write it as a plain Hugging Face model to prompter/."""
    settings, pieces = run.settings, run.pieces
    if run.folder.trained:
        return
    policy = LocalPrompter(copy_of(pieces.reference.lm))
    before = fingerprint(pieces.frozen.lm.model)
    watched = pieces.prompts.test[: settings.evaluate.monitor_prompts]

    def monitor(step: int) -> None:
        arm = run_arm("align_pro", pieces.models(policy, None), watched, settings, derive(settings.seed, "monitor"), 1)
        files.append_jsonl(run.folder.samples, sample_rows(arm, "monitor", step))

    collect, spent = _experience(run, policy)
    _train(
        run,
        "training the prompter",
        policy.lm,
        pieces.reference.lm,
        collect,
        settings.train,
        folder=run.folder.path,
        seed=derive(settings.seed, "train"),
        monitor=monitor,
        monitor_every=settings.evaluate.every,
        spent=spent,
    )
    if fingerprint(pieces.frozen.lm.model) != before:
        raise RunFailure(
            "the frozen model's weights changed during training, which is a defect of alignpro; please report it"
        )
    _save_model(policy.lm.model, policy.lm.tokenizer, run.folder.prompter)


def _experience(run: Run, policy: LocalPrompter) -> tuple[Collect, int]:
    """Where training's samples come from, and the answers asked of the frozen model beforehand."""
    settings, pieces = run.settings, run.pieces
    if settings.train.method not in OFFLINE:
        return prompter_training.collector(pieces.pipeline(policy), pieces.frozen, pieces.reward, settings.train), 0
    seed, per_step = derive(settings.seed, "train"), settings.train.prompts_per_step
    steps = [prompts_of_step(pieces.prompts.train, s + 1, per_step, seed) for s in range(settings.train.steps)]
    prompts = list(dict.fromkeys(prompt for step in steps for prompt in step))
    with run.progress.task("sampling the reference", len(prompts)) as advance:
        gathered = offline.gather(
            prompts,
            pieces.pipeline(pieces.reference),
            pieces.frozen,
            pieces.reward,
            settings.train,
            path=run.folder.path / "rollouts.jsonl",
            seed=derive(settings.seed, "offline"),
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
        )
    return offline.replay(gathered), offline.calls(gathered)


def train_rlhf(run: Run) -> None:
    """Train the oracle by the same PPO on (2) and write it to rlhf/model/."""
    settings, pieces = run.settings, run.pieces
    target = run.folder.rlhf / "model"
    if (target / "config.json").is_file():
        return
    run.folder.rlhf.mkdir(exist_ok=True)
    policy = LocalFrozenModel(copy_of(pieces.frozen.lm))
    _train(
        run,
        "training the RLHF oracle",
        policy.lm,
        pieces.frozen.lm,
        rlhf_training.collector(policy, pieces.reward, settings.rlhf),
        settings.rlhf,
        folder=run.folder.rlhf,
        seed=derive(settings.seed, "rlhf"),
    )
    _save_model(policy.lm.model, policy.lm.tokenizer, target)


def _train(
    run: Run,
    what: str,
    policy: LanguageModel,
    reference: LanguageModel,
    collect: Collect,
    settings: TrainSettings,
    **own: Any,
) -> None:
    """Train one policy of the run by its settings' method; `own` is what `train` needs to know of this one alone."""
    with run.progress.task(what, settings.steps) as advance:
        train(
            policy,
            reference,
            learner(policy.model, settings),
            collect,
            run.pieces.prompts.train,
            settings,
            max_failed=run.settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            say=run.progress.say,
            **own,
        )


def evaluate(run: Run) -> dict[str, Any]:
    """Run every arm on the held-out prompts with the models as saved, and write evaluation.json and samples.jsonl."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    oracle = folder.rlhf / "model"
    models = pieces.models(trained, load_other_frozen(settings, oracle) if (oracle / "config.json").is_file() else None)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    seed = derive(settings.seed, "evaluate")
    files.keep_rows(folder.samples, lambda row: row["stage"] == "monitor")
    names = [n for n in arm_names(settings) if not (n == "align_pro" and trained is None)]
    arms: list[ArmResult] = []
    with run.progress.task("evaluating", len(names)) as advance:
        for number, name in enumerate(names):
            advance(number, name)
            arm = run_arm(name, models, prompts, settings, seed, settings.evaluate.responses)
            files.append_jsonl(folder.samples, sample_rows(arm, "evaluation", settings.train.steps))
            check_failures(arm.rewards, arm.failures, settings.reward.max_failed, f"arm {name}")
            arms.append(arm)
            run.stop.check()
        second = pieces.second_reward.name if pieces.second_reward else None
        summary = summarise(
            arms,
            pieces.judge,
            pieces.reward.name,
            second,
            settings.evaluate.bootstrap,
            derive(seed, "bootstrap"),
        )
        advance(len(names), "")
    summary["settings"] = settings.evaluate.model_dump(mode="json")
    files.write_json(folder.evaluation, summary)
    return summary


def arm_names(settings: Settings) -> list[str]:
    """The arms of the settings, and of a chain every pass before the last."""
    passes = [f"pass_{number + 1}" for number in range(len(settings.prompter.before))]
    arms = settings.evaluate.arms
    return [*arms, *(name for name in passes if name not in arms)]


def headroom(run: Run) -> dict[str, Any]:
    """Estimate how much there is to gain, the trained prompter in it where there is one, and write headroom.json."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    models = pieces.models(trained, None)
    prompts = pieces.prompts.test
    chosen = sorted(range(len(prompts)), key=lambda i: derive(settings.seed, "headroom", prompts[i]))
    prompts = tuple(prompts[i] for i in sorted(chosen[: settings.headroom.prompts]))
    seed = derive(settings.seed, "headroom")
    identity = [fingerprint(lm.model) for lm in (trained.lm if trained else pieces.reference.lm, pieces.frozen.lm)]
    with run.progress.task("estimating the headroom", len(prompts)) as advance:
        samples = gather(
            prompts,
            models,
            trained.lm if trained else None,
            settings.headroom,
            path=folder.path / "headroom_samples.jsonl",
            identity=" ".join([*identity, pieces.reward.name, str(trained is not None)]),
            seed=seed,
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
        )
    estimator = Estimator(
        samples,
        settings.train.kl.coef,
        settings.rlhf.kl.coef,
        settings.headroom,
        settings.evaluate.gibbs_responses,
        settings.evaluate.bootstrap,
        derive(seed, "bootstrap"),
    )
    found = estimator.report(pieces.reward.name)
    if kinds := settings.headroom.noise:
        with run.progress.task("adding noise", len(kinds) + 1) as advance:

            def next_kind(number: int, name: str) -> None:
                run.stop.check()
                advance(number, name)

            found["noise"] = robustness(
                estimator,
                models,
                kinds,
                lambda name: load_other_frozen(settings, name),
                derive(seed, "noise"),
                next_kind,
            )
            advance(len(kinds) + 1, "")
        found["frozen_calls"] += sum(row["frozen_calls"] for row in found["noise"])
    files.write_json(folder.headroom, found)
    return found


def _save_model(model: Any, tokenizer: Any, target: Path) -> None:
    """Plain Hugging Face layout; config.json comes last, by the rename, so that its presence means the model is
    whole."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(target)
    except Exception as error:
        raise RunFailure(f"{target} could not be written ({error}); free some space and go on with --resume") from None
