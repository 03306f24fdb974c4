"""The other commands, as a user calls them."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from cli import call, call_anew, copied

import alignpro
from alignpro.runtime.files import read_jsonl


def test_help_names_every_command_and_comes_without_what_takes_long(tmp_path):
    code, output = call_anew(tmp_path, "--help")
    assert code == 0
    for command in ("run", "train", "evaluate", "report", "rewrite", "recipes", "settings", "doctor", "lab"):
        assert re.search(rf"\b{command}\b", output)
    assert call_anew(tmp_path, "-h") == (code, output)
    look = (
        "import sys; from alignpro.cli import about, app; assert not {'pydantic', 'yaml'} & {*sys.modules};"
        " about.settings(); assert not {'torch', 'numpy'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [("run",), ("rewrite",), ("compare",), ("settings",), ("lab",), ("lab", "build")])
def test_every_command_explains_itself_by_h_too(inside, command):
    code, output = inside(*command, "-h")
    assert code == 0
    assert "Usage:" in output and "-h, --help" in output
    assert inside(*command, "--help") == (code, output)


def test_the_version_is_told(tmp_path):
    assert call_anew(tmp_path, "--version") == (0, f"alignpro {alignpro.__version__}\n")


def test_shells_are_taught_to_complete(tmp_path):
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code, script = call_anew(tmp_path, "--show-completion", "bash", **home)
    assert code == 0, script
    assert "_ALIGNPRO_COMPLETE=complete_bash" in script
    assert (
        call_anew(tmp_path, _ALIGNPRO_COMPLETE="complete_bash", COMP_WORDS="alignpro sett", COMP_CWORD="1")[1]
        == "settings\n"
    )
    code, output = call_anew(tmp_path, "--install-completion", "bash", **home)
    assert code == 0, output
    assert list(tmp_path.rglob("*.sh")), output


def test_recipes_are_listed_and_can_be_printed_resolved(inside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = inside("recipes")
    assert code == 0
    assert "lab" in output and "local" in output
    code, output = inside("run", "lab", "--train.steps", "3", "--dry-run")
    assert code == 0
    assert "steps: 3" in output
    (tmp_path / "mine.yaml").write_text(output)
    assert inside("run", "mine.yaml", "--dry-run") == (0, output)
    assert not (tmp_path / "runs").exists()


def test_doctor_passes_the_lab_through_the_flow(tmp_path):
    code, output = call(tmp_path, "doctor")
    assert code == 0, output
    assert "0 failed" in output
    assert "BAD" not in output


def test_a_finished_run_can_be_evaluated_again_with_other_settings(inside, trained, tmp_path):
    out = copied(trained, tmp_path / "run")
    code, output = inside("evaluate", str(out), "--evaluate.responses=3", "--evaluate.arms=[no_prompter,align_pro]")
    assert code == 0, output
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert evaluation["responses_per_prompt"] == 3
    assert list(evaluation["arms"]) == ["no_prompter", "align_pro"]
    rows = [r for r in read_jsonl(out / "samples.jsonl") if r["stage"] == "evaluation"]
    assert len(rows) == 2 * evaluation["prompts"] * 3
    code, output = inside("evaluate", str(out), "--train.steps=3")
    assert code == 2
    assert "evaluate.*, judge.* settings alone" in output


def test_a_prompter_is_compared_before_another_frozen_model_in_a_folder_of_its_own(inside, trained, tmp_path):
    out, there = copied(trained, tmp_path / "run"), tmp_path / "there"
    before = (out / "evaluation.json").read_bytes()
    code, output = inside("evaluate", str(out), "--frozen.sampling.temperature=0.5")
    assert code == 2 and "in a folder of its own; give --out" in output
    code, output = inside("evaluate", str(out), f"--out={there}", "--frozen.sampling.temperature=0.5")
    assert code == 0, output
    assert "does it travel?" in output and (there / "report.html").is_file()
    assert (out / "evaluation.json").read_bytes() == before
    found, old = (json.loads(text) for text in ((there / "evaluation.json").read_text(), before))
    assert list(found["arms"]) == [arm for arm in old["arms"] if arm != "rlhf"]
    assert found["arms"]["no_prompter"]["mean_reward"] != old["arms"]["no_prompter"]["mean_reward"]
    code, output = inside("evaluate", str(there), "--evaluate.responses=2")
    assert code == 0, output
    code, output = inside("evaluate", str(out), f"--out={tmp_path / 'x'}", "--train.steps=3")
    assert code == 2 and "`evaluate --out` can change frozen.*, evaluate.*, judge.*, budget.*, dtype settings" in output


def test_the_report_is_written_again_from_the_folder_alone(workshop, trained, tmp_path):
    out = copied(trained, tmp_path / "run")
    before = (out / "report.html").read_text()
    (out / "report.html").unlink()
    shutil.rmtree(out / "prompter")
    code, output = call(workshop, "report", str(out))
    assert code == 0, output
    assert (out / "report.html").read_text() == before


def test_the_seed_decides_everything(workshop, trained, tmp_path, inside):
    from cli import SMALL, models

    words = [*models(workshop), *SMALL]
    code, output = inside("run", *words, f"--out={tmp_path / 'again'}")
    assert code == 0, output
    assert (tmp_path / "again" / "evaluation.json").read_text() == (trained / "evaluation.json").read_text()
    code, output = inside("run", *words, "--seed=1", f"--out={tmp_path / 'other'}")
    assert code == 0, output
    assert (tmp_path / "other" / "evaluation.json").read_text() != (trained / "evaluation.json").read_text()


def test_a_run_without_out_takes_the_next_free_folder(workshop, trained, tmp_path):
    from cli import SMALL, models

    (tmp_path / "runs" / "local-007").mkdir(parents=True)
    shutil.copy(workshop / "rewards.py", tmp_path)
    code, output = call(tmp_path, "train", *models(workshop), *SMALL, "--train.steps=1")
    assert code == 0, output
    assert (tmp_path / "runs" / "local-008" / "prompter" / "config.json").is_file()
