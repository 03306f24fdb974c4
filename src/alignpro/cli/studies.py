"""Commands that set methods side by side, or theory before the eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignpro import config
from alignpro.cli.options import (
    BudgetOption,
    FrozenOption,
    PrompterOption,
    PromptsOption,
    RewardOption,
    ThenOption,
    Words,
    budget_of,
    given,
    read_words,
    recipe_of,
    say,
)


def compare(
    words: Words = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the runs, new or to go on with; runs/compare by default")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, one torch thread each")] = 1,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    budget: BudgetOption = None,
) -> None:
    """Train every method of the compare settings with several seeds: objective reached against answers spent."""
    from alignpro.cli import tables
    from alignpro.remote.accounting import spoken
    from alignpro.studies.compare import compare as do_compare

    name, overrides = read_words(words or [])
    overrides = [*given(prompter, then, frozen, reward, prompts), *budget_of(budget), *overrides]
    folder = out or Path("runs/compare")
    found = do_compare(config.load(recipe_of(name, overrides), overrides), folder, jobs)
    tables.methods(found)
    if cost := found.get("cost"):
        say(f"all runs: {spoken(cost['endpoints'])}")
    say(f"figures: {folder / 'methods.json'}")


def theory(
    out: Annotated[Path, typer.Option(help="folder for the figures")] = Path("docs/figures"),
) -> None:
    """Draw the figures of docs/theory.md and print every number that it quotes."""
    from alignpro.theory.figures import write_figures

    for line in write_figures(out):
        say(line)
