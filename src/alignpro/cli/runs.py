"""Commands that make or read a run: run, train, evaluate, headroom, report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignpro.cli.options import (
    BudgetOption,
    DryRun,
    FrozenOption,
    Out,
    PrompterOption,
    PromptsOption,
    Resume,
    RewardOption,
    RunFolderArgument,
    ThenOption,
    Words,
    begun_with,
    budget_of,
    folder_of,
    given,
    read_words,
    recipe_of,
    say,
    settings_of,
)
from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.config import Settings


def _training(name: str, told: str, *, only_train: bool) -> Callable[..., None]:
    """A command of the options that `run` and `train` share."""

    def command(
        words: Words = None,
        out: Out = None,
        resume: Resume = False,
        prompter: PrompterOption = None,
        then: ThenOption = None,
        frozen: FrozenOption = None,
        reward: RewardOption = None,
        prompts: PromptsOption = None,
        budget: BudgetOption = None,
        dry_run: DryRun = False,
    ) -> None:
        short = [*given(prompter, then, frozen, reward, prompts), *budget_of(budget)]
        _run(words, out, resume, short, dry_run, only_train=only_train)

    command.__name__, command.__doc__ = name, told
    return command


run = _training(
    "run",
    "Train, evaluate and report. Any setting can be given as --section.key=value; `alignpro settings` lists them.",
    only_train=False,
)
train = _training("train", "Train only; `run --resume --out DIR` then evaluates and reports.", only_train=True)


def evaluate(
    words: Annotated[list[str], typer.Argument(metavar="FOLDER [--evaluate.KEY=VALUE]...", help="folder of a run")],
    frozen: FrozenOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="new folder: before another frozen model, the run stays as it is")
    ] = None,
) -> None:
    """Evaluate a run's trained prompter again, with evaluate.* settings overridden, and report; with --out in a folder
    of its own, where --frozen and frozen.* may be others: does what was learned travel?"""
    name, overrides = read_words(words)
    if name is None:
        raise UsageError("give the folder of the run to evaluate")
    overrides = [*given(None, None, frozen, None, None), *overrides]
    from alignpro.cli import tables
    from alignpro.running.job import evaluate_again, evaluate_elsewhere

    if out is not None:
        there, before = evaluate_elsewhere(Path(name), out, overrides)
        tables.arms(there)
        if before:
            tables.travelled(before, there)
        say(f"report: {out / 'report.html'}")
        return
    if other := next((o for o in overrides if o.startswith("frozen.")), None):
        raise UsageError(f"{other}: before another frozen model a run is evaluated in a folder of its own; give --out")
    tables.arms(evaluate_again(Path(name), overrides))
    say(f"report: {Path(name) / 'report.html'}")


def headroom(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE | FOLDER] [--SECTION.KEY=VALUE]...",
            help="a recipe, to estimate before any training; or the folder of a run, to estimate beside what it has",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="also: how rewards decay as the frozen model is damaged")
    ] = False,
    templates: Annotated[
        str | None,
        typer.Option(help="also: one template for all, or one for each; a file of templates, or default or lab"),
    ] = None,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    budget: BudgetOption = None,
    dry_run: DryRun = False,
) -> None:
    """Say how much there is to gain, by what, and whether to train at all; from samples alone, before any training."""
    from alignpro.cli import tables
    from alignpro.running.job import headroom as estimate

    name, overrides = read_words(words or [])
    overrides = [*budget_of(budget), *overrides]
    if noise:
        from alignpro.models.perturb import LADDER

        overrides = [f"headroom.noise=[{', '.join(LADDER)}]", *overrides]
    if templates:
        overrides = [f"headroom.templates={templates}", *overrides]
    of_run = bool(name) and (Path(str(name)) / "config.yaml").is_file()
    if of_run:
        if out or any((prompter, then, frozen, reward, prompts)):
            raise UsageError(f"{name} is a run, with its own models and folder; leave out --out and the models")
        folder, settings = Path(str(name)), None
    else:
        overrides = [*given(prompter, then, frozen, reward, prompts), *overrides]
        recipe = recipe_of(name, overrides)
        settings = settings_of(recipe, overrides)
    if dry_run:
        from alignpro.runtime.run_folder import RunFolder

        shown_dry(settings or RunFolder(folder).settings(overrides), ("headroom",))
        return
    if settings is not None:
        folder = folder_of(out, recipe)
    estimated = estimate(settings, folder, resume=of_run, overrides=overrides if of_run else ())
    tables.headroom(estimated)
    say(estimated.advice.text if estimated.advice else "")
    say(f"report: {folder / 'report.html'}")
    if not (folder / "prompter").exists():
        say(f"to train there: alignpro run --resume --out {shlex.quote(str(folder))}")


def report(folder: RunFolderArgument) -> None:
    """Write report.html anew from what the run's folder holds."""
    from alignpro.report import write_report, write_reward_report, write_sft_report
    from alignpro.runtime import ownership

    own = {"reward.json": write_reward_report, "sft.json": write_sft_report}
    ownership.refuse_links(folder)
    write = next((write for name, write in own.items() if (folder / name).is_file()), write_report)
    say(str(write(folder)))


def _run(
    words: list[str] | None, out: Path | None, resume: bool, given: list[str], dry_run: bool, *, only_train: bool
) -> None:
    from alignpro.runtime.run_folder import RunFolder

    if resume and out is None:
        raise UsageError("--resume needs --out with the folder of the run to go on with")
    name, overrides = read_words(words or [])
    overrides = [*given, *overrides]
    settings, recipe = None, name or "lab"
    if resume and name is None and overrides and out is not None:
        settings = begun_with(out, overrides)
    elif not resume or name is not None or overrides:
        recipe = recipe_of(name, overrides)
        settings = settings_of(recipe, overrides)
    if dry_run:
        settings = settings or RunFolder(out or Path()).settings()
        stages = ["training", "oracle"] if only_train else ["training", "oracle", "evaluation"]
        shown_dry(settings, [*stages, "headroom"] if settings.headroom.after_training and not only_train else stages)
        return
    from alignpro.cli import tables
    from alignpro.running.job import run as do_run

    folder = folder_of(out, recipe)
    summary = do_run(settings, folder, resume=resume, only_train=only_train)
    if summary:
        tables.arms(summary)
        _say_headroom(folder)
        say(f"report: {folder / 'report.html'}")


def shown_dry(settings: Settings, stages: Sequence[str]) -> None:
    """Print the settings, and what the stages will ask."""
    from alignpro import config
    from alignpro.evaluate import arms
    from alignpro.running.plan import plan_lines

    arms.check(settings)
    say(config.dump(settings).rstrip())
    for line in plan_lines(settings, stages):
        say(f"# {line}".rstrip())


def _say_headroom(folder: Path) -> None:
    from alignpro.results import Headroom, read
    from alignpro.runtime.run_folder import RunFolder

    estimated = read(Headroom, RunFolder(folder).headroom)
    if estimated and estimated.trained_prompter and estimated.advice:  # an estimate before training asks to train
        say(estimated.advice.text)
