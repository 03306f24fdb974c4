"""An arm is one class and its line in ARMS; everything else follows from what it says of itself."""

import json
import re
import subprocess
import sys

import pytest
from cli import settings
from in_texts import in_texts

from alignpro import config
from alignpro.cli import tables
from alignpro.config import EvaluateSettings
from alignpro.errors import SettingsError
from alignpro.evaluate import arms
from alignpro.evaluate.arms import Arm, Gibbs
from alignpro.evaluate.arms.pairing import pairs
from alignpro.flow.prompters import IdentityPrompter
from alignpro.results import Evaluation
from alignpro.running import job
from alignpro.running.plan import plan
from alignpro.types import Generation

ALL = ["no_prompter", "reference_prompter", "align_pro", "gibbs_12", "rlhf", "pass_2", "template_best", "template_3"]
ALL += ["prompter:http://127.0.0.1:8000/v1#tiny"]


class Louder(Arm):
    """A prompter that adds N exclamation marks, and asks the frozen model once for each."""

    written = "louder_N"
    label = "Louder prompter"
    meaning = "the prompt with exclamation marks"
    kl_against = "reference prompter"

    def prompter(self, models, settings):
        return Louder.Marks(self.number)

    def kl(self, models, prompter, rewrites, responses):
        plain = models.reference.prompter.rewrite(["x"] * len(rewrites), len(rewrites[0]), 0)
        return 0.25 + 0 * models.kl_to_reference(plain)

    def extra_calls(self, settings):
        return self.number

    def unfit(self, settings):
        return "which is too loud; name louder_9 or less" if self.number > 9 else None

    class Marks(IdentityPrompter):
        def __init__(self, marks):
            super().__init__("louder")
            object.__setattr__(self, "marks", marks)
            object.__setattr__(self, "frozen_calls", 0)

        @in_texts
        def rewrite(self, prompts, n, seed):
            object.__setattr__(self, "frozen_calls", self.frozen_calls + n * len(prompts) * self.marks)
            return [[Generation(prompt + "!" * self.marks)] * n for prompt in prompts]


@pytest.fixture
def louder(monkeypatch):
    monkeypatch.setattr(arms, "ARMS", (*arms.ARMS, Louder))


def test_a_new_arm_is_compared_judged_counted_and_shown(workshop, louder, spy, tmp_path, capsys):
    own = ("reward.model=python:rewards:spy", "evaluate.arms=[no_prompter, louder_3]", "train.steps=0")
    asked = settings(workshop, *own)
    job.run(asked, tmp_path)
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(summary["arms"]) == ["no_prompter", "louder_3"]
    own = summary["arms"]["louder_3"]
    assert own["kl_to_reference"] == 0.25
    samples = summary["prompts"] * summary["responses_per_prompt"]
    assert own["frozen_calls"] == 4 * samples
    assert {need.stage: need.calls for need in plan(asked)}["evaluation"] == 5 * samples
    assert [(row["a"], row["b"]) for row in summary["win_rates"]] == [("louder_3", "no_prompter")]
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert all(row["rewrite"] == row["prompt"] + "!!!" for row in rows if row["arm"] == "louder_3")
    page = (tmp_path / "report.html").read_text()
    assert "Louder prompter" in page
    assert "the prompt with exclamation marks" in page
    tables.arms(Evaluation.model_validate(summary))
    assert "louder_3" in capsys.readouterr().out
    with pytest.raises(SettingsError, match=r"evaluate\.arms names louder_10, which is too loud"):
        arms.check(asked.model_copy(update={"evaluate": EvaluateSettings(arms=["louder_10"])}))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "evaluate.arms=[no_prompter, best]",
            "unknown arm 'best'; there are no_prompter, reference_prompter, align_pro, gibbs_N, rlhf, pass_N,"
            " template_best, template_N, prompter:NAME",
        ),
        ("evaluate.arms=[gibbs_0]", "unknown arm"),
        ("evaluate.arms=[gibbs_]", "unknown arm"),
        ("evaluate.arms=[gibbs_N]", "unknown arm"),
        ("evaluate.arms=[pass_1]", "names pass_1, but prompter.before has 0 passes"),
        ("rlhf.enabled=false", "rlhf.enabled is false"),
    ],
)
def test_wrong_arms_are_told_before_anything_is_loaded(override, message, tmp_path, inside):
    with pytest.raises(SettingsError, match=re.escape(message)):
        job.run(config.load("lab", [override]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    code, output = inside("run", "lab", f"--{override}", "--dry-run")
    assert code == 2
    assert message in " ".join(output.split())


def test_every_arm_reads_its_own_name_and_has_a_caption_that_fits():
    parsed = [arms.parse(name) for name in ALL]
    assert [type(arm) for arm in parsed] == list(arms.ARMS)
    assert [arm.name for arm in parsed] == ALL
    assert parsed[3].number == 12
    assert all(0 < len(arm.label) <= 18 and arm.meaning for arm in parsed)
    assert sorted({*ALL}, key=arms.place) == ALL
    assert arms.known("something else") is None
    assert Gibbs(3).extra_calls(EvaluateSettings(gibbs_responses=5)) == 15


def test_pairs_follow_from_what_the_arms_are():
    class Named:
        def __init__(self, name):
            self.name = name

    def told(*names):
        return [(a.name, b.name) for a, b in pairs([Named(name) for name in names])]

    assert told("align_pro", "reference_prompter", "no_prompter", "unheard_of") == [
        ("align_pro", "no_prompter"),
        ("unheard_of", "no_prompter"),
        ("align_pro", "reference_prompter"),
        ("unheard_of", "reference_prompter"),
        ("reference_prompter", "no_prompter"),
        ("align_pro", "unheard_of"),
    ]
    assert told("gibbs_2", "rlhf") == []


def test_arms_are_named_and_described_without_torch():
    code = "import sys, alignpro.evaluate.arms.pairing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
