"""How far the figures of a crossed design are to be trusted: their bias, how often intervals and the bracket hold the
truth, what a policy learns, and how often `fix` is right, over random finite worlds of prompts with and without
interaction.

Prints the table of docs/templates.md, and last a line of JSON: python benchmarks/templates.py [--worlds 200]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alignpro.maths import crossed, policy
from alignpro.types import FloatArray

SIZES = ((1, 48, 2), (4, 96, 4), (16, 192, 8))
"""Times the answers, prompts, answers a cell."""
POPULATION, FAILED, SHARE = 400, 0.03, 0.8
FIGURES = ("template", "interaction", "noise", "gain", "learned")


@dataclass(frozen=True)
class World:
    """Means [N, J] of prompts that are equally likely under each template; an answer's noise is of size `loud` [N, J]
    and `shape`, and where that is `right` the answer scores 1 with the mean as its chance. `seen` [N, F] are features
    of the prompts, `told` whether what a prompt wants can be read from them."""

    means: FloatArray
    loud: FloatArray
    shape: str
    seen: FloatArray
    told: bool

    def draw(self, rng: np.random.Generator, prompts: int, answers: int) -> tuple[FloatArray, FloatArray]:
        """Scores [P, J, R], some of them failed, and features of their prompts [P, F]."""
        which = rng.integers(0, len(self.means), prompts)
        size = (prompts, self.means.shape[1], answers)
        means, loud = self.means[which, :, None], self.loud[which, :, None]
        if self.shape == "right":
            scores = (rng.random(size) < means).astype(np.float64)
        else:
            noise = rng.normal(size=size) if self.shape == "normal" else rng.exponential(size=size) - 1
            scores = means + loud * noise
        return np.where(rng.random(size) < FAILED, np.nan, scores), self.seen[which]

    @property
    def variances(self) -> dict[str, float]:
        centred = self.means - self.means.mean(1, keepdims=True)
        noise = self.means * (1 - self.means) if self.shape == "right" else self.loud**2
        parts = (centred.mean(0) ** 2).mean(), centred.var(0).mean(), noise.mean()
        return dict(zip(FIGURES, map(float, parts), strict=False))

    def learned(self, scores: FloatArray, seen: FloatArray, best: crossed.Best) -> float:
        """What the policies of a design's folds gain over their single templates."""
        folds, more = crossed.folds(len(scores)), 0.0
        for fold in np.unique(folds):
            here = folds == fold
            taken = policy.fit(scores[~here], seen[~here]).choose(self.seen)
            gain = np.take_along_axis(self.means, taken[:, None], 1)[:, 0] - self.means[:, best.chosen[here][0]]
            more += float(gain.mean() * here.mean())
        return more

    @property
    def gains(self) -> FloatArray:
        """Of each template over the bare prompt [J]."""
        return np.asarray(self.means.mean(0) - self.means[:, 0].mean())

    @property
    def per_prompt(self) -> float:
        """What choosing for each prompt adds to the best single template."""
        return float(self.means.max(1).mean() - self.means.mean(0).max())


def worlds(count: int, rng: np.random.Generator) -> Iterator[World]:
    """Every second one with interaction: of every prompt its own, or of a few kinds of prompt."""
    for number in range(count):
        templates, kinds = int(rng.integers(2, 13)), int(rng.integers(2, 6))
        level = rng.normal(size=(POPULATION, 1))
        own = np.zeros((POPULATION, templates))
        words = np.random.default_rng([number, 1]).random((POPULATION, 30)) < 0.1
        marks, told = words[:, :0].astype(np.float64), False
        if number % 2:
            size = float(rng.choice([0.1, 0.3, 1.0]))
            apart = rng.normal(size=(kinds if rng.random() < 0.5 else POPULATION, templates))
            drawn = rng.integers(0, len(apart), POPULATION)
            own, told = size * apart[drawn], len(apart) == kinds
            marks = np.eye(kinds)[drawn] if told else marks
        means = level + float(rng.choice([0.0, 0.2, 0.6])) * rng.normal(size=templates) + own
        shape = ("normal", "skewed", "right")[int(rng.integers(3))]
        if shape == "right":
            means = 1 / (1 + np.exp(-means))
            if not number % 2:  # on this scale without interaction
                means = np.clip(0.5 + (level + means.mean(0) - means.mean()) / 8, 0, 1) + 0 * means
                means = np.clip(means + (rng.normal(size=templates) * 0.05), 0.0, 1.0)
        yield World(means, rng.uniform(0.3, 1.2, (POPULATION, templates)), shape, np.hstack([marks, words]), told)


def measured(world: World, scores: FloatArray, seen: FloatArray) -> dict[str, float]:
    """Errors of the figures, whether each interval holds the truth, and what of the bracket and of `fix` is so."""
    parts, best = crossed.variances(scores), crossed.best_template(scores)
    between = crossed.bracket(scores, best, parts.interaction[1])
    truth = world.variances | {"gain": float(world.gains[best.chosen].mean())}
    truth["learned"] = world.learned(scores, seen, best)
    told = {"template": parts.template, "interaction": parts.interaction, "noise": parts.noise, "gain": best.gain}
    told["learned"] = policy.learned(scores, seen, best)
    row: dict[str, float] = {}
    for name, (value, (low, high)) in told.items():
        row[f"error of {name}"] = value - truth[name]
        row[f"{name} held"] = math.nan if math.isnan(low) else float(low <= truth[name] <= high)
    most = float(world.gains.max())
    can = world.per_prompt > 1e-9
    for kind, here in (
        ("no interaction", not can),
        ("what is wanted hidden", can and not world.told),
        ("told", can and world.told),
    ):
        row[f"learned, {kind}"] = truth["learned"] if here else math.nan
        row[f"there is, {kind}"] = world.per_prompt if here else math.nan
    row["below the best there is"] = most - truth["gain"]
    row["bracket held"] = float(between.low <= world.per_prompt + 1e-12 <= between.above + 2e-12)
    row["bracket, low"], row["bracket, truth"], row["bracket, high"] = between.low, world.per_prompt, between.above
    row["said"] = float(crossed.sure_surplus(best.gain[1], between.above, SHARE) > 0)
    row["true"] = float(most > 0 and most >= SHARE * (most + world.per_prompt))
    return row


def summary(rows: list[dict[str, float]], of_world: list[int]) -> dict[str, float]:
    """Means over designs; a bias in its own errors, over worlds, since designs of one world are of a kind."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    found: dict[str, float] = {}
    for name in FIGURES:
        by_world = np.bincount(of_world, columns[f"error of {name}"]) / np.bincount(of_world)
        found[f"bias of {name}"] = float(by_world.mean())
        found[f"bias of {name}, in its errors"] = float(by_world.mean() / (by_world.std(ddof=1) / len(by_world) ** 0.5))
        found[f"{name} held"] = float(np.nanmean(columns[f"{name} held"]))
    said, true = columns["said"] > 0, columns["true"] > 0
    for name in (
        *(name for name in columns if name.startswith(("learned, ", "there is, "))),
        "below the best there is",
        "bracket held",
        "bracket, low",
        "bracket, truth",
        "bracket, high",
    ):
        found[name] = float(np.nanmean(columns[name]))
    found["fix said"], found["fix true"] = float(said.mean()), float(true.mean())
    found["right where said"] = float(true[said].mean()) if said.any() else math.nan
    found["missed where true"] = float((~said)[true].mean()) if true.any() else math.nan
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--designs", type=int, default=20, help="of each world and size")
    asked = parser.parse_args()
    everyone = list(worlds(asked.worlds, np.random.default_rng(0)))
    found = {}
    for times, prompts, answers in SIZES:
        rows, of_world = [], []
        for number, world in enumerate(everyone):
            rng = np.random.default_rng([number, times])
            for _ in range(asked.designs):
                rows.append(measured(world, *world.draw(rng, prompts, answers)))
                of_world.append(number)
        found[f"{times}x"] = summary(rows, of_world)
    names = list(found["1x"])
    heads = [f"{times}x: {prompts} prompts, {answers} a cell" for times, prompts, answers in SIZES]
    print(f"| {asked.worlds} worlds, {asked.designs} designs each | {' | '.join(heads)} |")
    print(f"|{' --- |' * (len(SIZES) + 1)}")
    for name in names:
        print(f"| {name} | {' | '.join(_shown(name, column[name]) for column in found.values())} |")
    print(json.dumps({"worlds": asked.worlds, "designs": asked.designs, **found}))


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    if name.endswith(("held", "said", "true")):
        return f"{value:.1%}"
    return f"{value:+.4f}" if name.startswith("bias") else f"{value:.3f}"


if __name__ == "__main__":
    main()
