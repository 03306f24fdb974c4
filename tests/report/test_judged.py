"""Judged comparisons on the page: chosen by a rule, whoever looks best by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SECOND, samples, write_lines

from alignpro.report import write_report
from alignpro.report.judged_examples import judged_examples
from alignpro.report.reading import read_run


def order(verdict: str | None, a: float | None, b: float | None, reason: str = "") -> dict[str, Any]:
    return {"verdict": verdict, "scores": [a, b], "reason": reason}


def line(prompt: int, margin: float, sample: int = 0, judge: str = SECOND, **own: Any) -> dict[str, Any]:
    verdict = "tie" if margin == 0 else "a" if margin > 0 else "b"
    found = {"a": "align_pro", "b": "no_prompter", "judge": judge, "prompt_id": prompt, "sample": sample}
    return {**found, "verdict": verdict, "orders": [order(verdict, 5 + margin, 5)], **own}


def judged(run_dir: Path, lines: list[dict[str, Any]], tail: str = "") -> Any:
    write_lines(run_dir / "judgements.jsonl", lines, tail)
    run = read_run(run_dir)
    return judged_examples(run.judgements, run.samples, "no_prompter")


def test_the_places_are_quantiles_of_the_margin(run_dir: Path) -> None:
    margins = np.random.default_rng(0).permutation(np.arange(-4, 8)) + 0.5
    found = judged(run_dir, [line(i, float(m)) for i, m in enumerate(margins)])
    shown = [s.judged.margin for s in found.shown]
    assert shown == sorted(shown, reverse=True)
    assert (shown[0], shown[-1]) == (margins.max(), margins.min())
    for place, quantile in ((1, 0.75), (2, 0.5), (3, 0.25)):
        assert abs(shown[place] - np.quantile(margins, quantile)) <= 0.5
    assert "8 won, 0 tied, 4 lost" in found.rule
    for s in found.shown:
        recorded = [
            row["response"]
            for row in samples()
            if (row["stage"], row["arm"], str(row["prompt_id"])) == ("evaluation", "align_pro", str(s.judged.prompt_id))
        ]
        assert s.a.response == recorded[0]


def test_the_sample_compared_is_the_sample_shown(run_dir: Path) -> None:
    found = judged(run_dir, [line(4, 1.0, sample=2)])
    [shown] = found.shown
    rows = [r for r in samples() if (r["stage"], r["arm"], r["prompt_id"]) == ("evaluation", "no_prompter", 4)]
    assert shown.b.response == rows[2]["response"]


def test_a_tie_is_added_where_none_is_among_them(run_dir: Path) -> None:
    found = judged(run_dir, [line(i, m) for i, m in enumerate([3.0, 2, 1, 0, -1, -2, -3])])
    assert [s.place for s in found.shown if s.judged.verdict == "tie"] == ["Median"]
    found = judged(run_dir, [line(i, m) for i, m in enumerate([5.0, 4, 3, 0, 2, 1, 1, 1, -1])])
    assert [s.place for s in found.shown if s.judged.verdict == "tie"] == ["A tie"]


def test_of_several_judges_the_last_is_shown_and_margins_are_over_both_orders(run_dir: Path) -> None:
    both = [order("a", 8, 5, "So."), order("b", 4, 5, "Not so.")]
    found = judged(run_dir, [line(0, 3.0), line(1, 0, judge="wise", orders=both)])
    [shown] = found.shown
    assert shown.judged.judge == "wise"
    assert shown.judged.margin == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"orders": []},
        {"orders": [order(None, None, None)], "verdict": None},
        {"orders": [{"scores": "high"}]},
        {"orders": "none"},
        {"sample": 99},
        {"sample": None},
        {"prompt_id": 99},
        {"a": "unheard of"},
    ],
)
def test_lines_that_cannot_be_shown_are_passed_over(run_dir: Path, broken: dict[str, Any]) -> None:
    found = judged(run_dir, [line(0, 1.0), line(1, 2.0, **broken)], tail='{"a": "align_pro", "b"')
    assert [s.judged.prompt_id for s in found.shown] == [0]
    assert judged(run_dir, [line(1, 2.0, **broken)]) is None


def test_without_judgements_there_is_no_section(run_dir: Path) -> None:
    assert 'id="judged"' not in write_report(run_dir).read_text(encoding="utf-8")
    assert read_run(run_dir).notes == ()


def test_the_page_shows_prompt_rewrite_answers_scores_and_reasons_as_plain_text(run_dir: Path) -> None:
    bad = "<script>alert(1)</script>\n</article><b>"
    lines = samples()
    for row in lines:
        if row["prompt_id"] == 0 and row["stage"] == "evaluation":
            row["response"] = f"{row['arm']} says {bad}"
            row["prompt"] = f"x {bad}"
            row["rewrite"] = f"x {bad}" if row["arm"] == "no_prompter" else f"x' {bad}"
    write_lines(run_dir / "samples.jsonl", lines)
    both = [order("a", 8, 5, f"First {bad}"), order("a", 7, 6.5, "Second.")]
    write_lines(run_dir / "judgements.jsonl", [line(0, 2.0, judge=f"wise {bad}", orders=both)])
    page = write_report(run_dir).read_text(encoding="utf-8")
    part = page[page.index('<section id="judged">') : page.index('<section id="training">')]
    assert "<script" not in part
    assert part.count("</article>") == 1
    for told in (
        "align_pro says &lt;script&gt;",
        "no_prompter says &lt;script&gt;",
        "First &lt;script&gt;",
        "Second.",
        "Prompt sent as it is",
        "Rewritten prompt x′",
        "score 8 when presented first, 7 when second",
        "score 6.50 when presented first, 5 when second",
        "Align-Pro won",
        "margin +1.75",
    ):
        assert told in part, told
