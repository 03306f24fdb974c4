"""Everything a user can get wrong, through the command line: a clear line, the right exit code, nothing lost."""

import json
import shutil
import signal
import time

import forks
import pytest
from cli import SMALL, call, call_anew, copied, models, start

from alignpro.runtime.files import read_jsonl


def lines(output):
    return [line for line in output.split("\n") if line.strip()]


def cause(got, output, code):
    """The one line of cause, of a command that ended by this exit code."""
    assert got == code, output
    assert "Traceback" not in output
    last = lines(output)[-1]
    assert last.startswith("alignpro: ") or "Error" in output
    return last


@pytest.fixture
def turned_down(inside):
    """Run from the workshop, expect the exit code of wrong usage, and give back the one line of cause."""

    def run(*words, code=2):
        return cause(*inside(*words), code)

    return run


def test_an_unknown_setting_names_the_nearest(tmp_path, turned_down, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "did you mean train.steps?" in turned_down("run", "lab", "--train.stpes=3")
    assert "did you mean lab?" in turned_down("run", "lba")
    assert "evaluate.bootstrap" in turned_down("run", "--evaluate.bootstrap=lots")
    assert not list(tmp_path.iterdir())


def test_prompts_that_are_missing_or_empty(workshop, tmp_path, turned_down):
    words = models(workshop)[:3]
    assert "does not exist" in turned_down("run", *words, "--prompts=gone.txt", f"--out={tmp_path / 'a'}")
    (tmp_path / "empty.txt").write_text("\n\n")
    message = turned_down("run", *words, f"--prompts={tmp_path / 'empty.txt'}", f"--out={tmp_path / 'a'}")
    assert "holds no prompts" in message
    assert "--prompts" in turned_down("run", *words)
    assert not (tmp_path / "a").exists()


def test_a_prompt_longer_than_the_context_is_refused_or_cut_as_told(workshop, tmp_path, turned_down, inside):
    prompts = tmp_path / "long.txt"
    prompts.write_text("".join(f"short {i}\n" for i in range(8)) + "word " * 1500 + "\n")
    words = ["run", *models(workshop)[:3], f"--prompts={prompts}", *SMALL, f"--out={tmp_path / 'run'}"]
    message = turned_down(*words)
    assert "word word" in message
    assert "overflow=cut" in message
    assert not (tmp_path / "run").exists()
    code, output = inside(*words, "--prompter.overflow=cut", "--frozen.overflow=cut")
    assert code == 0, output
    assert "1 of 9 prompts exceed the context" in output


@pytest.mark.parametrize("role", ["prompter", "frozen"])
@pytest.mark.parametrize(
    ("lacking", "message"),
    [("*.safetensors", "no weights"), ("tokenizer*", "no tokenizer"), ("config.json", "no config.json")],
)
def test_a_model_folder_that_lacks_something(workshop, tmp_path, role, lacking, message, turned_down):
    broken = shutil.copytree(workshop / "prompter", tmp_path / "broken")
    for path in broken.glob(lacking):
        path.unlink()
    words = [w for w in models(workshop) if not w.startswith(f"--{role}=")]
    got = turned_down("run", *words, f"--{role}={broken}", f"--out={tmp_path / 'run'}")
    assert message in got
    assert f"{role}.model" in got
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("reward", ["none", "nan", "raises", "wrong_count"])
def test_a_reward_that_fails_now_and_then_is_masked_and_counted(workshop, tmp_path, reward, inside):
    words = [w for w in models(workshop) if not w.startswith("--reward")]
    words += [f"--reward=python:rewards:{reward}", "--reward.max_failed=0.8", "--evaluate.arms=[no_prompter]"]
    code, output = inside("train", *words, *SMALL, "--evaluate.arms=[no_prompter]", f"--out={tmp_path / 'run'}")
    assert code == 0, output
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert len(rows) == 6
    assert sum(row["failed"] for row in rows) > 0
    assert all(row["reward"] is not None for row in rows)


@pytest.mark.parametrize(
    ("reward", "said"), [("always_none", "reward gave None"), ("leaves", "reward raised SystemExit: 0")]
)
def test_a_reward_that_fails_too_often_stops_the_run_and_says_why(workshop, tmp_path, turned_down, reward, said):
    words = [w for w in models(workshop) if not w.startswith("--reward")]
    got = turned_down("run", *words, f"--reward=python:rewards:{reward}", *SMALL, f"--out={tmp_path / 'run'}", code=1)
    assert said in got
    assert "reward.max_failed" in got


def test_a_folder_that_holds_something_is_left_alone(workshop, tmp_path, turned_down):
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert "not empty" in turned_down("run", *models(workshop), f"--out={out}")
    (out / "config.yaml").write_text("seed: 3\n")
    assert "holds another run" in turned_down("run", *models(workshop), f"--out={out}")
    assert (out / "config.yaml").read_text() == "seed: 3\n"
    assert "holds no run" in turned_down("run", "--resume", f"--out={tmp_path / 'nowhere'}")


def unfinished(trained, tmp_path):
    """The same run, as it was after step 4."""
    out = copied(trained, tmp_path / "run")
    shutil.rmtree(out / "prompter")
    shutil.rmtree(out / "checkpoints" / "step-000006")
    (out / "evaluation.json").unlink()
    return out


def test_resuming_with_other_settings_is_refused(workshop, trained, turned_down):
    got = turned_down("run", *models(workshop), *SMALL, "--train.steps=9", "--resume", f"--out={trained}")
    assert "train.steps was 6, now 9" in got


def test_a_corrupt_checkpoint_falls_back_and_ends_the_same(inside, trained, tmp_path):
    out = copied(trained, tmp_path / "run")
    shutil.rmtree(out / "prompter")
    newest = out / "checkpoints" / "step-000006" / "state.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    code, output = inside("run", "--resume", f"--out={out}")
    assert code == 0, output
    assert "step-000006 is corrupt" in output
    assert "resumed after step 4" in output
    assert (out / "evaluation.json").read_text() == (trained / "evaluation.json").read_text()


def test_a_full_disk_keeps_the_earlier_checkpoint(workshop, trained, tmp_path, inside):
    out = unfinished(trained, tmp_path)
    size = (out / "checkpoints" / "step-000004" / "state.pt").stat().st_size
    code, output = limited(workshop, size // 2, "run", "--resume", f"--out={out}")
    assert code == 1, output
    assert "step-000004 is intact" in lines(output)[-1]
    code, output = inside("run", "--resume", f"--out={out}")
    assert code == 0, output
    assert (out / "evaluation.json").read_text() == (trained / "evaluation.json").read_text()


def limited(folder, size, *words):
    """Call with a limit on the size of files, which fails writes as a full disk does."""
    return call(folder, *words, **{forks.LIMIT: str(size)})


def interrupted(workshop, out, how):
    """Start a slow run, stop it after its second checkpoint."""
    words = [w for w in models(workshop) if not w.startswith("--reward")]
    process = start(workshop, "run", *words, "--reward=python:rewards:slow", *SMALL, f"--out={out}")
    deadline = time.monotonic() + 240
    while not (out / "checkpoints" / "step-000002").exists():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def figures(out, reward):
    """What evaluation.json holds but for the name of the reward, and the digest that holds for that name too."""
    tree = json.loads((out / "evaluation.json").read_text().replace(reward, "reward"))
    del tree["check"]
    return tree


def test_ctrl_c_and_kill_both_resume_to_the_figures_of_an_uninterrupted_run(workshop, trained, tmp_path, inside):
    code, output = interrupted(workshop, tmp_path / "stopped", signal.SIGINT)
    assert code == 1
    assert f"--resume --out {tmp_path / 'stopped'}" in lines(output)[-1]
    code, _ = interrupted(workshop, tmp_path / "killed", signal.SIGKILL)
    assert code == -signal.SIGKILL
    whole = figures(trained, "rewards:length")  # which scores alike
    for name in ("stopped", "killed"):
        assert not (tmp_path / name / "evaluation.json").exists()
        code, output = inside("run", "--resume", f"--out={tmp_path / name}")
        assert code == 0, output
        assert figures(tmp_path / name, "rewards:slow") == whole
        steps = [row["step"] for row in read_jsonl(tmp_path / name / "metrics.jsonl")]
        assert steps == [1, 2, 3, 4, 5, 6]


def test_a_hub_id_without_network_is_told_at_once(workshop, tmp_path):
    words = [w for w in models(workshop) if not w.startswith("--prompter")]
    begun = time.monotonic()
    code, output = call_anew(
        workshop,
        "run",
        *words,
        "--prompter=someone/some-model",
        f"--out={tmp_path / 'run'}",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HUB_OFFLINE="0",
        HF_HOME=str(tmp_path / "cache"),
    )
    got = cause(code, output, 1)
    assert "cannot be reached" in got
    assert "someone/some-model" in got
    assert time.monotonic() - begun < 240
    assert not (tmp_path / "run").exists()


def test_rewriting_needs_a_finished_run_and_a_prompt(inside, turned_down, trained, tmp_path):
    code, output = inside("rewrite", "tell me about owls", "--run", str(trained), "--n", "2", "--answer")
    assert code == 0, output
    assert output.count("answered:") == 2
    assert "without the prompter:" in output
    assert "the prompt is empty" in turned_down("rewrite", " ", "--run", str(trained))
    assert "holds no run" in turned_down("rewrite", "owls", "--run", str(tmp_path))


def test_debug_shows_the_trace(tmp_path):
    code, output = call(tmp_path, "run", "lba", "--debug")
    assert code == 2
    assert "Traceback" in output


def test_training_that_diverges_is_no_result(workshop, tmp_path, turned_down):
    out = tmp_path / "run"
    words = (*models(workshop), *SMALL, "--train.ppo.learning_rate=1e10", "--train.save_every=1", f"--out={out}")
    got = turned_down("run", *words, code=1)
    assert "train.ppo.learning_rate (it is 1e+10)" in got
    assert " is whole" in got or "no checkpoint was saved before it" in got
    assert not (out / "prompter").exists()
    assert not (out / "evaluation.json").exists()


@pytest.mark.parametrize("words", [("pairs", "lab"), ("rewrite", "--file=asked.txt"), ("lab", "preferences")])
def test_rows_of_json_go_into_a_file_that_is_told_for_one(turned_down, words):
    for name in ("pairs", "rows.csv"):
        assert f"--out {name}: rows of JSON are written" in turned_down(*words, f"--out={name}")
