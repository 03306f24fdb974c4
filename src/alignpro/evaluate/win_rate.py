"""Win rates: every comparison is judged in both orders, prompts are the clusters of the interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignpro.evaluate.arms import ArmResult
from alignpro.maths import stats
from alignpro.types import FloatArray, Judge, Verdict

_MIRROR: dict[Verdict | None, Verdict | None] = {"a": "b", "b": "a", "tie": "tie", None: None}


def win_rate(a: ArmResult, b: ArmResult, judge: Judge, draws: int, seed: int) -> dict[str, Any]:
    """Compare sample k of arm a with sample k of arm b on every prompt.

    A comparison is won when both orders say so; orders that disagree, or a tie, make a tie; a verdict that cannot be
    read in either order leaves it out, counted as unparsed, and so does a response that failed. `win_rate` counts a
    tie half; `win`, `tie` and `loss` are counts, with intervals of their shares.
    """
    samples = [
        (row, prompt, ya.text, yb.text)
        for row, prompt in enumerate(a.prompts)
        for ya, yb in zip(a.responses[row], b.responses[row], strict=True)
        if ya.failure is None and yb.failure is None
    ]
    prompts, first, second = [s[1] for s in samples], [s[2] for s in samples], [s[3] for s in samples]
    forward = judge.compare(prompts, first, second)
    backward = [_MIRROR[v] for v in judge.compare(prompts, second, first)]

    points = np.full(len(samples), np.nan)
    consistent, counts = [], {"win": 0, "tie": 0, "loss": 0}
    for i, (one, other) in enumerate(zip(forward, backward, strict=True)):
        if one is None or other is None:
            continue
        consistent.append(one == other)
        verdict = one if one == other else "tie"
        counts[{"a": "win", "b": "loss", "tie": "tie"}[verdict]] += 1
        points[i] = {"a": 1.0, "b": 0.0, "tie": 0.5}[verdict]
    rows = np.array([s[0] for s in samples], dtype=np.int64)
    per_prompt = np.full(len(a.prompts), np.nan)
    for row in range(len(a.prompts)):
        mine = points[rows == row]
        mine = mine[np.isfinite(mine)]
        if len(mine):
            per_prompt[row] = mine.mean()
    lengths = [len(ya.split()) - len(yb.split()) for _, _, ya, yb in samples]
    return {
        "a": a.name,
        "b": b.name,
        "judge": judge.name,
        **counts,
        "win_rate": stats.mean(per_prompt[:, None]),
        "ci95": list(stats.mean_interval(per_prompt, draws, seed)),
        **_share_intervals(points, rows, len(a.prompts), draws, seed),
        "order_consistency": float(np.mean(consistent)) if consistent else float("nan"),
        "unparsed": len(samples) - len(consistent),
        "mean_length_difference": float(np.mean(lengths)) if lengths else float("nan"),
    }


def _share_intervals(
    points: FloatArray, rows: npt.NDArray[np.int64], prompts: int, draws: int, seed: int
) -> dict[str, list[float]]:
    """Intervals of the shares won, tied and lost; `points` [N] are 1, 0.5, 0 or nan, `rows` [N] say of which prompt."""
    found = {}
    for name, point in (("win_ci95", 1.0), ("tie_ci95", 0.5), ("loss_ci95", 0.0)):
        share = np.full(prompts, np.nan)
        for row in range(prompts):
            mine = points[rows == row]
            if np.isfinite(mine).any():
                share[row] = (mine[np.isfinite(mine)] == point).mean()
        found[name] = list(stats.mean_interval(share, draws, seed))
    return found
