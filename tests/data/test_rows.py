"""The other columns of a row: kept, alike in every prompt, and what they change and do not."""

import json
import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from alignpro.config import DataSettings, build
from alignpro.data.columns import plain
from alignpro.data.helpsteer import ATTRIBUTES
from alignpro.data.sources import load_prompts
from alignpro.data.split import split
from alignpro.errors import DataError, SettingsError
from alignpro.types import Prompt


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(path, seed=0, **settings):
    return load_prompts(DataSettings(prompts=str(path), **settings), seed)


def everything(loaded):
    return [*loaded.train, *loaded.test]


def test_twins_stay_two_rows_on_one_side_in_an_order_that_is_not_the_files(tmp_path):
    rows = [{"prompt": f"sum {i}", "answer": i + j} for i in range(60) for j in (3, 1, 2)]
    loaded = load(write(tmp_path / "a.jsonl", rows))
    assert loaded == load(write(tmp_path / "b.jsonl", rows[::-1]))
    assert len(everything(loaded)) == 180
    assert not {p.text for p in loaded.train} & {p.text for p in loaded.test}
    (tmp_path / "c.txt").write_text("".join(f"sum {i}\n" for i in range(60)))
    texts = load(tmp_path / "c.txt")
    for mine, alone in ((loaded.train, texts.train), (loaded.test, texts.test)):
        assert list(dict.fromkeys(p.text for p in mine)) == [p.text for p in alone]
    again = load(write(tmp_path / "d.jsonl", rows + rows))
    assert (again.train, again.test) == (loaded.train, loaded.test)
    assert again.dropped == {"repeated": 180}
    assert len(everything(load(tmp_path / "a.jsonl", limit=10))) == 30  # ten texts


def test_the_order_of_texts_is_that_of_the_split(tmp_path):
    keys = [f"prompt {i}" for i in range(40)]
    (tmp_path / "a.txt").write_text("\n".join(keys))
    loaded = load(tmp_path / "a.txt", seed=5)
    assert ([p.text for p in loaded.train], [p.text for p in loaded.test]) == split(keys, DataSettings(), 5)


def test_whitespace_makes_no_twin_and_another_system_message_or_history_does(tmp_path):
    rows = [{"prompt": f"{i} {i}", "system": "a b"} for i in range(3)]
    more = [{"prompt": "0  0", "system": "a  b "}, {"prompt": "0 0", "system": "c"}, {"prompt": "0 0", "history": []}]
    loaded = load(write(tmp_path / "a.jsonl", rows + more))
    assert loaded.dropped == {"repeated": 1}
    assert {p.system for p in everything(loaded) if p.text == "0 0"} == {"a b", "c", None}


def test_every_row_has_every_column_and_what_lacks_a_value_is_said(tmp_path):
    rows = [{"prompt": "a", "answer": 1}, {"prompt": "b", "label": "x"}, {"prompt": "c", "answer": math.nan}]
    rows += [{"prompt": "d", "answer": 4, "label": ""}]
    loaded = load(write(tmp_path / "a.jsonl", rows))
    held = {p.text: p.row for p in everything(loaded)}
    assert held == {
        "a": {"answer": 1, "label": None},
        "b": {"answer": None, "label": "x"},
        "c": {"answer": None, "label": None},
        "d": {"answer": 4, "label": ""},
    }
    assert loaded.notes[1:] == ("columns without a value in some of the 4 rows: answer in 2, label in 3",)


def test_cells_of_csv_are_texts(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,answer\na,12\nb,\nd,1.50\n\nf,2\n")
    loaded = load(tmp_path / "a.csv")
    assert {p.text: p.row["answer"] for p in everything(loaded)} == {
        "a": "12",
        "b": "",
        "d": "1.50",
        "f": "2",
    }
    assert not loaded.dropped


def test_columns_can_be_chosen(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": f"{i % 5}", "answer": i % 5, "id": i} for i in range(10)])
    assert len(everything(load(path))) == 10
    assert {tuple(p.row) for p in everything(load(path, columns=["answer"]))} == {("answer",)}
    assert everything(load(path, columns=[])) == [Prompt(p.text) for p in everything(load(path, columns=["answer"]))]
    assert load(path, columns=["answer"]).dropped == {"repeated": 5}
    with pytest.raises(DataError, match=r"no column gold, which data\.columns names; found prompt, answer, id"):
        load(path, columns=["answer", "gold"])


def test_the_row_of_a_data_set_holds_what_is_not_its_schemas_own(tmp_path):
    rated = [
        {"prompt": f"{i}", "response": f"{j}", "helpfulness": j, **dict.fromkeys(ATTRIBUTES, j), "topic": "birds"}
        for i in range(4)
        for j in range(2)
    ]
    loaded = load(write(tmp_path / "a.jsonl", rated))
    assert {*everything(loaded)} == {Prompt(f"{i}", row={"topic": "birds"}) for i in range(4)}
    assert loaded.dropped == {"repeated": 4}
    pairs = [{"prompt": f"{i}", "chosen": "a", "rejected": "b", "gold": i} for i in range(4)]
    loaded = load(write(tmp_path / "b.jsonl", pairs), columns=["gold", "chosen"])
    assert loaded.train[0].row == {"gold": int(loaded.train[0].text), "chosen": "a"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.datetime64("2024-02-01"), "2024-02-01"),
        (math.inf, None),
        (Decimal("12"), 12),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (date(2024, 2, 1), "2024-02-01"),
        (datetime(2024, 2, 1, 3, tzinfo=timezone.utc), "2024-02-01T03:00:00+00:00"),
        (timedelta(minutes=1), 60.0),
        ({"a": ({1: None},)}, {"a": [{"1": None}]}),
        (True, True),
        ("x", "x"),
    ],
)
def test_values_are_as_json_has_them(value, told):
    assert plain(value) == told
    assert type(plain(value)) is type(told)
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize("value", [b"png", {"image": {"bytes": b"png"}}, [object()], {1, 2}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match="JSON has no"):
        plain(value)


def test_a_test_file_of_ones_own(tmp_path):
    trained = write(tmp_path / "a.jsonl", [{"prompt": f"{i}", "answer": i} for i in range(20)])
    tested = tmp_path / "t.csv"
    tested.write_text("prompt,level\n" + "".join(f"{i},hard\n" for i in range(18, 24)))
    loaded = load(trained, test=str(tested))
    assert {p.text for p in loaded.train} == {f"{i}" for i in range(18)}
    assert {*loaded.test} == {Prompt(f"{i}", row={"answer": None, "level": "hard"}) for i in range(18, 24)}
    assert loaded.dropped == {"stands in data.test too": 2}
    assert any("level in 18" in note and "answer in 6" in note for note in loaded.notes)
    few = load(trained, test=str(tested), limit=3, columns=None)
    assert few.train == loaded.train[:3]
    assert few.test == loaded.test


def test_a_test_file_that_cannot_serve(tmp_path):
    trained = write(tmp_path / "a.jsonl", [{"prompt": f"{i}"} for i in range(3)])
    with pytest.raises(DataError, match=r"data\.test .*one\.jsonl: holds 1 different prompts; give at least 2"):
        load(trained, test=write(tmp_path / "one.jsonl", [{"prompt": "x"}] * 2))
    with pytest.raises(DataError, match="every prompt of it stands in data"):
        load(trained, test=trained)
    with pytest.raises(DataError, match=r"data\.test gone\.jsonl: the file does not exist"):
        load(trained, test="gone.jsonl")
    with pytest.raises(DataError, match=r"data\.test .*: found question; wanted"):
        load(trained, test=write(tmp_path / "other.jsonl", [{"question": "x"}]))
    with pytest.raises(SettingsError, match="the lab has test prompts of its own"):
        build({"data": {"prompts": "lab", "test": "a.txt"}})
