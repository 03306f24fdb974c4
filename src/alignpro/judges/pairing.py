"""Which arms are set against which."""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.config import JudgeSettings

BASELINES = ("no_prompter", "reference_prompter")


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Everything against the baselines, and the trained prompter against the rest."""
    found = [(a, b) for b in BASELINES if b in names for a in names if a not in BASELINES]
    if set(BASELINES) <= set(names):
        found.append(("reference_prompter", "no_prompter"))
    if "align_pro" in names:
        found += [("align_pro", b) for b in names if b not in (*BASELINES, "align_pro")]
    return found


def judged_pairs(names: Sequence[str], limits: JudgeSettings | None) -> list[tuple[str, str]]:
    """Those that a judge is asked about; without `limits` all."""
    wanted = limits.pairs if limits else "all"
    return [pair for pair in pairs(names) if wanted == "all" or wanted in pair]
