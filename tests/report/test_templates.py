"""Markup stands in templates alone, and what is put into them cannot become markup or template."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from test_report import Page

import alignpro
from alignpro.report import write_reward_report, write_sft_report
from alignpro.report.drawing import Chart, canvas, drawing, inline
from alignpro.report.templating import write_page

SOURCE = Path(alignpro.__file__).parent
ELSEWHERE = {SOURCE / "report" / "drawing.py"}
"""It makes what matplotlib drew part of a page or a file."""
TAG = re.compile(
    r"</?(a|article|aside|b|body|br|button|code|dd|details|div|dl|dt|em|fieldset|figcaption|figure|form|g|h[1-6]|head"
    r"|header|html|i|img|input|label|legend|li|link|main|meta|nav|noscript|ol|option|p|path|pre|script|section|select"
    r"|small|span|strong|style|sub|summary|sup|svg|table|tbody|td|text|th|thead|title|tr|ul)(\s[^<>]*)?/?>"
    r"|<!doctype",
    re.IGNORECASE,
)
ATTACK = "</title></pre><script>alert(1)</script>{{ 7 * 191 }}{% raw %}{# \"'>"


def test_no_markup_stands_in_code() -> None:
    found = []
    for path in sorted(set(SOURCE.rglob("*.py")) - ELSEWHERE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):  # a tag may begin before a value and end behind it
                words = "".join(str(v.value) if isinstance(v, ast.Constant) else "x" for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value
            else:
                continue
            if TAG.search(words):
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert not found


@pytest.mark.parametrize("markup", ["<p>", '<td class="a">', "</section>", "<br/>", "<!DOCTYPE html>"])
def test_the_search_finds_markup(markup: str) -> None:
    assert TAG.search(f"words {markup} words")


@pytest.mark.parametrize("words", ["<rewrite>x</rewrite>", "a < b > c", "<user> text", "<score>"])
def test_the_search_passes_over_what_is_none(words: str) -> None:
    assert not TAG.search(words)


def test_values_are_escaped_and_never_read_as_templates(tmp_path: Path) -> None:
    folder = tmp_path / "fit"
    folder.mkdir()
    figure = {"value": 0.7, "ci95": [0.6, 0.8]}
    own = {"base": ATTACK, "preferences": ATTACK, "dropped": {ATTACK: 3}, "accuracy": figure, "gain": figure}
    for name in ("reward.json", "sft.json"):
        (folder / name).write_text(json.dumps(own), encoding="utf-8")
    (folder / "config.yaml").write_text(json.dumps({"reward": ATTACK}), encoding="utf-8")
    made = {"command": ["alignpro", ATTACK], ATTACK: ATTACK}
    (folder / "environment.json").write_text(json.dumps(made), encoding="utf-8")
    for write in (write_reward_report, write_sft_report):
        page = Page(write(folder).read_text(encoding="utf-8"))
        assert [kind for kind, _ in page.scripts] == [None]
        assert f"Base {ATTACK}" in page.text
        assert f"3 left out: {ATTACK}." in page.text
        assert page.text.count(ATTACK) >= 4
        assert "1337" not in page.text


def test_a_chart_keeps_its_markup_and_its_label_has_none(tmp_path: Path) -> None:
    with drawing("plain"):
        figure, axes = canvas(100)
        axes.set_xlabel(ATTACK)
        svg = inline(figure, ATTACK)
    part = {"anchor": "x", "title": ATTACK, "text": ATTACK, "heads": [ATTACK], "rows": [[ATTACK]], "lines": [ATTACK]}
    making = dict.fromkeys(("name", "command", "again", "report", "settings", "meta_prompt", "system"), ATTACK) | {
        "environment": [(ATTACK,) * 2]
    }
    values = {"title": ATTACK, "figures": [], "lines": [], "making": making}
    path = write_page(
        tmp_path / "page.html", "fit.html", parts=[part | {"charts": [Chart(ATTACK, ATTACK, svg)]}], **values
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert [kind for kind, _ in page.scripts] == [None]
    [chart] = [found for tag, found in page.elements if tag == "svg"]
    assert chart["aria-label"] == ATTACK
    assert page.title == ATTACK


def test_a_value_that_a_page_wants_and_nobody_gave_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="making"):
        write_page(tmp_path / "page.html", "fit.html", title="", figures=[], lines=[], parts=[])
