"""`alignpro lab ...`: making the embedded lab anew, and asking what fixed suffixes would reach in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from alignpro.cli.options import jsonl_file, say
from alignpro.errors import UsageError

lab = typer.Typer(help="The embedded lab: three tiny models in a world with a known utility.", no_args_is_help=True)


@lab.command("build")
def lab_build(
    out: Annotated[Path, typer.Option(help="folder for the three models")],
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads; free cores by default")] = None,
    second: Annotated[
        bool, typer.Option("--second", help="only the second, smaller prompter and frozen model, lab:prompter-2")
    ] = False,
) -> None:
    """Make the lab's prompter, frozen model and reward model anew from one seed."""
    from alignpro.lab.build import SECOND, build, build_second
    from alignpro.lab.build import Recipe as BuildRecipe
    from alignpro.runtime import threads as torch_threads

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"--out {out} is not empty; give a new folder")
    torch_threads.use(threads)
    if second:
        build_second(out, replace(SECOND, seed=seed), say)
    else:
        build(out, BuildRecipe(seed=seed), say)


@lab.command("preferences")
def lab_preferences(
    out: Annotated[Path, typer.Option(help="JSONL file to write")],
    prompts: Annotated[int, typer.Option(min=3, help="prompts of the training subjects")] = 1000,
    answers: Annotated[int, typer.Option(min=2, help="answers to each, of which all pairs are compared")] = 4,
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads; free cores by default")] = None,
) -> None:
    """Make preferences between answers of the lab's frozen model, for `alignpro reward lab`."""
    from alignpro.lab.preferences import preferences
    from alignpro.runtime import threads as torch_threads
    from alignpro.runtime.files import append_jsonl

    _check_new(out)
    torch_threads.use(threads)
    rows, agreed = preferences(prompts, answers, seed, say)
    out.parent.mkdir(parents=True, exist_ok=True)
    append_jsonl(out, rows)
    say(f"{len(rows)} pairs in {out}; the gold utility agrees with {agreed:.3f} of their labels")


@lab.command("prompts")
def lab_prompts(
    out: Annotated[Path, typer.Option(help="JSONL file to write")],
    prompts: Annotated[int, typer.Option(min=1, max=1_000_000, help="how many, no two alike")] = 6000,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make prompts about made-up subjects, by which a reference learns to copy any: `alignpro pairs lab`."""
    from alignpro.lab.made_up import distinct
    from alignpro.runtime.files import append_jsonl

    _check_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    append_jsonl(out, [{"prompt": text} for text in distinct(prompts, seed)])
    say(f"{prompts} prompts in {out}")


@lab.command("suffixes")
def lab_suffixes(
    folder: Annotated[Path, typer.Argument(help="folder of a run")],
    responses: Annotated[int, typer.Option(min=1, help="answers for each prompt and suffix")] = 2,
) -> None:
    """Search every fixed suffix (all combinations of cues) on the test prompts and set the best beside align_pro."""
    from alignpro.lab.suffixes import search
    from alignpro.results import Sample, read_rows
    from alignpro.running.load import load
    from alignpro.runtime import ownership
    from alignpro.runtime import threads as torch_threads
    from alignpro.runtime.run_folder import RunFolder

    opened = RunFolder(folder)
    ownership.check(folder, of=("frozen.", "reward."), writes=False)
    settings = opened.settings()
    torch_threads.use(settings.threads)
    pieces = load(settings, {"prompts", "frozen", "reward"}, say)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    samples = read_rows(Sample, opened.samples)
    for line in search(prompts, pieces.frozen, pieces.reward, samples, responses, settings.seed):
        say(line)


def _check_new(out: Path) -> None:
    if jsonl_file(out).exists():
        raise UsageError(f"--out {out} is there already; give a new file")
