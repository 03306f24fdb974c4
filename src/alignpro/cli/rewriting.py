"""`alignpro rewrite`: a prompt or a file of prompts rewritten, by what was trained or by sampling."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alignpro.cli.options import (
    FrozenOption,
    PrompterOption,
    RewardOption,
    ThenOption,
    given,
    jsonl_file,
    read_words,
    recipe_of,
    say,
    settings_of,
)
from alignpro.errors import RunFailure, UsageError

if TYPE_CHECKING:
    from alignpro.running.rewriter import Rewriter


def rewrite(
    prompt: Annotated[
        str | None, typer.Argument(help="a user prompt; - reads one from standard input", show_default=False)
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--SECTION.KEY=VALUE]...", help="any setting, with --method gibbs", show_default=False),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="folder of a run, or of an exported prompter")] = None,
    method: Annotated[
        Literal["trained", "gibbs"], typer.Option(help="the run's prompter, or the closed form by sampling")
    ] = "trained",
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="rewrites to show; with gibbs, candidates to choose from [1; 8]")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="with gibbs: keep the best candidate, not one drawn")] = False,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    answer: Annotated[
        bool, typer.Option("--answer", help="ask the frozen model, with and without the rewrite")
    ] = False,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    file: Annotated[
        str | None,
        typer.Option("--file", help="instead of one prompt: a file of them, or whatever else data.prompts may be"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="with --file: jsonl file of its rows with their rewrites [NAME.rewritten.jsonl]")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="with --file: column of the prompts; other --data.KEY=VALUE work too")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="with --file: go on with what --out holds")] = False,
) -> None:
    """Rewrite a prompt, or a file of them, with a trained prompter, or without training by --method gibbs."""
    if file is not None:
        if answer or (n is not None and method == "trained"):
            raise UsageError("--answer and --n are for one prompt; of --file each row gets one rewrite")
        name, overrides = read_words([*([prompt] if prompt is not None else []), *(words or [])])
        data = [f"data.prompts={file}", *([f"data.column={column}"] if column is not None else [])]
        data += [override for override in overrides if override.startswith("data.")]
        models = [*given(prompter, then, frozen, reward, None), *(o for o in overrides if o not in data)]
        target = jsonl_file(out) if out else Path(f"{Path(file).name.partition('.')[0]}.rewritten.jsonl")
        _file(data, target, resume, seed, lambda: ready(method, run, name, models, n, best))
        return
    if out is not None or column is not None or resume:
        raise UsageError("--out, --column and --resume are of --file, which is not given")
    text = _text(prompt)
    name, overrides = read_words(words or [])
    models = [*given(prompter, then, frozen, reward, None), *overrides]
    rewriter, count = ready(method, run, name, models, n, best), 1 if method == "gibbs" else n or 1
    rewriter.first.lm.queries([text])  # a prompt that is too long is the caller's to mend
    rewrites = rewriter.rewrite(text, n=count, seed=seed)
    if all(rewritten.failure for rewritten in rewrites):
        raise RunFailure(f"the prompt was not rewritten: {rewrites[0].failure}")
    for rewritten in rewrites:
        say(rewritten.text if rewritten.failure is None else f"(none: {rewritten.failure})")
        if answer and rewritten.failure is None:
            say(f"  answered: {rewriter.answer(rewritten, seed=seed)}")
    if answer:
        say(f"without the prompter: {rewriter.answer(text, seed=seed)}")


def _text(prompt: str | None) -> str:
    """The prompt, or what standard input holds. Raises UsageError where there is none."""
    try:
        text = sys.stdin.read().strip() if prompt == "-" else prompt or ""
        text.encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise UsageError(f"the prompt is not UTF-8 ({error.reason}, byte {error.start})") from None
    if prompt is None:
        raise UsageError("give a prompt to rewrite, - to read one from standard input, or --file")
    if not text.strip() or prompt.startswith("--"):
        what = f"{prompt!r} is a setting" if text.strip() else "the prompt is empty"
        raise UsageError(f"{what}; give the text to rewrite first")
    return text


def ready(
    method: Literal["trained", "gibbs"],
    run: Path | None,
    name: str | None,
    overrides: list[str],
    n: int | None,
    best: bool,
    may: str | None = None,
) -> Rewriter:
    """The prompter that the options name, loaded; settings that begin with `may` can be given for a run too.

    Raises UsageError where they do not go together.
    """
    from alignpro.running.exported import is_exported
    from alignpro.running.rewriter import SampledPrompter, TrainedPrompter
    from alignpro.runtime import ownership
    from alignpro.runtime.run_folder import RunFolder

    if method == "trained":
        if run is None:
            raise UsageError("give --run with the folder of a run, or --method gibbs, which needs no training")
        own = [word for word in overrides if may is None or not word.startswith(may)]
        if name or best or (own and not is_exported(run)):
            what = (name or "--best") if name or best else own[0]
            raise UsageError(f"{what!r} is for --method gibbs; a run has its own settings")
        return TrainedPrompter.load(run, overrides)
    if run and name:
        raise UsageError(f"unexpected argument {name!r}; with --run the settings are those of the run")
    if run:
        ownership.check(run, overrides, writes=False)
    settings = RunFolder(run).settings(overrides) if run else settings_of(recipe_of(name, overrides), overrides)
    return SampledPrompter.load(settings, n or 8, best)


def _file(data: list[str], out: Path, resume: bool, seed: int, load: Callable[[], Rewriter]) -> None:
    """Rewrite every row of a file, and say what became of them."""
    from alignpro import config
    from alignpro.running.prompt_file import PromptFile
    from alignpro.runtime.interrupt import StopRequest
    from alignpro.runtime.lock import Lock
    from alignpro.runtime.progress import Progress

    progress, own = Progress(), config.load("local", data).data
    with Lock(out, progress.say), StopRequest("stopping after the prompts under way") as stop:
        prompts = PromptFile.open(own, out, resume)
        for note in prompts.notes:
            progress.say(note)
        failures = prompts.rewrite(load(), seed, progress, stop)
    rows, failed = len(prompts.lines), failures.total()
    why = "; ".join(f"{count} {reason}" for reason, count in failures.most_common())
    if failed == rows:
        raise RunFailure(f"no row was rewritten ({why}); {out} says of each why")
    say(f"rewritten: {out}, {rows} rows" + (f", of which {failed} were not: {why}" if failed else ""))
