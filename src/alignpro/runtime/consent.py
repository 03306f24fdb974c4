"""What the user of this command allowed beforehand; nothing is ever asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

ALLOWING = ("--trust", "--allow-changed")
"""The options of every command that allow something."""


@dataclass(frozen=True, slots=True)
class Consent:
    """`trust`: run the code, and ask the hosts, that another's folder or recipe names. `changed`: go on where inputs
    are no longer those that a run began with."""

    trust: bool = False
    changed: bool = False

    def options(self) -> list[str]:
        """The same as options of a command."""
        return [option for option, allowed in zip(ALLOWING, (self.trust, self.changed), strict=True) if allowed]


_NOTHING = Consent()
_GIVEN: ContextVar[Consent] = ContextVar("consent", default=_NOTHING)


def given() -> Consent:
    """What is allowed now."""
    return _GIVEN.get()


@contextmanager
def consent(trust: bool = False, changed: bool = False) -> Iterator[None]:
    """Allow it within, to what this thread does."""
    before = _GIVEN.set(Consent(trust, changed))
    try:
        yield
    finally:
        _GIVEN.reset(before)
