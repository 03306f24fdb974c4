"""One template for all, or one for each: what is asked, within which budget, what is told of it, and the advice."""

import json
import math

import numpy as np
import pytest
from cli import ESTIMATE, SMALL, models
from in_texts import in_texts

from alignpro.config import HeadroomSettings
from alignpro.data.templates import Template
from alignpro.errors import RewardFailure, SettingsError
from alignpro.headroom import templates
from alignpro.headroom.advice import advice
from alignpro.headroom.templates import Design
from alignpro.results import Estimate, Headroom, Point
from alignpro.rewards.functions import FunctionReward
from alignpro.runtime.interrupt import StopRequest
from alignpro.types import Generation, as_prompts

LISTED = tuple(map(Template, range(4), ("{prompt}", "{prompt} well", "do {prompt}", "{system} do {prompt}")))
"""Without a system message the last two frame alike."""
PROMPTS = as_prompts([f"task {number}" for number in range(12)])


class Answering:
    """Answers what it is asked, with a number of its own behind it; tells how often it was asked each text."""

    name = "answering"

    def __init__(self):
        self.asked = {}

    @in_texts
    def respond(self, prompts, counts, seed):
        rng = np.random.default_rng(seed)
        for prompt, count in zip(prompts, counts, strict=True):
            self.asked[prompt] = self.asked.get(prompt, 0) + count
        return [
            [Generation(f"{prompt} {rng.normal():.3f}") for _ in range(count)]
            for prompt, count in zip(prompts, counts, strict=True)
        ]


def worth(prompt, response):
    """Templates that say well are worth 1 more."""
    return float(response.split()[-1]) / 10 + ("well" in response)


ONE_IS_BEST = FunctionReward("worth", lambda xs, ys: [worth(x, y) for x, y in zip(xs, ys, strict=True)])
EACH_ITS_OWN = FunctionReward(
    "turned", lambda xs, ys: [worth(x, y) * (1 - 2 * (int(x[-1]) % 2)) for x, y in zip(xs, ys, strict=True)]
)
SOME_FAIL = FunctionReward(
    "some", lambda xs, ys: [None if x == "task 3" else worth(x, y) for x, y in zip(xs, ys, strict=True)]
)


def asked(path, reward=ONE_IS_BEST, frozen=None, prompts=PROMPTS, identity="these", answers=3, max_failed=1.0):
    design = Design(LISTED, tuple(prompts), answers)
    scores = templates.ask(
        design,
        frozen or Answering(),
        reward,
        5,
        path=path / "rows.jsonl",
        identity=identity,
        seed=0,
        max_failed=max_failed,
        stop=StopRequest(""),
        advance=lambda *told: None,
    )
    return design, scores


def told(path, reward=ONE_IS_BEST, frontier=None):
    return templates.report("mine.txt", *asked(path, reward), frontier)


def test_every_cell_has_answers_of_its_own_and_those_of_a_stopped_design_are_kept(tmp_path):
    frozen = Answering()
    _, scores = asked(tmp_path, frozen=frozen, prompts=PROMPTS[:7])
    assert scores.shape == (7, 4, 3)
    assert frozen.asked["task 1"] == 3 and frozen.asked["do task 1"] == 6  # two templates that frame alike
    assert len(set(scores[1].ravel())) == 12
    again = Answering()
    _, more = asked(tmp_path, frozen=again)
    assert "task 1" not in again.asked and "task 11" in again.asked
    assert np.array_equal(more[:7], scores)
    anew = Answering()
    asked(tmp_path, frozen=anew, identity="others")
    assert anew.asked["task 1"] == 3


@pytest.mark.parametrize(
    ("budget", "answers", "shape", "said"),
    [
        (1000, 4, (12, 4), "4 x 12 prompts x 4 answers = 192 answers of the frozen model"),
        (150, 4, (12, 3), "allows no more to each"),
        (60, 4, (7, 2), "leaves out 5 of 12 prompts, those drawn last"),
    ],
)
def test_the_budget_takes_from_the_answers_first_and_then_from_the_prompts(budget, answers, shape, said):
    limits = HeadroomSettings(template_budget=budget, template_answers=answers)
    design = templates.planned(LISTED, PROMPTS, limits)
    assert (len(design.prompts), design.answers) == shape
    assert design.prompts == PROMPTS[: shape[0]] and design.frozen_calls <= budget
    assert said in templates.in_words(design, len(PROMPTS), limits)


def test_a_budget_for_under_five_prompts_stops_and_says_what_it_takes():
    with pytest.raises(SettingsError, match="template_budget 39: 4 templates take at least 40 answers"):
        templates.planned(LISTED, PROMPTS, HeadroomSettings(template_budget=39))


def test_one_template_that_is_best_for_every_prompt_is_the_one_to_fix(tmp_path):
    found = told(tmp_path, ONE_IS_BEST)
    assert found.best_called == "template_1" and found.framed[0].text == "{prompt} well"
    assert found.gain.lo > 0.8 and found.rivals == 1
    assert found.surely_added == 0 and [row.chosen_on for row in found.chosen_per_prompt] == [1, 2]
    assert found.variance_of_template.value == pytest.approx(3 / 16, rel=0.2)
    assert abs(found.variance_of_interaction.value) < 0.01
    said = advice(estimated(found))
    assert said.verdict == "fix" and "'{prompt} well'" in said.text and "mine.txt" in said.text


def test_where_prompts_want_their_own_no_template_is_fixed_and_the_bracket_says_how_much_there_is(tmp_path):
    found = told(tmp_path, EACH_ITS_OWN)
    assert 0.05 < found.surely_added < 0.5 < found.added_at_most  # half of the prompts gain 1 by their own
    said = advice(estimated(found))
    assert said.verdict != "fix" and f"up to {found.added_at_most:.3g}" in said.text
    assert "of that can be learned" not in said.text  # the number in a prompt is no word that another has


def test_what_depends_on_a_word_of_the_prompt_is_told_as_learned(tmp_path):
    prompts = as_prompts([f"{'odd' if number % 2 else 'even'} task {number}" for number in range(40)])
    found = templates.report("mine.txt", *asked(tmp_path, EACH_ITS_OWN, prompts=prompts), None)
    assert 0.2 < found.learned.lo < found.learned.value < found.added_at_most
    assert "by its length and words 0.50 [0.30, 0.71] of that can be learned" in advice(estimated(found)).text


def test_beside_a_frontier_one_template_is_held_against_its_gain(tmp_path):
    little = told(tmp_path, ONE_IS_BEST, {prompt.key: 0.5 for prompt in PROMPTS})
    much = told(tmp_path, ONE_IS_BEST, {prompt.key: 3.0 for prompt in PROMPTS})
    assert little.surplus.value == pytest.approx(little.gain.value - 0.4)
    assert little.surplus.lo > 0 > much.surplus.hi
    assert much.frontier_ahead.value == pytest.approx(3.0 - much.gain.value)
    assert not told(tmp_path).frontier_ahead.defined
    assert advice(estimated(little, gain=0.5)).verdict == "fix"
    assert advice(estimated(much, gain=3.0)).verdict == "train"


def estimated(found, gain=math.nan):
    """An estimate before training with nothing but the best prompter's gain, and templates."""
    found_gain = {"value": gain, "ci95": [gain - 0.1, gain + 0.1]}
    point = Point.model_validate({"kl_coef": 0.1, "kl": 1.0, "reward": 1.0, "gain": found_gain})
    return Headroom.model_validate({"kl_coef": 0.1, "optimum": None if math.isnan(gain) else point, "templates": found})


def test_a_prompt_of_which_every_answer_failed_is_left_out_and_counted(tmp_path):
    found = told(tmp_path, SOME_FAIL)
    assert (found.prompts, found.unanswered) == (11, 1)
    assert found.gain.lo > 0.8
    with pytest.raises(RewardFailure, match="headroom, templates"):
        asked(tmp_path / "strict", SOME_FAIL, max_failed=0.05)


def test_of_few_prompts_figures_have_no_intervals_and_nothing_is_advised(tmp_path):
    design, scores = asked(tmp_path, prompts=PROMPTS[:3])
    found = templates.report("mine.txt", design, scores, None)
    assert found.gain.defined and not found.gain.bounded and math.isnan(found.added_at_most)
    assert advice(estimated(found)).verdict == "unsure"
    assert not Estimate(found.added_at_most).defined


def test_the_command_takes_a_file_and_writes_what_it_found(workshop, inside, tmp_path):
    (tmp_path / "mine.txt").write_text("{prompt} please\nKindly: {prompt}\n", encoding="utf-8")
    words = ["headroom", *models(workshop), *SMALL, *[f"--{word}" for word in ESTIMATE], "--train.steps=1"]
    words += ["--templates", str(tmp_path / "mine.txt"), "--headroom.template_answers=2"]
    code, output = inside(*words, f"--out={tmp_path / 'run'}")
    assert code == 0, output
    assert "templates: 3 x 3 prompts x 2 answers = 18 answers" in output
    assert "one template for all, or one for each" in output
    found = json.loads((tmp_path / "run" / "headroom.json").read_text())["templates"]
    assert found["listed"].endswith("mine.txt") and found["prompts"] == 3
    assert sorted(row["called"] for row in found["framed"]) == ["no template", "template_1", "template_2"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "One template for all, or one for each" in page and "Kindly: {prompt}" in page
    assert "More by choosing by a prompt's length and words" in page and "Chosen, at most" not in page  # of 3 prompts
