"""Two cells by the command line on tiny models: broken off, gone on with, one oracle between them."""

import json

import pytest

from alignpro.errors import RunFailure
from alignpro.running import job
from alignpro.studies.paper import experiments, running

CELLS = "p?-f1-orca"


def overrides(workshop):
    return [
        f"prompter.model={workshop / 'prompter'}",
        "prompter.sampling.max_new_tokens=6",
        f"frozen.model={workshop / 'frozen'}",
        "frozen.sampling.max_new_tokens=8",
        "reward.model=python:rewards:length",
        f"data.prompts={workshop / 'prompts.txt'}",
        "train.steps=2",
        "train.prompts_per_step=4",
        "rlhf.steps=1",
        "rlhf.prompts_per_step=4",
        "evaluate.second_reward=python:rewards:none",
        "evaluate.prompts=3",
        "evaluate.responses=2",
        "evaluate.bootstrap=100",
        "evaluate.sampling={max_new_tokens: 5, temperature: 1.5, top_p: 0.6}",
        "prompter.template=Better: {prompt}",
    ]


def test_a_grid_that_broke_goes_on_and_its_cells_share_an_oracle(workshop, tmp_path, monkeypatch, inside):
    monkeypatch.chdir(workshop)
    out, asked = tmp_path / "grid", overrides(workshop)
    ran, a_process_of_its_own = [], running.run_apart

    def until_told(path, settings, stop):
        ran.append(path.name)
        if path.name == "p2-f1-orca":
            raise RunFailure("p2-f1-orca failed: the lights went out")
        job.run(settings, path)  # in this process, for speed

    monkeypatch.setattr(running, "run_apart", until_told)
    with pytest.raises(RunFailure, match="p2-f1-orca failed"):
        experiments.run("tiny", out, CELLS, asked)
    assert ran == ["p1-f1-orca", "p2-f1-orca"]
    halfway = json.loads((out / "paper.json").read_text())
    states = {row["cell"]: row["state"] for row in halfway["cells"]}
    assert (states["p1-f1-orca"], states["p2-f1-orca"], states["p2-f2-orca"]) == ("finished", "under way", "missing")
    before = (out / "p1-f1-orca" / "evaluation.json").stat().st_mtime_ns

    monkeypatch.setattr(running, "run_apart", a_process_of_its_own)
    words = [f"--{item}" for item in asked]
    code, said = inside("paper", "--cells", CELLS, "--out", str(out), "--jobs", "2", *words)
    assert code == 0, said
    assert "2 of 2 cells finished" in said and "Table 1, stand-ins" in said
    assert (out / "p1-f1-orca" / "evaluation.json").stat().st_mtime_ns == before
    assert [path.name for path in out.glob("*.log")] == ["p2-f1-orca.log"]

    found = json.loads((out / "paper.json").read_text())
    rows = {row["cell"]: row for row in found["cells"] if row["state"] == "finished"}
    assert set(rows) == {"p1-f1-orca", "p2-f1-orca"}
    assert rows["p2-f1-orca"]["arms"]["rlhf"] == rows["p1-f1-orca"]["arms"]["rlhf"]
    assert [rows[name]["cost"]["oracle_taken"] for name in sorted(rows)] == [False, True]
    assert rows["p2-f1-orca"]["cost"]["oracle_calls"] == 0 < rows["p1-f1-orca"]["cost"]["oracle_calls"]
    assert found["cost"]["sessions"] == 2 and found["cost"]["cpu_seconds"] > 0
    for name in rows:  # every cell is an ordinary run, with an oracle where it always is
        held = {path.name for path in (out / name).iterdir()}
        assert {"config.yaml", "environment.json", "evaluation.json", "prompter", "rlhf", "report.html"} <= held
        evaluation = json.loads((out / name / "evaluation.json").read_text())
        assert evaluation["arms"]["rlhf"]["kl_to_reference"] is None  # of truncated answers there is none
        assert evaluation["settings"]["sampling"]["top_p"] == 0.6

    code, said = inside("paper", "--cells", CELLS, "--out", str(out), "--train.steps=3", *words[:6], *words[7:])
    assert code == 2 and "train.steps was 2, now 3" in said
