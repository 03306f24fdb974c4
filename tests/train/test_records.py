"""A training's rows: wound back to the checkpoint, and made anew from it where they were damaged."""

import json

import pytest

from alignpro.errors import DamagedResult
from alignpro.runtime import files
from alignpro.train import checkpoint, records

NAMES = ("metrics.jsonl", "validation.jsonl", "samples.jsonl")


def write(folder, step):
    """The rows of a step, as a training writes them."""
    for name in NAMES:
        more = {"stage": "monitor"} if name == "samples.jsonl" else {}
        files.append_jsonl(folder / name, [{"step": step, "reward": step / 3, **more}], checked=True)


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 2 and 4, rows of 0 to 5, and of an evaluation."""
    for step in range(6):
        write(tmp_path, step)
        if step in (2, 4):
            checkpoint.save(tmp_path / "checkpoints", step, {"x": step}, 2, records.taken(tmp_path))
    return tmp_path


def texts(folder):
    return {name: (folder / name).read_text() for name in NAMES}


def lines_of(folder, name):
    return (folder / name).read_bytes().split(b"\n")[:-1]


DAMAGES = {
    "cut": lambda lines: lines[:2],
    "empty": lambda lines: [],
    "a line less": lambda lines: [*lines[:1], *lines[2:]],
    "another figure": lambda lines: [lines[0], lines[1].replace(b"0.33", b"0.99"), *lines[2:]],
    "no UTF-8": lambda lines: [lines[0], b'{"a": "\xff"}', *lines[2:]],
    "a number": lambda lines: [b"5", *lines],
    "other keys": lambda lines: [b'{"a": 1}', *lines[1:]],
    "doubled": lambda lines: [*lines[:2], *lines],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_what_was_damaged_is_made_anew_from_the_checkpoint(folder, name, damage):
    files.append_jsonl(folder / "samples.jsonl", [{"step": 5, "stage": "evaluation"}], checked=True)
    before, said = texts(folder), []
    records.restore(folder, said.append)
    assert said == []
    assert texts(folder) == before
    (folder / name).write_bytes(b"".join(line + b"\n" for line in DAMAGES[damage](lines_of(folder, name))))
    records.restore(folder, said.append)
    (line,) = said
    assert f"{name} was damaged or cut; its rows up to step 4 are made anew from the checkpoint" in line
    later = damage not in ("cut", "empty")  # rows after the checkpoint's stay
    assert texts(folder)[name] == before[name] if later else before[name].startswith(texts(folder)[name])
    assert [row["step"] for row in files.read_jsonl(folder / name)][:5] == [0, 1, 2, 3, 4]


def test_a_file_that_is_gone_comes_back(folder):
    before, said = texts(folder), []
    (folder / "metrics.jsonl").unlink()
    records.restore(folder, said.append)
    assert before["metrics.jsonl"].startswith(texts(folder)["metrics.jsonl"])
    assert len(files.read_jsonl(folder / "metrics.jsonl")) == 5
    assert len(said) == 1


def test_rows_are_wound_back_to_the_checkpoint(folder):
    latest, said = checkpoint.load_latest(folder / "checkpoints"), []
    files.append_jsonl(folder / "curve.jsonl", [{"step": 5}])  # begun after the checkpoint
    records.rewind(folder, latest, said.append)
    assert texts(folder) == dict(latest.records)
    assert not (folder / "curve.jsonl").exists()
    assert said == []


def test_a_training_that_begins_anew_finds_no_rows_of_the_one_before(tmp_path):
    """Killed before its first checkpoint, it looked at step 0 already."""
    write(tmp_path, 0)
    records.rewind(tmp_path, None, pytest.fail)
    assert list(tmp_path.iterdir()) == []


def test_an_older_checkpoint_without_records_keeps_the_rows_up_to_its_step(folder):
    for path in (folder / "checkpoints").iterdir():
        manifest = json.loads((path / "manifest.json").read_text())
        del manifest["records"]
        (path / "manifest.json").write_text(json.dumps(manifest))
    latest = checkpoint.load_latest(folder / "checkpoints")
    assert latest.records is None
    records.restore(folder, pytest.fail)
    records.rewind(folder, latest, pytest.fail)
    assert [row["step"] for row in files.read_jsonl(folder / "metrics.jsonl")] == [0, 1, 2, 3, 4]
    (folder / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(DamagedResult, match=r"metrics\.jsonl, line 1: it has no 'step'"):
        records.rewind(folder, latest, pytest.fail)


@pytest.mark.parametrize("damage", ["records", "step"])
def test_a_checkpoint_whose_records_or_step_are_damaged_is_passed_over(folder, damage):
    newest = folder / "checkpoints" / "step-000004"
    if damage == "records":
        path = newest / "records.json"
        path.write_bytes(path.read_bytes().replace(b"0.33", b"0.99"))
    else:
        path = newest / "manifest.json"
        path.write_text(path.read_text().replace('"step": 4', '"step": 6'))
    latest = checkpoint.load_latest(folder / "checkpoints")
    assert latest.step == 2
    assert "step-000004 is corrupt" in latest.passed_over[0]
