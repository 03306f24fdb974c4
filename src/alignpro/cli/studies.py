"""Commands that set methods side by side, or theory before the eyes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from alignpro.cli.options import (
    BudgetOption,
    FrozenOption,
    PrompterOption,
    PromptsOption,
    RewardOption,
    ThenOption,
    budget_of,
    given,
    recipe_of,
    say,
    settings_of,
    split_words,
)
from alignpro.errors import UsageError


def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE | FOLDER FOLDER...] [--SECTION.KEY=VALUE]...",
            help="a recipe, whose methods are trained and compared; or folders of finished runs, set side by side",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for the runs, new or to go on with; runs/compare by default. Of finished runs, folder for"
            " comparison.json"
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, one torch thread each")] = 1,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    budget: BudgetOption = None,
) -> None:
    """Set finished runs side by side; or train every method of the compare settings with several seeds."""
    plain, overrides = split_words(words or [])
    short = [*given(prompter, then, frozen, reward, prompts), *budget_of(budget)]
    if folders := _runs(plain):
        if stray := [*short, *overrides]:
            raise UsageError(f"{stray[0]}: finished runs have their own settings; give their folders alone")
        _side_by_side(folders, out)
        return
    from alignpro.cli import tables
    from alignpro.studies.compare import compare as do_compare

    overrides = [*short, *overrides]
    folder = out or Path("runs/compare")
    methods = do_compare(settings_of(recipe_of(plain[0] if plain else None, overrides), overrides), folder, jobs)
    tables.methods(methods)
    if methods.cost:
        say(f"all runs: {methods.cost.spent}")
    say(f"figures: {folder / 'methods.json'}")


def _runs(words: Sequence[str]) -> list[Path]:
    """The words as folders of runs; none where they are one recipe, or nothing. Raises UsageError for anything else."""
    from alignpro import config

    held = [word for word in words if (Path(word) / "config.yaml").is_file()]
    others = [word for word in words if word not in held]
    if not others:
        return [Path(word) for word in held]
    if len(words) == 1 and (not Path(words[0]).is_dir() or words[0] in config.recipes()):
        return []
    wanted = "give folders that `alignpro run` wrote, or one recipe"
    if held:
        raise UsageError(f"{held[0]} is the folder of a run, and {others[0]} is none; {wanted}")
    raise UsageError(f"no config.yaml, and so no run, in {', '.join(others)}; {wanted}")


def _side_by_side(folders: Sequence[Path], out: Path | None) -> None:
    from alignpro import results
    from alignpro.cli import tables
    from alignpro.studies.side_by_side import side_by_side

    compared = side_by_side(folders)
    tables.side_by_side(compared)
    for note in compared.notes:
        say(note)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        results.write(out / "comparison.json", compared)
        say(f"figures: {out / 'comparison.json'}")


def theory(
    out: Annotated[Path, typer.Option(help="folder for the figures")] = Path("docs/figures"),
) -> None:
    """Draw the figures of docs/theory.md and print every number that it quotes."""
    from alignpro.theory.figures import write_figures

    for line in write_figures(out):
        say(line)
