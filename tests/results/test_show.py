"""What a notebook shows of a result: a table with intervals, and the intervals drawn."""

import xml.etree.ElementTree as ElementTree

import pytest
from test_evaluation import WHOLE

from alignpro.results import Evaluation, Headroom, Methods, SideBySide

HEADROOM = {
    "prompts": 4,
    "kl_coef": 0.25,
    "reward": "<b>",
    "no_prompter": {"reward": 0.5, "ci95": [0.25, 0.75]},
    "reference_prompter": {"reward": None, "ci95": [None, None]},
    "frontier": [{"kl_coef": 1.0, "kl": 0.5, "kl_ci95": [0.4, 0.6], "reward": 1.5, "ci95": [1.0, 2.0]}],
    "advice": {"verdict": "train", "text": "Train & see."},
}
OVER_SEEDS = {"value": 0.5, "ci95": [0.25, 0.75], "values": [0.5, 0.5]}
METHODS = {"seeds": 2, "methods": [{"method": "ppo", **dict.fromkeys(("reward", "kl", "objective"), OVER_SEEDS)}]}


@pytest.mark.parametrize(
    ("result", "rows"),
    [
        (Evaluation.model_validate(WHOLE), 2),
        (Headroom.model_validate(HEADROOM), 3),
        (Methods.model_validate(METHODS), 1),
        (SideBySide.model_validate({"runs": {"one": WHOLE, "two": WHOLE}}), 4),
        (Evaluation.model_validate({}), 0),
    ],
    ids=["evaluation", "headroom", "methods", "side by side", "nothing"],
)
def test_a_notebook_shows_the_table_and_the_figure(result, rows):
    page = ElementTree.fromstring(result._repr_html_())
    assert len(page.findall("table/tr")) == rows + 1
    figures = [line.findtext("td") for line in page.findall("table/tr")[1:]]
    assert all(figure == "–" or "[" in figure for figure in figures)
    drawn = page.findall("{http://www.w3.org/2000/svg}svg/{http://www.w3.org/2000/svg}circle")
    assert len(drawn) == sum(figure != "–" for figure in figures)


def test_names_cannot_become_markup():
    html = Headroom.model_validate(HEADROOM)._repr_html_()
    assert "&lt;b&gt;" in html and "Train &amp; see." in html and "(<b>)" not in html


def test_a_whisker_spans_its_interval():
    html = Headroom.model_validate(HEADROOM)._repr_html_()
    (low, high), (first, last) = [
        [float(line.get(end) or "nan") for end in ("x1", "x2")]
        for line in ElementTree.fromstring(html).iter("{http://www.w3.org/2000/svg}line")
    ]
    assert (high - low) / (last - first) == pytest.approx((0.75 - 0.25) / (2.0 - 1.0), abs=0.01)
