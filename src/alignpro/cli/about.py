"""Commands about the package and the machine."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from alignpro import __version__
from alignpro.cli.options import say
from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.config.listing import Group, Setting


def recipes() -> None:
    """List the packaged recipes, those of one folder together."""
    from alignpro import config

    lines = config.recipes()
    for name in (name for name in lines if "/" not in name):
        say(f"{name:10} {lines[name]}")
    for folder in dict.fromkeys(name.rpartition("/")[0] for name in lines if "/" in name):
        inside = {name.rpartition("/")[2]: line for name, line in lines.items() if name.rpartition("/")[0] == folder}
        say(f"\n{folder}/, {len(inside)} recipes")
        for name, line in inside.items():
            say(f"  {name:21} {line}")


def settings(
    word: Annotated[
        str | None, typer.Argument(metavar="[WORD]", help="part of a setting's name or description; all by default")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="say also what this recipe, or YAML file, makes of them")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print docs/settings.md, which holds them all")] = False,
) -> None:
    """List the settings with type, default and description. Each is given as --section.key=value."""
    from alignpro import config
    from alignpro.config import listing

    if markdown:
        if word or recipe:
            raise UsageError("--markdown prints the page of every setting; leave out the word and --recipe")
        return say(listing.markdown().rstrip("\n"))
    groups = listing.matching(word or "")
    if not groups:
        near = listing.nearest(str(word))
        hint = f"near it: {', '.join(near)}" if near else "`alignpro settings` lists them all"
        raise UsageError(f"no setting has {word!r} in its name or description; {hint}")
    resolved = config.load(recipe) if recipe is not None else None
    tell = _tell if sys.stdout.isatty() else _tell_plainly
    for group in groups:
        tell(group, recipe, {s.name: listing.value_in(resolved, s.name) if resolved else None for s in group.settings})


def _tell(group: Group, recipe: str | None, values: Mapping[str, str | None]) -> None:
    """A section for a terminal, as wide as it is."""
    width = shutil.get_terminal_size().columns

    def wrapped(text: str, indent: str) -> str:
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)

    say(wrapped(f"{group.name}: {group.description}" if group.name else group.description, ""))
    for one in group.settings:
        typer.echo(typer.style(f"  {one.name}", bold=True))
        say(wrapped(_kind(one, recipe, values[one.name]), "    "))
        say(wrapped(one.description, "      "))
    say("")


def _tell_plainly(group: Group, recipe: str | None, values: Mapping[str, str | None]) -> None:
    """A line a setting, for other programs."""
    for one in group.settings:
        say(f"{one.name}: {_kind(one, recipe, values[one.name])}; {one.description}")


def _kind(one: Setting, recipe: str | None, value: str | None) -> str:
    from alignpro.config.listing import REQUIRED

    default = one.default if one.default == REQUIRED else f"default {one.default}"
    return f"{one.type}; {default}" + ("" if value is None else f"; in {recipe} {value}")


def version(asked: bool) -> None:
    """Say which alignpro this is, and stop."""
    if asked:
        say(f"alignpro {__version__}")
        raise typer.Exit


def doctor() -> None:
    """Say what this machine has, and whether the lab's models load."""
    from alignpro.cli.doctor import findings

    bad = False
    for name, value, good in findings():
        bad |= not good
        say(f"{'ok ' if good else 'BAD'} {name}: {value}")
    if bad:
        raise typer.Exit(1)
