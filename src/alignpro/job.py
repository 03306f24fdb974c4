"""The job: train the prompter (and the oracle), compare the arms, report. Each stage can be resumed."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from alignpro import config, threads
from alignpro import folder as files
from alignpro.assemble import Pieces, assemble, copy_of, load_rlhf, load_trained
from alignpro.config import OFFLINE, Settings
from alignpro.errors import RunFailure, UsageError
from alignpro.evaluate import optimum
from alignpro.evaluate.arms import ArmResult, run_arm, sample_rows
from alignpro.evaluate.summary import summarise
from alignpro.folder import RunFolder
from alignpro.interrupt import StopRequest
from alignpro.models.local import LocalFrozenModel, LocalPrompter, fingerprint
from alignpro.progress import Progress
from alignpro.report import write_report
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


def run(settings: Settings | None, out: str | Path, *, resume: bool = False, stages: str = "all") -> dict[str, Any]:
    """Do the whole job in `out`, or its training alone with stages="train"; returns what evaluation.json holds.

    Raises errors of the tree in `alignpro.errors`; what was computed before one is in the folder, and `resume` goes on
    from there.
    """
    begun, out = time.perf_counter(), Path(out)
    progress = Progress()
    if resume:
        folder, settings = files.reopen(out, settings)
    else:
        assert settings is not None
        folder = RunFolder(out)
    count = threads.use(_threads(settings, folder, resume))
    pieces = assemble(settings, progress.say)
    if not resume:
        folder = files.claim(out, settings)
        files.write_json(folder.path / "environment.json", environment(settings, pieces, count))
    with StopRequest("finishing this step and saving") as stop:
        opened = Run(folder, pieces, progress, stop)
        progress.say(
            f"{len(pieces.prompts.train)} training and {len(pieces.prompts.test)} test prompts; prompter"
            f" {pieces.reference.name}, frozen model {pieces.frozen.name}, reward {pieces.reward.name};"
            f" writing to {out}"
        )
        train_prompter(opened)
        if settings.rlhf.enabled:
            train_rlhf(opened)
        if stages == "train":
            return {}
        summary = evaluate(opened)
        write_report(folder.path)
    progress.say(
        f"done in {time.perf_counter() - begun:.0f} s; cost: {_answers(folder, summary):,} answers of the frozen model,"
        f" {summary['cost']['frozen_calls']:,} of them in the evaluation"
    )
    return summary


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
    with run.progress.task("training the prompter", settings.train.steps) as advance:
        train(
            policy.lm,
            pieces.reference.lm,
            learner(policy.lm.model, settings.train),
            collect,
            pieces.prompts.train,
            settings.train,
            folder=run.folder.path,
            seed=derive(settings.seed, "train"),
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            say=run.progress.say,
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
    with run.progress.task("training the RLHF oracle", settings.rlhf.steps) as advance:
        train(
            policy.lm,
            pieces.frozen.lm,
            learner(policy.lm.model, settings.rlhf),
            rlhf_training.collector(policy, pieces.reward, settings.rlhf),
            pieces.prompts.train,
            settings.rlhf,
            folder=run.folder.rlhf,
            seed=derive(settings.seed, "rlhf"),
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            say=run.progress.say,
        )
    _save_model(policy.lm.model, policy.lm.tokenizer, target)


def evaluate(run: Run) -> dict[str, Any]:
    """Run every arm on the held-out prompts with the models as saved, and write evaluation.json and samples.jsonl."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    oracle = folder.rlhf / "model"
    models = pieces.models(trained, load_rlhf(settings, oracle) if (oracle / "config.json").is_file() else None)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    seed = derive(settings.seed, "evaluate")
    files.keep_rows(folder.samples, lambda row: row["stage"] == "monitor")
    names = [n for n in settings.evaluate.arms if not (n == "align_pro" and trained is None)]
    arms: list[ArmResult] = []
    extra = 1 if trained is not None and settings.evaluate.optimum.prompts else 0
    with run.progress.task("evaluating", len(names) + extra) as advance:
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
        summary["optimum"] = None
        if trained is not None and extra:
            advance(len(names), "the closed-form optimum")
            summary["optimum"] = optimum.estimate(
                prompts,
                pieces.reference,
                trained,
                pieces.frozen,
                pieces.reward,
                settings.evaluate.optimum,
                settings.train.kl.coef,
                settings.evaluate.bootstrap,
                seed,
            )
            if summary["optimum"]:
                summary["cost"]["frozen_calls"] += summary["optimum"]["frozen_calls"]
        advance(len(names) + extra, "")
    summary["settings"] = settings.evaluate.model_dump(mode="json")
    files.write_json(folder.evaluation, summary)
    return summary


def evaluate_again(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Evaluate a finished run anew, with `evaluate.key=value` overrides, replacing its evaluation.json and report.

    Raises UsageError where the folder holds no run or an override is of another section.
    """
    folder = RunFolder(path)
    folder.settings()
    foreign = [o for o in overrides if not o.startswith(("evaluate.", "threads=", "device="))]
    if foreign:
        raise UsageError(f"{foreign[0]!r}: a finished run can be evaluated with other evaluate.* settings alone")
    settings = config.load(folder.config, overrides)
    if not folder.trained:
        raise UsageError(f"{path} holds no trained prompter yet; finish it by `alignpro run --resume --out {path}`")
    progress = Progress()
    threads.use(_threads(settings, folder, resume=True))
    pieces = assemble(settings, progress.say)
    with StopRequest("stopping after this arm") as stop:
        summary = evaluate(Run(folder, pieces, progress, stop))
    write_report(path)
    return summary


def environment(settings: Settings, pieces: Pieces, thread_count: int) -> dict[str, Any]:
    """What the run ran on and with."""
    from alignpro import __version__

    return {
        "alignpro": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": threads.usable_cores(),
        "threads": thread_count,
        "device": str(pieces.frozen.lm.model.device),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "seed": settings.seed,
        "commit": _commit(),
        "command": shlex.join(["alignpro", *sys.argv[1:]])
        if Path(sys.argv[0]).stem in {"alignpro", "__main__"}
        else None,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "frozen_weights": fingerprint(pieces.frozen.lm.model),
    }


def _answers(folder: RunFolder, summary: dict[str, Any]) -> int:
    """Answers asked of the frozen model, and of the oracle's copy, by training and evaluation together."""
    trained = [files.read_jsonl(path / "metrics.jsonl")[-1:] for path in (folder.path, folder.rlhf)]
    return sum(int(row["frozen_calls"]) for rows in (*trained, [summary["cost"]]) for row in rows)


def _threads(settings: Settings, folder: RunFolder, resume: bool) -> int | None:
    """Those of the settings; a resumed run keeps those it began with, since sums depend on them in the last digit."""
    if settings.threads is None and resume:
        import json

        try:
            text = (folder.path / "environment.json").read_text(encoding="utf-8")
            return int(json.loads(text)["threads"])
        except (OSError, ValueError, KeyError):
            return None
    return settings.threads


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


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
