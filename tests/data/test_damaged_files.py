"""Files that are not as they were meant: what is read, what is left out and told with its line, what is refused."""

import csv
import gzip
import json

import pytest

from alignpro.config import DataSettings
from alignpro.data.files import rows_of
from alignpro.data.sources import load_preferences, load_prompts
from alignpro.data.texts import blank
from alignpro.errors import DataError
from alignpro.types import Prompt

FIFTY = [{"prompt": f"tell me of {i}", "answer": f"{i}"} for i in range(49)]


def load(path, **settings):
    return load_prompts(DataSettings(prompts=str(path), **settings), 0)


def everything(loaded):
    return {*loaded.train, *loaded.test}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt,chosen,rejected\np1,good, answer,bad\n", "line 2: 4 cells where the header has 3"),
        ("prompt,chosen,rejected\np1,good,bad\np2,good\n", "line 3: 2 cells where the header has 3"),
        ('prompt,chosen,rejected\n"p\n\n1",good,bad\np2,a, b,c\n', "line 5: 4 cells"),
        ('prompt,chosen,rejected\np1,a,b\n"p2,a,b\np3,a,b\n', "line 3: .*a quote that is never closed"),
        ('prompt,chosen,rejected\n"p1,a,b\n"p2",a,b\n', "line 2: not CSV"),
        ('prompt,chosen,rejected\n"say \\"hi\\"",a,b\n', "line 2: not CSV"),
        ("prompt,chosen,rejected,chosen\np,a,b,c\n", "line 1: more than one column is called 'chosen'"),
        ("prompt;chosen;rejected\np;a;b\nq;a\n", "line 3: 2 cells where the header has 3; a cell with semicolons"),
    ],
)
def test_no_cell_of_csv_is_cut_or_shifted(tmp_path, text, told):
    (tmp_path / "a.csv").write_text(text)
    for read in (load, lambda path: load_preferences(DataSettings(prompts=str(path)), 0)):
        with pytest.raises(DataError, match=rf"data\.prompts .*a\.csv, {told}"):
            read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "mark", "said"),
    [("a.csv", ";", "semicolons"), ("a.csv", "\t", "tabs"), ("a.tsv", "\t", "tabs"), ("a.csv", "|", "bars")],
)
def test_cells_may_be_parted_by_other_signs_which_is_said(tmp_path, name, mark, said):
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(
            [["id", " prompt"], ["1", f"a, b{mark} c"], ["2", 'x\n"y"'], ["3", "z;"]]
        )
    loaded = load(tmp_path / name)
    assert {(p.text, p.row["id"]) for p in everything(loaded)} == {
        (f"a, b{mark} c", "1"),
        ('x\n"y"', "2"),
        ("z;", "3"),
    }
    assert f"3 rows (cells parted by {said}), read as prompts alone (columns 'prompt')" in loaded.notes[0]


def test_one_column_may_hold_any_sign_and_a_cell_any_length(tmp_path):
    long = "owl " * 100_000
    (tmp_path / "a.csv").write_text(f"prompt\na;b|c\n{long}\nd\n")
    assert {p.text for p in everything(load(tmp_path / "a.csv"))} == {"a;b|c", long.strip(), "d"}
    assert csv.field_size_limit() == 131_072


def written(path, bad):
    """Forty-nine rows and one that is not as the others, at line 10."""
    made = {".txt": lambda row: row["prompt"], ".csv": lambda row: f"{row['prompt']},{row['answer']}"}
    lines = [made.get(path.suffix, json.dumps)(row).encode() for row in FIFTY]
    if path.suffix == ".csv":
        lines.insert(0, b"prompt,answer")
    lines.insert(9, bad)
    path.write_bytes(b"[" + b",\n".join(lines) + b"]" if path.suffix == ".json" else b"\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("name", "bad", "reason"),
    [
        ("a.jsonl", b'{"prompt": null}', "null under 'prompt'"),
        ("a.jsonl", b'{"prompt": 3}', "a number under 'prompt'"),
        ("a.jsonl", b'{"prompt": true}', "true or false under 'prompt'"),
        ("a.jsonl", b'{"prompt": ["a"]}', "a list with a text where a turn is wanted"),
        ("a.jsonl", b'{"prompt": {"a": 1}}', "an object where turns are wanted"),
        ("a.jsonl", b'{"question": "a"}', "a row without 'prompt'"),
        ("a.jsonl", b"null", "null for a row"),
        ("a.jsonl", b'{"prompt": "torn', "not JSON (Unterminated string starting at)"),
        ("a.jsonl", b'{"prompt": "a", "prompt": "b"}', "not JSON (the key 'prompt' stands twice)"),
        ("a.jsonl", b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}", "not JSON (Exceeds the limit"),
        ("a.jsonl", b'{"prompt": "a", "n": ' + b"[" * 9000 + b"]" * 9000 + b"}", "not JSON (nested too deeply)"),
        ("a.jsonl", b'{"prompt": "a", "n": ' + b"[" * 300 + b"]" * 300 + b"}", "nested too deeply"),
        ("a.jsonl", rb'{"prompt": "a\ud800"}', "half a character"),
        ("a.jsonl", rb'{"prompt": "a", "answer": ["\udc00"]}', "half a character"),
        ("a.jsonl", b'{"prompt": "caf\xe9"}', "half a character"),
        ("a.jsonl", rb'{"prompt": "a\u0000"}', "a NUL character"),
        ("a.jsonl", rb'{"prompt": "\u200b\u2060\ufeff"}', "empty prompt"),
        ("a.json", b'{"prompt": null}', "null under 'prompt'"),
        ("a.json", b'{"prompt": "a", "prompt": "b"}', "not JSON (the key 'prompt' stands twice)"),
        ("a.json", b"7", "a number for a row"),
        ("a.json", b'{"prompt": "caf\xe9"}', "half a character"),
        ("a.csv", b"\xe2\x80\x8b,1", "empty prompt"),
        ("a.csv", b"caf\xe9,1", "half a character"),
        ("a.csv", b"a\0b,1", "a NUL character"),
        ("a.txt", b"caf\xe9", "half a character"),
        ("a.txt", b"half \xed\xa0\x80", "half a character"),
        ("a.txt", b"a\0b", "a NUL character"),
        ("a.txt", b"\xe3\x85\xa4\xe2\x80\x8d", "empty prompt"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_one_bad_row_in_fifty_is_left_out_with_its_line_in_every_format(tmp_path, name, bad, reason, packed):
    path = written(tmp_path / name, bad)
    if packed:  # by its first bytes, whatever its name is
        path.write_bytes(gzip.compress(path.read_bytes()))
    loaded = load(path)
    assert {p.text for p in everything(loaded)} == {row["prompt"] for row in FIFTY}
    [(told, count)] = loaded.dropped.items()
    assert told.startswith(reason) and count == 1
    [line] = [note for note in loaded.notes if "cannot be used" in note]
    assert line.endswith(f"a{path.suffix}: cannot be used: 1 {told} (line 10)")


def test_a_bad_row_may_be_the_first_and_must_not_be_most(tmp_path):
    rows = [{"text": "a"}, *({"prompt": f"{i}"} for i in range(3))]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(tmp_path / "a.jsonl").dropped == {"a row without 'prompt'": 1}
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows + rows[:1] * 3))
    with pytest.raises(DataError, match=r"b\.jsonl, line 1: found text; wanted prompts in a field 'prompt'"):
        load(tmp_path / "b.jsonl")


@pytest.mark.parametrize(
    ("name", "held", "told"),
    [
        ("a.txt", "grün\nblau\nhöflich\nschön\n".encode("latin-1"), "line 1: not UTF-8 text"),
        ("a.csv", "prompt\nblau\nhöflich\n".encode("cp1252"), "line 3: not UTF-8 text"),
        ("a.txt", "owls\nand more\n".encode("utf-16-le"), r"line 1: a NUL character \(UTF-16\?\)"),
        ("a.txt", b"\xff\xfea\x00\n\x00b", "line 2: not UTF-16 text"),
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": \n{"prompt": "c"}\n', "line 2: not JSON"),
        ("a.jsonl", b'[\n{"prompt": "a"},\n{"prompt": "b"}\n]', r"line 1: not JSON .*; so are 2 more of 4 lines"),
        ("a.json", b'[{"prompt": "a"},\n{"prompt": "b"}\n', "line 3: not JSON"),
        ("a.json", b'[{"prompt": "a"}\n{"prompt": "b"}]', "line 2: not JSON .a comma"),
        ("a.json", b'[{"prompt": "a"},\n]', "line 2: not JSON"),
        ("a.json", b'[{"prompt": "a"}]\nand more', "line 1: not JSON .'and more' after the end"),
        ("a.json", b'{"prompt": "a"', "line 1: not JSON"),
        ("a.json", b"3", "line 1: a list of rows is wanted, or one under data, found a number"),
    ],
)
def test_a_file_that_is_bad_as_a_whole_is_refused_with_a_line(tmp_path, name, held, told):
    (tmp_path / name).write_bytes(held)
    with pytest.raises(DataError, match=rf"data\.prompts .*{name}, {told}"):
        load(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_the_first_bytes_say_is_believed(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("grün\r\n猫\rnaïve\n".encode(encoding))
    assert {p.text for p in everything(load(tmp_path / "a.txt"))} == {"grün", "猫", "naïve"}


def test_twins_in_two_normal_forms_are_one(tmp_path):
    (tmp_path / "a.txt").write_text("café\ncafe\u0301\n\ufeffcaf\u00e9\nb\nc\nd\n", encoding="utf-8")
    loaded = load(tmp_path / "a.txt")
    assert {p.text for p in everything(loaded)} == {"café", "b", "c", "d"}
    assert loaded.dropped == {"repeated": 2}
    (tmp_path / "t.txt").write_text("cafe\u0301\nother\n", encoding="utf-8")
    assert "café" not in {p.text for p in load(tmp_path / "a.txt", test=str(tmp_path / "t.txt")).train}


def test_json_lines_are_known_whatever_their_name(tmp_path):
    (tmp_path / "a.json").write_text("".join(json.dumps(row) + "\n" for row in FIFTY))
    (tmp_path / "a.jsonl").write_bytes((tmp_path / "a.json").read_bytes())
    assert everything(load(tmp_path / "a.json")) == everything(load(tmp_path / "a.jsonl"))


def test_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text('prompt,n\n\n"a\nb",1\nc,2\n')
    (tmp_path / "a.json").write_text('[\n\n{"prompt": "a"}, {"prompt": "b"},\n{"prompt":\n "c"}\n]')
    (tmp_path / "a.txt").write_text("\none\n\n\ntwo\n")
    assert [[*rows_of(tmp_path / f"a.{kind}", "prompt").numbers] for kind in ("csv", "json", "txt")] == [
        [3, 5],
        [3, 3, 4],
        [2, 5],
    ]


def test_prompts_beside_a_response_and_its_helpfulness_keep_them(tmp_path):
    rows = [{"prompt": f"{i % 4}", "response": f"{i}", "helpfulness": i, "system": "s"} for i in range(8)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load(path)
    assert everything(loaded) == {Prompt(f"{i % 4}", "s", row={"response": f"{i}", "helpfulness": i}) for i in range(8)}
    assert "read as prompts alone (columns 'prompt'); data.format" in loaded.notes[0]
    rated = load(path, format="helpsteer")
    assert everything(rated) == {Prompt(f"{i}", "s") for i in range(4)}
    pairs = load_preferences(DataSettings(prompts=str(path)), 0)
    assert {pair.prompt for pair in (*pairs.train, *pairs.test)} == everything(rated)
    assert "read as helpsteer (columns 'prompt' and 'response' and 'helpfulness')" in pairs.notes[0]


@pytest.mark.parametrize("more", [{"score_chosen": 2, "score_rejected": 1}, {}])
def test_what_stands_before_the_prompt_is_read_alike_in_preferences(tmp_path, more):
    before = {"role": "be brief", "earlier": [["hi", "hello"]]}
    rows = [{"prompt": f"{i}", "chosen": "a", "rejected": "b", **before, **more} for i in range(4)]
    rows += [rows[0] | {"role": "be kind"}, rows[0] | {"earlier": []}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_preferences(DataSettings(prompts=str(path), system="role", history="earlier"), 0)
    pairs = (*loaded.train, *loaded.test)
    assert len(pairs) == 6 and not loaded.dropped
    assert {(p.prompt.system, len(p.prompt.history)) for p in pairs} == {
        ("be brief", 2),
        ("be kind", 2),
        ("be brief", 0),
    }


def test_a_system_column_of_which_most_is_text_is_used(tmp_path):
    rows = [{"prompt": f"{i}", "system": "s" if i else 3} for i in range(5)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load(path)
    assert {p.system for p in everything(loaded)} == {"s"}
    assert loaded.dropped == {"a number where a system message is wanted": 1}


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "\ufeff\u00a0", "\u2800\u3164", "\ufe0f", "\x00\x1b"])
def test_nothing_to_see_is_nothing(text):
    assert blank(text)
    assert not blank(f"{text}a")


@pytest.mark.parametrize("text", ["🦉", "़क", "_", "。", "\u0301a", "👩‍👧"])
def test_what_can_be_seen_is_something(text):
    assert not blank(text)
