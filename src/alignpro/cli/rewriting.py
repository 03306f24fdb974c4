"""`alignpro rewrite`: a prompt rewritten, by what was trained or by sampling."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from alignpro import config
from alignpro.cli.options import (
    FrozenOption,
    PrompterOption,
    RewardOption,
    ThenOption,
    given,
    read_words,
    recipe_of,
    say,
)
from alignpro.errors import RunFailure, UsageError


def rewrite(
    prompt: Annotated[str, typer.Argument(help="a user prompt; - reads one from standard input")],
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
) -> None:
    """Rewrite a prompt with a trained prompter, or without training by --method gibbs."""
    from alignpro.running.exported import is_exported
    from alignpro.running.rewriter import Rewriter, SampledPrompter, TrainedPrompter
    from alignpro.runtime.run_folder import RunFolder

    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text.strip() or prompt.startswith("--"):
        what = f"{prompt!r} is a setting" if text.strip() else "the prompt is empty"
        raise UsageError(f"{what}; give the text to rewrite first")
    name, overrides = read_words(words or [])
    overrides = [*given(prompter, then, frozen, reward, None), *overrides]
    if method == "trained":
        if run is None:
            raise UsageError("give --run with the folder of a run, or --method gibbs, which needs no training")
        if name or best or (overrides and not is_exported(run)):
            raise UsageError(
                f"{([name or '--best'] if name or best else overrides)[0]!r} is for --method gibbs; a run has its own"
                " settings"
            )
        ready: Rewriter = TrainedPrompter.load(run, overrides)
        count = n or 1
    else:
        if run and name:
            raise UsageError(f"unexpected argument {name!r}; with --run the settings are those of the run")
        settings = RunFolder(run).settings(overrides) if run else config.load(recipe_of(name, overrides), overrides)
        ready, count = SampledPrompter.load(settings, n or 8, best), 1
    ready.first.lm.queries([text])  # a prompt that is too long is the caller's to mend
    rewrites = ready.rewrite(text, n=count, seed=seed)
    if all(rewritten.failure for rewritten in rewrites):
        raise RunFailure(f"the prompt was not rewritten: {rewrites[0].failure}")
    for rewritten in rewrites:
        say(rewritten.text if rewritten.failure is None else f"(none: {rewritten.failure})")
        if answer and rewritten.failure is None:
            say(f"  answered: {ready.answer(rewritten, seed=seed)}")
    if answer:
        say(f"without the prompter: {ready.answer(text, seed=seed)}")
