"""Commands about the package and the machine."""

from __future__ import annotations

import typer

from alignpro import config
from alignpro.cli.options import say


def recipes() -> None:
    """List the packaged recipes."""
    for name, line in config.recipes().items():
        say(f"{name:10} {line}")


def doctor() -> None:
    """Say what this machine has, and whether the lab's models load."""
    from alignpro.doctor import findings

    bad = False
    for name, value, good in findings():
        bad |= not good
        say(f"{'ok ' if good else 'BAD'} {name}: {value}")
    if bad:
        raise typer.Exit(1)
