"""Commands about the package and the machine."""

from __future__ import annotations

import typer

from alignpro import config
from alignpro.cli.options import say


def recipes() -> None:
    """List the packaged recipes, those of one folder together."""
    found = config.recipes()
    for name in (name for name in found if "/" not in name):
        say(f"{name:10} {found[name]}")
    for folder in dict.fromkeys(name.rpartition("/")[0] for name in found if "/" in name):
        inside = {name.rpartition("/")[2]: line for name, line in found.items() if name.rpartition("/")[0] == folder}
        say(f"\n{folder}/, {len(inside)} recipes")
        for name, line in inside.items():
            say(f"  {name:21} {line}")


def doctor() -> None:
    """Say what this machine has, and whether the lab's models load."""
    from alignpro.cli.doctor import findings

    bad = False
    for name, value, good in findings():
        bad |= not good
        say(f"{'ok ' if good else 'BAD'} {name}: {value}")
    if bad:
        raise typer.Exit(1)
