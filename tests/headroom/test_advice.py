"""What is advised where samples cannot tell the optimum: from a floor under it, and at a price of answers one has."""

import re

from alignpro.headroom.advice import advice
from alignpro.results import Headroom


def withheld(gain, half, *, points=()):
    """An estimate of 48 prompts whose optimum at kl_coef 0.02 is withheld; gibbs_N gains `gain`, at 2 nats of KL."""
    own = {"figure": "frontier at kl_coef 0.02", "why": "noise", "needs": {"rewrites": 30, "responses": 44}}
    own["needs"]["frozen_calls"] = 107_112
    rows = [
        {"kl_coef": price, "kl": 0.1, "gain": {"value": value, "ci95": [value - half, value + half]}}
        for price, value in points
    ]
    drawn = {"n": 8, "kl": 2.0, "reward": 0.5, "frozen_calls_per_prompt": 16}
    drawn["gain"] = {"value": gain, "ci95_withheld": "under 5 prompts"}
    if half:
        drawn["gain"] = {"value": gain, "ci95": [gain - half, gain + half]}
    return Headroom.model_validate(
        {
            "kl_coef": 0.02,
            "prompts": 48,
            "frozen_calls": 2400,
            "frontier": rows,
            "gibbs": [{**drawn, "n": 2, "gain": {"value": 9.0, "ci95": [8.0, 10.0]}}, drawn],
            "withheld": [own],
        }
    )


def test_a_floor_surely_above_its_price_says_sample_and_from_which_price_on_there_is_a_frontier():
    said = advice(withheld(0.2, 0.1, points=[(0.32, 0.01), (0.25, 0.03)]))
    assert said.verdict == "sample"
    assert "gibbs_8 gains 0.20 [0.10, 0.30]" in said.text and "at least that less 0.04" in said.text
    assert "from kl_coef 0.25 on, where it would gain 0.03 [-0.07, 0.13]" in said.text
    assert "16 more answers" in said.text and "107,112" not in said.text


def test_a_gain_that_may_be_nothing_names_what_would_show_it_or_what_is_shown_already():
    said = advice(withheld(0.13, 0.1))
    assert said.verdict == "unsure" and "too steep" in said.text and "107,112" not in said.text
    prompts, answers = re.search(r"headroom\.prompts=(\d+) \(([\d,]+) answers\)", said.text).groups()
    assert int(prompts) == 117  # (2.8 x 0.05 / (0.13 - 0.04))^2 times 48
    assert int(answers.replace(",", "")) == 117 * 2400 / 48
    for little in (0.05, -0.1):  # to show it would take too many, or there is nothing to show
        said = advice(withheld(little, 0.1))
        assert said.verdict == "unsure"
        assert "48 prompts show a gain of 0.18 in four trials of five" in said.text
        assert "(9,600 answers), one of 0.11" in said.text


def test_without_an_interval_nothing_is_promised():
    said = advice(withheld(0.2, None))
    assert said.verdict == "unsure" and "It has no interval: under 5 prompts." in said.text
