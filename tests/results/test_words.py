import math

import pytest

from alignpro.maths.stats import Withheld
from alignpro.results import Estimate, Mean
from alignpro.results.words import MINUS, number, percent, plain, spoken, told


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(1.02e-6, 0.95e-6, 1.1e-6), "1.02e-6 [0.95e-6, 1.10e-6]"),
        (Estimate(-3.1e-7, -4.2e-7, 1.1e-7), "-3.1e-7 [-4.2e-7, 1.1e-7]"),
        (Estimate(1.02e16, 0.97e16, 1.08e16), "1.02e16 [0.97e16, 1.08e16]"),
        (Estimate(1e16, 1e16 - 64, 1e16 + 64), "1.00e16 [1.00e16, 1.00e16]"),
        (Estimate(100.8213, 100.7321, 100.9103), "100.82 [100.73, 100.91]"),
        (Estimate(0.512345, 0.512301, 0.512399), "0.512345 [0.512301, 0.512399]"),
        (Estimate(12345.6, 11000, 14000), "12346 [11000, 14000]"),
        (Estimate(2.5e-5), "2.50e-5"),
        (Estimate(0.0, 0.0, 0.0), "0.00 [0.00, 0.00]"),
        (Estimate(5.0, 5.0, 5.0), "5.00 [5.00, 5.00]"),
        (Estimate(math.nan, 0.1, 0.2), "-"),
    ],
)
def test_a_figure_has_the_digits_that_its_interval_warrants_in_terminals_and_on_the_page(estimate, said):
    assert told(estimate) == said
    assert spoken(estimate).replace(MINUS, "-") == said.replace("-", "–" if said == "-" else "-")


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (Estimate(0.64, 0.5, 0.75), "64% [50, 75]"),
        (Estimate(0.5, 0.495, 0.505), "50.0% [49.5, 50.5]"),
        (Estimate(0.99995, 0.9999, 0.99999), "99.995% [99.990, 99.999]"),
        (Estimate(1.0, 1.0, 1.0), "100% [100, 100]"),
    ],
)
def test_a_share_has_the_digits_that_its_interval_warrants(share, said):
    assert percent(share) == said


def test_single_figures_are_never_lost_or_long():
    assert [plain(value) for value in (1e-6, 1e16, 0.0, -123.4, 1e-300)] == [
        "1.00e-6",
        "1.00e16",
        "0.00",
        "-123",
        "1.00e-300",
    ]
    assert plain(100.8213, 0.2) == "100.82"
    assert number(1e16, 0) == "1.00e16"
    assert number(3.0, 0) == "3"


def test_a_withheld_interval_says_why_in_terminals_on_the_page_and_in_files():
    figure = Estimate.of(0.5123, Withheld("under 5 prompts"))
    assert told(figure) == spoken(figure) == "0.512 [under 5 prompts]"
    assert percent(figure) == "51% [under 5 prompts]"
    written = Mean(mean=figure).tree()
    assert written["ci95_withheld"] == "under 5 prompts"
    assert Mean.model_validate({"mean": 0.5123, "ci95": [None, None], "ci95_withheld": "under 5 prompts"}).mean.why
    assert "ci95_withheld" not in Mean(mean=Estimate(0.5, 0.4, 0.6)).tree()
    assert figure.mirrored().why == figure.scaled(2).why == "under 5 prompts"
