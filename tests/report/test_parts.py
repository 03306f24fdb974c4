"""The arithmetic behind the page: rounding, smoothing, and which examples are kept."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ARMS, REWARD, SECOND, samples, write_lines

from alignpro.report import write_readme_figure, write_report
from alignpro.report.arm_charts import density
from alignpro.report.examples import BUDGET, examples
from alignpro.report.palette import TOKENS, looks
from alignpro.report.reading import read_run
from alignpro.report.training_charts import running_mean, window_of
from alignpro.results import Estimate
from alignpro.results.words import count, number, percent, spoken


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(0.4213, 0.3521, 0.4903), "+0.42 [0.35, 0.49]"),
        (Estimate(12.34, 10.2, 14.5), "+12.3 [10.2, 14.5]"),
        (Estimate(-0.05, -0.12, 0.02), "−0.05 [−0.12, 0.02]"),
        (Estimate(0.2, 0.002, 0.4), "+0.200 [0.002, 0.400]"),  # a bound above zero never looks like zero
        (Estimate(1234.5, 1100.0, 1400.0), "+1234 [1100, 1400]"),
        (Estimate(0.5), "+0.500"),
        (Estimate(math.nan, 0.1, 0.2), "–"),
    ],
)
def test_spoken(estimate: Estimate, said: str) -> None:
    assert spoken(estimate, signed=True) == said


def test_numbers() -> None:
    assert number(-0.0001, 2) == "0.00"
    assert number(0.0) == "0.00"
    assert count(38400) == "38\u202f400"
    assert count(math.nan) == number(math.nan) == percent(Estimate(math.nan)) == "–"
    assert percent(Estimate(0.64, 0.61, 0.67)) == "64% [61, 67]"
    assert percent(Estimate(0.505, 0.495, 0.515)) == "50.5% [49.5, 51.5]"


def test_side_needs_an_interval() -> None:
    assert [e.side() for e in (Estimate(1, 0.5, 2), Estimate(-1, -2, -0.5), Estimate(1, -1, 3))] == [1, -1, 0]
    assert Estimate(1).side() is None
    assert Estimate(1, 0.0, 2).side() == 0


def test_density_integrates_to_one_and_follows_its_sample() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.5, 4000)
    points = np.linspace(-8, 12, 400)
    hill = density(values, points)
    step = points[1] - points[0]
    assert hill.sum() * step == pytest.approx(1, abs=1e-3)
    normal = np.exp(-0.5 * ((points - 2) / 1.5) ** 2) / (1.5 * math.sqrt(2 * math.pi))
    assert np.abs(hill - normal).max() < 0.02


def test_running_mean_leaves_out_nan_and_keeps_constants() -> None:
    assert running_mean(np.full(9, 3.0), 5) == pytest.approx(np.full(9, 3.0))
    values = np.array([1.0, math.nan, 3.0, 5.0])
    assert running_mean(values, 3) == pytest.approx([1.0, 2.0, 4.0, 4.0])
    assert np.isnan(running_mean(np.full(4, math.nan), 3)).all()
    assert [window_of(steps) for steps in (1, 9, 20, 30, 60, 200)] == [1, 1, 3, 3, 7, 21]


def test_looks_are_fixed_and_distinct() -> None:
    arms = [*ARMS, "gibbs_2", "gibbs_64", "another", "gibbs_x"]
    found = looks(arms)
    assert list(found) == [*list(ARMS)[:3], "gibbs_2", "gibbs_8", "gibbs_64", "rlhf", "another", "gibbs_x"]
    assert len({look.token for look in found.values()}) == len(arms)
    assert len({look.marker for look in found.values()}) == len(arms)
    assert all(looks([arm])[arm] == found[arm] for arm in ("no_prompter", "align_pro", "rlhf", "reference_prompter"))


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_their_paper(side: int) -> None:
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for paper in ("paper", "panel"):
        for name, pair in TOKENS.items():
            if name in ("paper", "panel", "line"):
                continue
            light, dark = sorted((luminance(TOKENS[paper][side]), luminance(pair[side])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= (4.5 if name in ("ink", "muted") else 3.0), (name, paper)


def test_examples_show_the_first_answer_and_the_mean_of_all(run_dir: Path) -> None:
    found = json.loads(examples(read_run(run_dir).samples, looks(ARMS), REWARD, SECOND).payload)
    lines = [
        line for line in samples() if (line["stage"], line["arm"], line["prompt_id"]) == ("evaluation", "gibbs_8", 4)
    ]
    shown = found["prompts"][4]["arms"]["gibbs_8"]
    assert shown["y"] == lines[0]["response"]
    assert shown["rewrite"] == lines[0]["rewrite"]
    assert shown["r"] == pytest.approx(lines[0]["reward"], abs=1e-4)
    assert shown["mean"] == pytest.approx(np.mean([line["reward"] for line in lines]), abs=1e-4)
    assert found["prompts"][4]["arms"]["no_prompter"]["rewrite"] is None


def test_examples_past_the_budget_are_thinned_evenly_and_it_is_said(run_dir: Path) -> None:
    lines = samples(prompts=60)
    write_lines(run_dir / "samples.jsonl", lines)
    recorded = read_run(run_dir).samples
    whole = examples(recorded, looks(ARMS), REWARD, SECOND)
    assert whole.prompts == 60
    assert "of 60 prompts" not in whole.rule
    budget = len(whole.payload.encode()) // 4
    thinned = examples(recorded, looks(ARMS), REWARD, SECOND, budget)
    kept = [int(entry["id"]) for entry in json.loads(thinned.payload)["prompts"]]
    assert f"holds {len(kept)} of 60 prompts" in thinned.rule
    assert len(thinned.payload.encode()) < budget + 1000
    assert 12 <= len(kept) <= 16
    assert (kept[0], kept[-1]) == (0, 59)
    assert {b - a for a, b in pairwise(kept)} <= {4, 5, 6}


def test_large_run_stays_under_five_megabytes(run_dir: Path) -> None:
    some = samples(prompts=20)
    lines = [
        {**line, "prompt_id": line["prompt_id"] + 20 * copy, "response": line["response"] * 40}
        for copy in range(20)
        for line in some
    ]
    write_lines(run_dir / "samples.jsonl", lines)
    path = write_report(run_dir)
    assert BUDGET / 2 < path.stat().st_size < 5_000_000


def test_readme_figure_stands_alone_in_light_and_dark(run_dir: Path, tmp_path: Path) -> None:
    path = write_readme_figure(run_dir, tmp_path / "assets" / "figure.svg")
    svg = path.read_text(encoding="utf-8")
    assert path == tmp_path / "assets" / "figure.svg"
    assert "prefers-color-scheme:dark" in svg
    assert "var(" not in svg
    assert not re.search(r'(href|src)="(?!#)', svg)
    assert "Align-Pro 1.23 [1.14, 1.32]" in svg
    assert "Align-Pro 64% [61, 67]" in svg
    assert len(svg) < 30_000
    drawn = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg))
    assert drawn <= {pair[0] for pair in TOKENS.values()}
    for colour in drawn:
        assert f": {colour}" in svg.split("</style>")[0], colour
