import json

import pytest

from alignpro.config import DataSettings
from alignpro.data.prompts import load_prompts
from alignpro.errors import DataError


def load(path, seed=0, **settings):
    return load_prompts(DataSettings(prompts=str(path), **settings), seed)


def texts(loaded):
    return {prompt.text for prompt in (*loaded.train, *loaded.test)}


def test_the_three_kinds_of_file_give_the_same_prompts(tmp_path):
    prompts = ["tell me about owls", 'say "hi", please', "line\u2028separator inside", "grüße 🦉"]
    (tmp_path / "a.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"prompt": p}, ensure_ascii=False) + "\n" for p in prompts), encoding="utf-8"
    )
    quoted = ['"' + p.replace('"', '""') + '"' for p in prompts]
    (tmp_path / "a.csv").write_text(
        "id,prompt\n" + "".join(f"{i},{q}\n" for i, q in enumerate(quoted)), encoding="utf-8"
    )
    sets = [texts(load(tmp_path / f"a.{kind}")) for kind in ("txt", "jsonl", "csv")]
    assert sets[0] == sets[1] == sets[2] == set(prompts)


def test_the_split_does_not_depend_on_order_or_on_later_rows(tmp_path):
    prompts = [f"prompt {i}" for i in range(50)]
    (tmp_path / "a.txt").write_text("\n".join(prompts))
    (tmp_path / "b.txt").write_text("\n".join(reversed(prompts)))
    a, b = load(tmp_path / "a.txt"), load(tmp_path / "b.txt")
    assert a == b
    assert len(a.train) + len(a.test) == 50
    assert not set(a.train) & set(a.test)
    (tmp_path / "c.txt").write_text("\n".join(f"prompt {i}" for i in range(130)))
    more = load(tmp_path / "c.txt")
    assert set(a.train) < set(more.train)
    assert set(a.test) < set(more.test)
    assert load(tmp_path / "a.txt", seed=1).test != a.test


def test_repeated_and_empty_rows_are_dropped_and_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"prompt": p}) for p in ["x", "x ", "", "y", "z", "x"]))
    loaded = load(tmp_path / "a.jsonl")
    assert loaded.dropped == {"repeated": 2, "empty prompt": 1}
    assert texts(loaded) == {"x", "y", "z"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "holds no prompts"),
        ("a.txt", "\n \n", "holds no prompts"),
        ("a.txt", "one\ntwo", "cannot be split"),
        ("a.jsonl", '{"question": "x", "answer": "y"}', "found question, answer"),
        ("a.jsonl", '{"prompt": 3}', "no row of it can be used: 1 a number under 'prompt' (line 1)"),
        ("a.jsonl", '{"prompt": "x"}\n{broken', "line 2: not JSON"),
        ("a.jsonl", "[1]", "line 1: found a list"),
        ("a.csv", "question,answer\nx,y", "found question, answer"),
        ("a.xlsx", "x", ".txt, .jsonl, .json, .csv, .tsv, .parquet"),
        ("a.txt.gz", "x", "not a gzip file"),
    ],
)
def test_unusable_files_say_what_was_found(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        load(tmp_path / name)
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_a_missing_file_a_folder_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "gone.txt")
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        load(tmp_path / "latin.txt")


def test_another_column_can_be_named(tmp_path):
    (tmp_path / "a.csv").write_text("question\nx\ny\nz\n")
    assert len(load(tmp_path / "a.csv", column="question").train) == 1
