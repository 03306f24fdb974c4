"""What commands share: options, settings given as words, the folder of a run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignpro.errors import UsageError
from alignpro.runtime.terminal import printable

if TYPE_CHECKING:
    from alignpro.config import Settings

OVERRIDES = {"ignore_unknown_options": True}
SHORT = {
    "prompter": "prompter.model",
    "frozen": "frozen.model",
    "reward": "reward.model",
    "prompts": "data.prompts",
    "judge": "evaluate.judge",
}
"""Options that stand for a setting, whether a command names them in its help or not."""
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE] [--SECTION.KEY=VALUE]...",
        help="recipe name or YAML file, lab by default, and any setting of it",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="new folder for the run; runs/RECIPE-NNN by default")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the run in --out")]
PrompterOption = Annotated[
    str | None, typer.Option("--prompter", help="folder, package:NAME or hub id of what is trained")
]
FrozenOption = Annotated[str | None, typer.Option("--frozen", help="folder, package:NAME or hub id of what answers")]
ThenOption = Annotated[
    list[str] | None,
    typer.Option("--then", help="a further pass: rewrites what the one before wrote; the last is trained"),
]
RewardOption = Annotated[
    str | None,
    typer.Option(
        "--reward",
        help="folder, package:NAME or hub id of a sequence classifier, verify:NAME, measure:NAME, or"
        " python:module:function",
    ),
]
PromptsOption = Annotated[str | None, typer.Option("--prompts", help="file, saved folder or hub data set")]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget", help="the most to spend on endpoints: 5 (money), 200000tokens, 1000calls, or several with commas"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the resolved settings and stop")]
RunFolderArgument = Annotated[Path, typer.Argument(help="folder of a run")]


def given(
    prompter: str | None, then: list[str] | None, frozen: str | None, reward: str | None, prompts: str | None
) -> list[str]:
    """Overrides that the short options stand for; of several prompters the last is trained, the others come first."""
    passes = [*([prompter] if prompter else []), *(then or [])]
    if then and not prompter:
        raise UsageError("--then adds a second pass to --prompter; give the first pass too")
    named = {"prompter.model": passes[-1] if passes else None, "frozen.model": frozen, "reward.model": reward}
    named["data.prompts"] = prompts
    told = json.dumps(passes[:-1], ensure_ascii=False)  # YAML reads JSON, whatever the names hold
    before = [f"prompter.before={told}"] if then else []
    return [*(f"{name}={value}" for name, value in named.items() if value is not None), *before]


def budget_of(text: str | None) -> list[str]:
    """Overrides that `--budget` stands for."""
    limits = []
    for part in (text or "").split(",") if text is not None else []:
        match = re.fullmatch(r"\s*([\d_]+(?:\.\d+)?)\s*(tokens|calls|)\s*", part)
        if not match or (match[2] and "." in match[1]) or float(match[1]) <= 0:
            raise UsageError(
                f"--budget {text}: {part.strip()!r} is not an amount; write 5 (money), 200000tokens or"
                " 1000calls, or several with commas"
            )
        limits.append(f"budget.{match[2] or 'money'}={match[1].replace('_', '')}")
    return limits


def begun_with(folder: Path, overrides: list[str]) -> Settings:
    """The settings of the run in a folder, and what changes them. Raises NotTrusted, UsageError."""
    from alignpro.runtime import ownership
    from alignpro.runtime.run_folder import RunFolder

    ownership.check(folder, overrides)
    return RunFolder(folder).settings(overrides)


def recipe_of(name: str | None, overrides: list[str]) -> str:
    """The recipe named; without one `local` where the user brings models of his own, else `lab`."""
    own = any(
        o.startswith(("prompter.model=", "frozen.model=", "reward_learning.base="))
        and o.partition("=")[2].partition(":")[0] != "lab"
        for o in overrides
    )
    return name or ("local" if own else "lab")


def settings_of(recipe: str, overrides: list[str]) -> Settings:
    """The settings of a recipe with overrides; what a file of the user's own has run or asked is told in a line.

    Raises NotTrusted for a file of another's, and as `config.load`.
    """
    from alignpro import config
    from alignpro.runtime.ownership import check_recipe
    from alignpro.runtime.progress import Progress

    told = check_recipe(recipe, overrides)
    settings = config.load(recipe, overrides)
    for line in told:
        Progress().say(line)
    return settings


def jsonl_file(out: Path) -> Path:
    """A file that a command writes rows of JSON into. Raises UsageError for another name: files are told by theirs."""
    if out.suffix.lower() != ".jsonl":
        raise UsageError(f"--out {out}: rows of JSON are written; give a file whose name ends in .jsonl")
    return out


def folder_of(out: Path | None, recipe: str) -> Path:
    if out is not None:
        return out
    from alignpro.runtime import processes
    from alignpro.runtime.run_folder import next_free

    folder = processes.by_first(lambda: next_free(Path("runs"), Path(recipe).stem))
    sys.argv.append(f"--out={folder}")  # so that the hint to resume names the folder that was chosen
    return folder


def read_words(words: list[str]) -> tuple[str | None, list[str]]:
    """The one plain word, if any, and the overrides. Raises UsageError for a second word."""
    plain, overrides = split_words(words)
    if len(plain) > 1:
        raise UsageError(f"unexpected argument {plain[1]!r}; settings are given as --section.key=value")
    return (plain[0] if plain else None), overrides


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Plain words, and the overrides among `--a.b=v`, `--a.b v` and `a.b=v`; the short options stand for the same
    settings in every command."""
    plain: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        item = rest.pop(0)
        key, equals, value = item.removeprefix("--").partition("=")
        if not equals and not item.startswith("--"):
            plain.append(item)
            continue
        if not equals and rest and not rest[0].startswith("--"):
            equals, value = "=", rest.pop(0)
        if key == "budget":
            overrides += budget_of(value)
        else:
            overrides.append(f"{SHORT.get(key, key)}{equals}{value}")
    return plain, overrides


def say(text: str) -> None:
    """A line, or several, to standard output."""
    print(printable(text), flush=True)  # noqa: T201
