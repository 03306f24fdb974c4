"""Templates as arms: each of a file, and the one that is chosen on training prompts."""

import json
from collections import Counter

import numpy as np
import pytest
from cli import settings
from in_texts import in_texts

from alignpro.cli import tables
from alignpro.data.templates import Template
from alignpro.errors import DataError, PromptTooLong, RewardFailure, SettingsError
from alignpro.evaluate import arms
from alignpro.evaluate.templates import choose
from alignpro.results import Evaluation, TemplateChoice, read
from alignpro.running import job
from alignpro.running.plan import plan
from alignpro.types import Generation, RewardResult, as_prompts

TEXTS = ("[b]Please[/b] {prompt}", "{prompt} 🦉 <now> {{x}}", "Be brief.\n{prompt}")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\n---\n".join(TEXTS))
    return path


def asked(workshop, file, *more):
    own = ("reward.model=python:rewards:spy", "train.steps=0", "evaluate.template_prompts=5", "evaluate.responses=2")
    return settings(workshop, *own, f"evaluate.arms=[no_prompter, 'template:{file}', 'template:best']", *more)


def test_each_template_and_the_best_are_compared_counted_and_shown(workshop, file, spy, tmp_path, capsys):
    given, out = asked(workshop, file), tmp_path / "run"
    made = job.run(given, out)
    names = ["no_prompter", "template_1", "template_2", "template_3", "template_best"]
    assert list(made.arms) == names
    assert [made.arms[name].template for name in names[:4]] == ["", *TEXTS]
    choice = read(TemplateChoice, out / "template.json")
    assert made.arms["template_best"].template == choice.chosen.text
    assert [row.text for row in choice.templates] == ["{prompt}", *TEXTS]
    assert (choice.prompts, choice.responses, choice.frozen_calls) == (5, 2, 5 * 4 * 2)
    best = max(choice.templates, key=lambda row: row.gain.value)
    assert best.name == choice.best and choice.gain_of("template_0").value == 0
    samples = made.prompts * 2
    assert made.arms["template_1"].frozen_calls == samples
    assert made.arms["template_best"].frozen_calls == samples + choice.frozen_calls
    assert {need.stage: need.calls for need in plan(given)}["evaluation"] == made.cost.frozen_calls
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    framed = {row["arm"]: row["rewrite"].replace(row["prompt"], "X") for row in rows}
    del framed["template_best"]
    assert list(framed.values()) == ["X", "[b]Please[/b] X", "X 🦉 <now> {x}", "Be brief.\nX"]
    tested = {row["prompt"] for row in rows}
    assert len(spy.prompts) == len(tested) + 5  # chosen on others than those it is judged on
    page = (out / "report.html").read_text()
    assert "[b]Please[/b] {prompt}" in page and "{prompt} 🦉 &lt;now&gt; {{x}}" in page and "Best template" in page
    tables.arms(Evaluation.model_validate(made.tree()))
    assert "[b]Please[/b] {prompt}" in capsys.readouterr().out

    spy.scored.clear()
    again = job.evaluate_again(out, ["evaluate.arms=[no_prompter, template_2]", f"evaluate.templates={file}"])
    assert list(again.arms) == ["no_prompter", "template_2"] and again.arms["template_2"].template == TEXTS[1]
    assert spy.prompts == tested
    assert json.loads((out / "template.json").read_text())["best"] == choice.best


def test_the_choice_is_made_once(workshop, file, spy, tmp_path):
    given, out = asked(workshop, file), tmp_path / "run"
    whole = job.run(given, out)
    (out / "evaluation.json").unlink()
    (out / "arms" / "template_best.json").unlink()
    before = (out / "template.json").stat().st_mtime_ns
    scored = len(spy.prompts)
    spy.scored.clear()
    assert job.run(None, out, resume=True) == whole
    assert len(spy.prompts) == scored - 5  # the arm that was lost and the judge ask of test prompts alone
    assert (out / "template.json").stat().st_mtime_ns == before


class Echo:
    """Answers with what it was asked, and fails where that holds FAIL."""

    name = "echo"

    @in_texts
    def respond(self, prompts, counts, seed):
        return [
            [Generation(x, failure="no" if "FAIL" in x else None)] * n for x, n in zip(prompts, counts, strict=True)
        ]


class Marks:
    """The number of exclamation marks, and a noise of deviation 1."""

    name = "marks"

    def __init__(self):
        self.rng = np.random.default_rng(0)

    @in_texts
    def score(self, prompts, responses):
        return RewardResult(
            np.array([y.count("!") for y in responses]) + self.rng.normal(size=len(responses)), (None,) * len(responses)
        )


def chosen(*texts, prompts=80, max_failed=0.6):
    templates = [Template(i, text) for i, text in enumerate(("{prompt}", *texts))]
    asked = as_prompts([f"p{i} FAIL" for i in range(5)] + [f"p{i}" for i in range(5, prompts)])
    return choose(templates, asked, Echo(), Marks(), file="f", responses=2, seed=0, max_failed=max_failed)


def test_the_best_is_chosen_by_gains_paired_with_the_bare_prompt():
    choice = chosen("{prompt}!", "{prompt}!!", "FAIL {prompt}!!!", "{prompt} ")
    assert choice.best == "template_2"  # not that which always fails
    gains = [row.gain for row in choice.templates]
    assert [gain.value for gain in gains] == pytest.approx([0, 1, 2, np.nan, 0], abs=0.3, nan_ok=True)
    assert gains[2].lo < 2 < gains[2].hi and gains[2].hi - gains[2].lo == pytest.approx(4 / np.sqrt(75), rel=0.3)
    assert choice.frozen_calls == 80 * 5 * 2
    assert Counter(choice.failures) == {"no": (80 + 4 * 5) * 2}


def test_where_nothing_gains_the_bare_prompt_is_best():
    assert chosen("FAIL {prompt}").best == "template_0"
    with pytest.raises(RewardFailure, match="choosing a template: 170 of 320 samples have no reward"):
        chosen("FAIL {prompt}", prompts=80, max_failed=0.4)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (
            "[no_prompter, template_4]",
            SettingsError,
            r"names template_4, but evaluate.templates .*own.txt holds 3 beside",
        ),
        ("[no_prompter, template_0]", SettingsError, "unknown arm 'template_0'"),
        ("[no_prompter, 'template:none.txt']", DataError, r"evaluate.templates .*none.txt: the file does not exist"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_loaded(workshop, file, given, error, said):
    with pytest.raises(error, match=said):
        arms.check(settings(workshop, f"evaluate.arms={given}", f"evaluate.templates={file}"))


def test_one_file_serves_all(workshop, file, tmp_path):
    with pytest.raises(SettingsError, match="names 2 files of templates, "):
        settings(workshop, f"evaluate.arms=['template:{file}', 'template:lab', 'template:best']")
    named = f"evaluate.arms=['template:{file}', 'template:best', template_1]"
    own = settings(workshop, named, "evaluate.templates=lab")
    assert own.evaluate.templates_file == str(file)
    assert [arm.name for arm in arms.compared(own)] == ["template_1", "template_2", "template_3", "template_best"]


def test_a_template_without_room_for_a_prompt_is_told_with_its_line(workshop, file, spy, tmp_path):
    file.write_text("short {prompt}\n" + "long " * 3000 + "{prompt}\n")
    with pytest.raises(PromptTooLong, match=r"own.txt, line 2: this template alone leaves no room"):
        job.run(asked(workshop, file), tmp_path / "run")
    assert not (tmp_path / "run").exists()
