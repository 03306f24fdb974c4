"""Signs that a training goes wrong though every number is finite; each is told once, in progress and in the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignpro.runtime import files
from alignpro.runtime.notices import Notices

FURTHEST = 20.0
"""Nats of KL past which a policy is told of: as far from its reference as the best of some e^20, 500 million, draws."""
EMPTY = 0.1
"""Share of empty texts past which they are told of: half of what `reward.max_failed` lets pass by default."""
BEGINNING = 10
"""Steps after which a policy that does not move is told of."""
NEAREST = 0.01
"""Nats of KL that a policy should be able to reach by its last step, were all its steps in one direction."""

LATELY = 5
"""Steps over which the objective is averaged before it is compared with the reference's."""

Rows = Sequence[Mapping[str, Any]]
"""Rows of metrics.jsonl, the newest last; in one that was read back, nan is None."""
Sign = Callable[[Rows, int], str | None]
"""(rows, steps in all) -> what to tell after the newest row; None for nothing."""


def far_away(rows: Rows, steps: int) -> str | None:
    """The policy's KL to its reference is past FURTHEST."""
    step, kl = rows[-1]["step"], rows[-1]["kl"]
    if not kl > FURTHEST:
        return None
    return (
        f"at step {step} the KL is {kl:.1f} nats a sample, past {FURTHEST:g}: the policy writes what its reference"
        " never would. Look at its samples; a lower learning_rate or a higher kl.coef keeps it closer"
    )


def empty_texts(rows: Rows, steps: int) -> str | None:
    """More of the policy's texts are empty than EMPTY, and than twice the share of the first step."""
    step, share, first = rows[-1]["step"], rows[-1]["empty"], rows[0].get("empty") or 0.0
    if not share > max(EMPTY, 2 * first):
        return None
    return (
        f"at step {step} the policy wrote nothing in {share:.0%} of its samples ({first:.0%} at step"
        f" {rows[0]['step']}). Look at what the reward gives short texts; a lower learning_rate or a higher"
        " kl.coef keeps it closer to its reference"
    )


def worse(rows: Rows, steps: int) -> str | None:
    """Lately the objective, KL paid for, lies below the reference's by more than a deviation of the reference's."""
    lately = [row["objective"] for row in rows[-LATELY:]]
    newest = rows[-1]
    if len(lately) < LATELY or not sum(lately) / LATELY < newest["reward_zero"] - newest["reward_unit"]:
        return None
    return (
        f"up to step {newest['step']} the objective of {LATELY} steps, reward less kl.coef times KL, is"
        f" {sum(lately) / LATELY:.3g}; the untrained policy's was {newest['reward_zero']:.3g}. Training makes it worse:"
        " lower the learning_rate or step_kl"
    )


def equal_rewards(rows: Rows, steps: int) -> str | None:
    """No reward has differed from any other."""
    newest = rows[-1]
    if len(rows) < LATELY or not math.isnan(newest["reward_unit"]):
        return None
    return (
        f"all rewards of {len(rows)} steps are equal ({newest['reward_zero']:.3g}): there is nothing to learn from, and"
        " the policy stays as it was. Look at the reward, or give it prompts on which answers differ"
    )


def stands_still(rows: Rows, steps: int) -> str | None:
    """The first steps were so small that all of them would lead nowhere."""
    if len(rows) != BEGINNING or math.isnan(rows[-1]["reward_unit"]):
        return None
    stride = sum(math.sqrt(row.get("step_kl") or 0.0) for row in rows) / len(rows)
    if (steps * stride) ** 2 >= NEAREST:
        return None
    return (
        f"a step moves the policy by {stride**2:.1g} nats: in {steps} steps it will have learned next to nothing. Leave"
        " learning_rate null, so that it is steered, or give a higher one"
    )


SIGNS: dict[str, Sign] = {
    "kl": far_away,
    "empty": empty_texts,
    "objective": worse,
    "equal": equal_rewards,
    "still": stands_still,
}
"""By the kind of notice."""


class Watch:
    """Looks for every sign after each of `steps` steps, from the one after `step` on; `folder` holds metrics.jsonl.

    Training is `over` where guards rejected more than the share `most_rejected` of the last steps' rewrites.
    """

    def __init__(
        self, folder: Path, step: int, steps: int, say: Callable[[str], None], most_rejected: float | None = None
    ) -> None:
        self._steps, self._most_rejected = steps, most_rejected
        self._rows: list[Mapping[str, Any]] = list(files.read_jsonl(folder / "metrics.jsonl"))
        self._notices = Notices(folder, say, step)

    @property
    def over(self) -> bool:
        """Whether training is to stop."""
        lately = [row.get("rejected") for row in self._rows[-LATELY:]]
        known = [share for share in lately if share is not None and not math.isnan(share)]
        most = self._most_rejected
        return most is not None and len(lately) == LATELY and bool(known) and sum(known) > most * len(known)

    def after(self, row: Mapping[str, Any]) -> None:
        """Tell what the step's row, and those before it, are signs of."""
        self._rows.append(row)
        for kind, sign in SIGNS.items():
            if text := sign(self._rows, self._steps):
                self._notices.tell(kind, text, row["step"])
        if self.over:
            text = (
                f"training stopped after step {row['step']} of {self._steps}: guards rejected more than"
                f" {self._most_rejected:.0%} of the last {LATELY} steps' rewrites (guards.stop). Look at its samples; a"
                " term guards in prompt_terms, or a higher kl.coef, makes rejected rewrites dear"
            )
            self._notices.tell("guards", text, row["step"])
