"""The page on theory: its numbers are the code's, its figures are drawn, its links lead somewhere."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alignpro.theory.examples import editing_world
from alignpro.theory.figures import write_figures

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "theory.md").read_text(encoding="utf-8")


def test_the_page_quotes_what_the_code_says_and_the_figures_are_the_same_each_time(tmp_path):
    lines = write_figures(tmp_path / "one")
    assert [line for line in lines if f"    {line}\n" not in PAGE] == []
    assert write_figures(tmp_path / "two") == lines
    drawn = sorted((tmp_path / "one").iterdir())
    assert {p.name for p in drawn} == set(re.findall(r"\(figures/(theory-\w+\.svg)\)", PAGE))
    for path in drawn:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert (DOCS / "figures" / path.name).is_file()


@pytest.mark.parametrize(("label", "target"), re.findall(r"\[`([\w./]+)`\]\((\.\./[^)]+)\)", PAGE))
def test_links_lead_to_what_they_name(label, target):
    source = (DOCS / target).resolve()
    assert source.is_file()
    name = label.split(".")[-1]
    assert label in str(source) or re.search(rf"^ *(def|class) {name}\b", source.read_text(), re.MULTILINE)


def test_in_the_editing_world_passes_reach_further_and_forget():
    first, edits = editing_world()
    second = first.after(first.log_optimum, edits)
    assert second.prompter_reward(second.log_optimum) > first.prompter_reward(first.log_optimum)
    assert second.ceiling < first.ceiling
