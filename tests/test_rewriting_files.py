"""`alignpro rewrite --file`: a line for each row with its columns, progress, stops and resumes, everything refused."""

import csv
import json
import signal
import time

import pytest
from cli import models, start

from alignpro import config
from alignpro.errors import Interrupted, RunFailure
from alignpro.running.prompt_file import PromptFile
from alignpro.running.rewriter import TrainedPrompter
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "good day"},
    {"role": "user", "content": "tell me about owls"},
]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def asked(tmp_path):
    """Thirty rows with columns of their own; one is too long, one repeats another, one is empty."""
    rows = [{"id": i, "prompt": f"tell me about thing {i}", "tags": ["a", {"b": i / 2}]} for i in range(30)]
    rows[7]["prompt"], rows[9]["prompt"], rows[11]["prompt"] = "word " * 3000, rows[8]["prompt"], " "
    return write(tmp_path / "asked.jsonl", rows)


@pytest.fixture(scope="module")
def prompter(trained):
    return TrainedPrompter.load(trained, ["prompter.batch_size=4"])


def rewritten(asked, out, prompter, resume=False, stop=None, seed=0):
    file = PromptFile.open(config.load("local", [f"data.prompts={asked}"]).data, out, resume)
    return file.rewrite(prompter, seed, Progress(), stop or StopRequest("stopping"))


class StopAfter(StopRequest):
    """Asked to stop when it is looked at once more than `times`."""

    def __init__(self, times):
        super().__init__("stopping")
        self.times = times

    def check(self):
        self.times -= 1
        self.asked = self.times < 0
        super().check()


def test_every_row_gets_a_line_with_its_columns(trained, asked, inside, tmp_path):
    out = tmp_path / "new" / "out.jsonl"
    code, output = inside("rewrite", f"--run={trained}", f"--file={asked}", f"--out={out}")
    assert code == 0, output
    assert "rewriting 30/30" in output
    assert f"{out}, 30 rows, of which 2 were not: " in output
    assert "1 prompt exceeds the prompter's context" in output and "1 empty prompt" in output
    lines, given = rows_of(out), rows_of(asked)
    assert [{key: line[key] for key in row} for line, row in zip(lines, given, strict=True)] == given
    assert list(lines[0]) == ["id", "prompt", "tags", "rewrite"]
    assert [i for i, line in enumerate(lines) if "failure" in line] == [7, 11]
    assert lines[7]["rewrite"] == given[7]["prompt"].strip() and "overflow=cut" in lines[7]["failure"]
    assert lines[11]["rewrite"] is None and lines[11]["failure"] == "empty prompt"
    assert sum(line["rewrite"] != line["prompt"] for line in lines) > 20
    again = inside("rewrite", f"--run={trained}", f"--file={asked}", f"--out={tmp_path / 'b.jsonl'}")
    assert again[0] == 0 and (tmp_path / "b.jsonl").read_bytes() == out.read_bytes()
    other = inside("rewrite", f"--run={trained}", f"--file={asked}", f"--out={tmp_path / 'c.jsonl'}", "--seed=1")
    assert other[0] == 0 and (tmp_path / "c.jsonl").read_bytes() != out.read_bytes()


def test_conversations_csv_and_text_are_read_as_data_is(trained, inside, tmp_path):
    talks = write(tmp_path / "talks.jsonl", [{"messages": TALK, "k": 1}, {"messages": TALK[:1], "k": 2}])
    code, output = inside("rewrite", f"--run={trained}", f"--file={talks}", f"--out={tmp_path / 'a.jsonl'}")
    assert code == 0, output
    first, second = rows_of(tmp_path / "a.jsonl")
    assert first["messages"] == TALK and first["prompt"] == "tell me about owls" and first["rewrite"]
    assert second == {"messages": TALK[:1], "k": 2, "rewrite": None, "failure": "no turn of the user"}

    with (tmp_path / "q.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["question", "n"], ["owls, say", "1"], ["rain", "2"]])
    words = ["rewrite", f"--run={trained}", f"--file={tmp_path / 'q.csv'}", f"--out={tmp_path / 'b.jsonl'}"]
    code, output = inside(*words)
    assert code == 2 and "found question, n" in output
    assert inside(*words, "--column=question")[0] == 0
    assert [(row["question"], row["n"], row["prompt"]) for row in rows_of(tmp_path / "b.jsonl")] == [
        ("owls, say", "1", "owls, say"),
        ("rain", "2", "rain"),
    ]
    (tmp_path / "t.txt").write_text("owls\n\nrain\n")
    words = ["rewrite", f"--run={trained}", f"--file={tmp_path / 't.txt'}", f"--out={tmp_path / 'c.jsonl'}"]
    assert inside(*words)[0] == 0
    assert [row["prompt"] for row in rows_of(tmp_path / "c.jsonl")] == ["owls", "rain"]


@pytest.mark.parametrize("torn", [b"", b'{"id": 12, "pro'])
@pytest.mark.parametrize("stood", [0, 1, 4, 11, 28, 29, 30])
def test_wherever_it_was_stopped_the_lines_are_those_of_an_uninterrupted_run(asked, prompter, tmp_path, stood, torn):
    whole = tmp_path / "whole.jsonl"
    failures = rewritten(asked, whole, prompter)
    out = tmp_path / "out.jsonl"
    with pytest.raises(Interrupted):
        rewritten(asked, out, prompter, stop=StopAfter(3))
    assert out.read_bytes() == b"".join(whole.read_bytes().splitlines(keepends=True)[:12])
    out.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:stood]) + torn)
    assert rewritten(asked, out, prompter, resume=True) == failures
    assert out.read_bytes() == whole.read_bytes()
    assert rewritten(asked, out, prompter, resume=True) == failures
    assert out.read_bytes() == whole.read_bytes()


def test_killed_and_resumed_on_the_command_line(workshop, trained, tmp_path, inside):
    rows = [{"id": i, "prompt": f"tell me about thing {i}"} for i in range(600)]
    asked = write(tmp_path / "asked.jsonl", rows)
    words = ["rewrite", f"--run={trained}", f"--file={asked}"]
    assert inside(*words, f"--out={tmp_path / 'whole.jsonl'}")[0] == 0
    out = tmp_path / "out.jsonl"
    for number in (signal.SIGKILL, signal.SIGINT):
        before = out.stat().st_size if out.exists() else 0
        process = start(workshop, *words, f"--out={out}", "--resume")
        deadline = time.monotonic() + 60
        while process.poll() is None and (out.stat().st_size if out.exists() else 0) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        told = process.communicate(timeout=60)[0]
        assert process.returncode != 0, told
        assert 0 < len(rows_of(out)) < len(rows)
    assert "everything so far is saved. Go on with: alignpro rewrite" in told and "--resume" in told
    code, output = inside(*words, f"--out={out}", "--resume")
    assert code == 0, output
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_by_sampling_the_reward_sees_the_columns_and_it_resumes(workshop, inside, spy, monkeypatch, tmp_path):
    import rewards

    def near(prompts, responses, n):
        seen.update(zip(prompts, n, strict=True))
        return [len(response) / 10 for response in responses]

    seen = {}
    monkeypatch.setattr(rewards, "near", near, raising=False)
    asked = write(tmp_path / "q.jsonl", [{"prompt": f"owls {i}", "n": i} for i in range(7)])
    words = ["rewrite", f"--file={asked}", "--method=gibbs", "--n=2", "--prompter.batch_size=4", *models(workshop)[:2]]
    words += [
        "--reward=python:rewards:near",
        "--frozen.sampling.max_new_tokens=4",
        "--prompter.sampling.max_new_tokens=4",
    ]
    code, output = inside(*words, f"--out={tmp_path / 'whole.jsonl'}")
    assert code == 0, output
    assert seen == {f"owls {i}": i for i in range(7)}
    out = tmp_path / "out.jsonl"
    assert inside(*words, f"--out={out}")[0] == 0
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:5]))
    assert inside(*words, f"--out={out}", "--resume")[0] == 0
    assert out.read_bytes() == b"".join(lines)
    out.write_bytes(b"".join(lines[:5]))
    code, output = inside(*words, f"--out={out}", "--resume", "--frozen.sampling.temperature=0.5")
    assert code == 2 and "was begun otherwise: frozen.sampling.temperature was 1.0, now 0.5" in output
    assert out.read_bytes() == b"".join(lines[:5])


def test_what_cannot_be_gone_on_with_is_left_as_it_is(trained, asked, prompter, tmp_path):
    out = tmp_path / "out.jsonl"
    with pytest.raises(Interrupted):
        rewritten(asked, out, prompter, stop=StopAfter(2))
    begun = out.read_bytes()

    def refused(told, **changed):
        given = {"asked": asked, "out": out, "prompter": prompter, "resume": True} | changed
        with pytest.raises((RunFailure, ValueError), match=told):
            rewritten(**given)
        assert out.read_bytes() == begun

    refused("holds 8 lines; go on with it by --resume, or give another file", resume=False)
    refused("was begun otherwise: seed was 0, now 3", seed=3)
    refused("prompts at a time was 4, now 128", prompter=TrainedPrompter.load(trained))
    refused(
        "sampling was",
        prompter=TrainedPrompter.load(trained, ["prompter.batch_size=4", "prompter.sampling.temperature=0.5"]),
    )
    refused("digest of the rows was", asked=write(tmp_path / "more.jsonl", [{"prompt": "other"}] * 30))
    (tmp_path / "out.jsonl.made.json").unlink()
    refused("which says what made it, is missing")
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        rewritten(asked, tmp_path, prompter)
    with pytest.raises(ValueError, match="cannot be written"):
        rewritten(asked, asked / "out.jsonl", prompter)


def test_two_at_once_write_no_line_twice(asked, prompter, tmp_path):
    out = tmp_path / "out.jsonl"

    class Beside(StopAfter):
        def check(self):
            super().check()
            if self.times == 1:
                with out.open("a") as file:
                    file.write("{}\n")

    with pytest.raises(RunFailure, match="is written by another process too"):
        rewritten(asked, out, prompter, stop=Beside(3))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["owls", "--run=RUN", "--out=x"], "are of --file, which is not given"),
        (["owls", "--run=RUN", "--resume"], "are of --file, which is not given"),
        (["--run=RUN"], "give a prompt to rewrite, - to read one from standard input, or --file"),
        (["--run=RUN", "--file=F", "--answer"], "--answer and --n are for one prompt"),
        (["--run=RUN", "--file=F", "--n=2"], "--answer and --n are for one prompt"),
        (["--file=F"], "--method gibbs, which needs no training"),
        (["owls", "--run=RUN", "--file=F"], "'owls' is for --method gibbs"),
        (["--run=RUN", "--file=nowhere.jsonl"], "--file nowhere.jsonl"),
        (["--run=RUN", "--file=F", "--data.colum=x"], "did you mean data.column"),
        (["--run=RUN", "--file=OURS"], "has a column rewrite of its own; rename it"),
    ],
)
def test_what_does_not_go_together_is_told(trained, inside, tmp_path, words, told):
    write(tmp_path / "f.jsonl", [{"prompt": "owls"}])
    write(tmp_path / "ours.jsonl", [{"prompt": "owls", "rewrite": "owls"}])
    names = {"RUN": trained, "=F": f"={tmp_path / 'f.jsonl'}", "OURS": tmp_path / "ours.jsonl"}
    for name, value in names.items():
        words = [word.replace(name, str(value)) for word in words]
    code, output = inside(
        "rewrite", *words, *([] if "--file" not in " ".join(words) else [f"--out={tmp_path / 'o.jsonl'}"])
    )
    assert code == 2, output
    assert told in output
    assert not (tmp_path / "o.jsonl").exists()


def test_where_no_row_was_rewritten_the_command_fails(trained, inside, tmp_path):
    asked = write(tmp_path / "f.jsonl", [{"prompt": "word " * 3000}] * 2)
    code, output = inside("rewrite", f"--run={trained}", f"--file={asked}", f"--out={tmp_path / 'o.jsonl'}")
    assert code == 1 and "no row was rewritten (2 prompt exceeds the prompter's context)" in output
    assert len(rows_of(tmp_path / "o.jsonl")) == 2
