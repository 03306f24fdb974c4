"""Where data comes from: every kind of file, compressed or not, saved folders, hubs."""

import csv
import gzip
import io
import json
import sys
from types import SimpleNamespace

import pytest

from alignpro.config import DataSettings
from alignpro.data.sources import load_preferences, load_prompts
from alignpro.errors import DataError, HubUnreachable
from alignpro.types import Prompt

ROWS = [{"prompt": f"grüße {i}", "answer": str(i)} for i in range(12)]
HELD = {Prompt(row["prompt"], row={"answer": row["answer"]}) for row in ROWS}


def load(origin, **settings):
    return load_prompts(DataSettings(prompts=str(origin), **settings), 0)


def everything(loaded):
    return {*loaded.train, *loaded.test}


def as_csv(rows):
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_parquet(rows):
    pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


FORMS = {
    "a.jsonl": lambda rows: "\n".join(map(json.dumps, rows)).encode(),
    "a.json": lambda rows: json.dumps(rows).encode(),
    "b.json": lambda rows: json.dumps({"version": 1, "data": rows}).encode(),
    "a.csv": as_csv,
    "a.parquet": as_parquet,
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_kind_of_file_holds_the_same(tmp_path, name, compressed):
    path = tmp_path / (f"{name}.gz" if compressed else name)
    held = FORMS[name](ROWS)
    path.write_bytes(gzip.compress(held) if compressed else held)
    assert everything(load(path)) == HELD


def test_lines_of_a_compressed_text_file(tmp_path):
    (tmp_path / "a.TXT.gz").write_bytes(gzip.compress("one\r\ntwo\n\nthree\n".encode("utf-8-sig")))
    assert everything(load(tmp_path / "a.TXT.gz")) == {Prompt("one"), Prompt("two"), Prompt("three")}


@pytest.mark.parametrize("cut", [5, 30])
def test_a_torn_gzip_file_is_refused(tmp_path, cut):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(FORMS["a.jsonl"](ROWS))[:cut])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: not a gzip file that can be read"):
        load(tmp_path / "a.jsonl.gz")


def test_columns_of_bytes_are_left_out_and_said(tmp_path):
    (tmp_path / "a.parquet").write_bytes(as_parquet([row | {"image": {"bytes": b"png", "path": "x"}} for row in ROWS]))
    loaded = load(tmp_path / "a.parquet")
    assert everything(loaded) == HELD
    assert loaded.notes[1:] == ("columns left out, since they hold bytes or the like: image",)


@pytest.fixture
def library(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="saved folders need the datasets library")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def test_a_folder_that_datasets_saved(library, tmp_path):
    library.Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    assert everything(load(tmp_path / "one")) == HELD
    with pytest.raises(DataError, match="the folder holds one split, None, and not dev"):
        load(tmp_path / "one", split="dev")
    splits = {"train": library.Dataset.from_list(ROWS[:6]), "test": library.Dataset.from_list(ROWS[6:])}
    library.DatasetDict(splits).save_to_disk(tmp_path / "two")
    assert len(everything(load(tmp_path / "two"))) == 6
    loaded = load(tmp_path / "two", test=str(tmp_path / "two"))
    assert (len(loaded.train), len(loaded.test)) == (6, 6)
    assert everything(loaded) == HELD
    with pytest.raises(DataError, match=r"holds no split dev; found train, test; name one by data\.split"):
        load(tmp_path / "two", split="dev")
    library.DatasetDict({"dev": splits["train"]}).save_to_disk(tmp_path / "three")
    assert len(everything(load(tmp_path / "three"))) == 6


def test_images_of_a_saved_folder_are_not_decoded(library, tmp_path):
    rows = [row | {"image": {"bytes": b"no image", "path": None}} for row in ROWS]
    text = library.Value("string")
    kinds = library.Features({"prompt": text, "answer": text, "image": library.Image()})
    library.Dataset.from_list(rows, features=kinds).save_to_disk(tmp_path / "one")
    assert everything(load(tmp_path / "one")) == HELD


def test_conversations_of_a_saved_folder(library, tmp_path):
    rows = [
        {"conversations": [{"from": "human", "value": f"{i}"}, {"from": "gpt", "value": "x", "weight": 1.0}], "n": i}
        for i in range(4)
    ]
    library.Dataset.from_list(rows).save_to_disk(tmp_path / "one")
    assert everything(load(tmp_path / "one")) == {Prompt(f"{i}", row={"n": i}) for i in range(4)}


def test_a_folder_of_data_files_and_one_without(library, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.jsonl").write_bytes(FORMS["a.jsonl"](ROWS))
    assert everything(load(tmp_path / "files")) == HELD
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "state.json").write_text("{")
    for name in ("empty", "torn"):
        with pytest.raises(DataError, match=f"{name}: is a folder from which the datasets library reads nothing"):
            load(tmp_path / name)


def hub(monkeypatch, answer):
    asked = []

    def load_dataset(*names, split):
        asked.append((*names, split))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_any_data_set_of_the_hub_by_its_id(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": row["prompt"], "answer": row["answer"]} for row in ROWS]
    asked = hub(monkeypatch, rows)
    assert everything(load("openai/gsm8k", config="main", column="question")) == HELD
    assert everything(load("hub:gsm8k", split="test", column="question")) == HELD
    load("bigcode/some-v1.0", column="question")
    assert asked == [("openai/gsm8k", "main", "train"), ("gsm8k", "test"), ("bigcode/some-v1.0", "train")]
    asked.clear()
    with pytest.raises(DataError, match="every prompt of it stands in data"):
        load("openai/gsm8k", config="main", test="openai/gsm8k", test_split="dev", column="question")
    with pytest.raises(DataError, match="every prompt"):
        load("openai/gsm8k", test="openai/gsm8k", column="question")
    assert [names[-1] for names in asked] == ["train", "dev", "train", "test"]


def test_a_file_here_goes_before_an_id(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "mine.jsonl").write_bytes(FORMS["a.jsonl"](ROWS))
    asked = hub(monkeypatch, OSError("no network"))
    assert everything(load("me/mine.jsonl")) == HELD
    with pytest.raises(DataError, match=r"me/yours\.jsonl: the file does not exist"):
        load("me/yours.jsonl")
    assert not asked
    with pytest.raises(HubUnreachable, match=r"me/mine: there is no such file here, and me/mine could not be had"):
        load("me/mine")


def test_a_hub_that_has_no_such_split_or_config(monkeypatch):
    hub(monkeypatch, ValueError("Config name is missing.\nPlease pick one among the available configs: ['main']"))
    with pytest.raises(DataError, match=r"split train of a/b cannot be read \(Config .* \['main'\]\); .*data\.config"):
        load("a/b")
    hub(monkeypatch, RuntimeError("Dataset scripts are no longer supported"))
    with pytest.raises(DataError, match="scripts are no longer supported"):
        load("a/b")


def test_preferences_from_the_hub(monkeypatch):
    hub(monkeypatch, [{"prompt": f"{i}", "chosen": "a", "rejected": "b"} for i in range(8)])
    loaded = load_preferences(DataSettings(prompts="a/b"), 0)
    assert len(loaded.train) + len(loaded.test) == 8
