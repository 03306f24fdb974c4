"""Which arms are set against which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from alignpro.config import JudgeSettings
from alignpro.evaluate import arms


class Named(Protocol):
    """An arm, its result or its answers."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def pairs(named: Sequence[T]) -> list[tuple[T, T]]:
    """Everything against the baselines, of these each against those before it, and the subject against its rivals.

    An arm that is unknown is a rival.
    """
    by_role: dict[str, list[T]] = {"baseline": [], "subject": [], "rival": []}
    for item in named:
        by_role[arm.role if (arm := arms.known(item.name)) else "rival"].append(item)
    baselines = sorted(by_role["baseline"], key=lambda item: arms.place(item.name))
    others = [item for item in named if all(item is not baseline for baseline in baselines)]
    return [
        *((a, b) for b in baselines for a in others),
        *((a, b) for i, a in enumerate(baselines) for b in baselines[:i]),
        *((a, b) for a in by_role["subject"] for b in by_role["rival"]),
    ]


def judged_pairs(named: Sequence[T], limits: JudgeSettings | None) -> list[tuple[T, T]]:
    """Those that a judge is asked about; without `limits` all."""
    wanted = limits.pairs if limits else "all"
    return [(a, b) for a, b in pairs(named) if wanted == "all" or wanted in (a.name, b.name)]
