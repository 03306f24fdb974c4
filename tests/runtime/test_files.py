"""JSON lines and whole files: what is torn is taken off, what is damaged is named by file and line."""

import errno
import json

import pytest

from alignpro.errors import DamagedResult, RunFailure
from alignpro.report.templating import write_page
from alignpro.runtime import files

ROWS = [{"step": step, "reward": step / 7, "text": "höflich \u2028"} for step in range(1, 5)]


@pytest.fixture
def path(tmp_path):
    files.append_jsonl(tmp_path / "rows.jsonl", ROWS, checked=True)
    return tmp_path / "rows.jsonl"


def test_rows_come_back_without_their_digests(path):
    assert files.read_jsonl(path) == ROWS
    assert json.loads(path.read_text().split("\n")[0]).keys() == {*ROWS[0], "check"}
    assert files.read_jsonl(path.with_name("none.jsonl")) == []
    path.write_text('{"step": 1}\n')  # as files were before rows had one
    assert files.read_jsonl(path) == [{"step": 1}]


def test_half_a_surrogate_pair_survives(path):
    files.append_jsonl(path, [{"text": "\ud83d and ü"}], checked=True)
    assert files.read_jsonl(path)[-1] == {"text": "\ud83d and ü"}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_line_is_taken_off_before_the_next_row(path, cut):
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    whole = 4 if cut == 1 else 3  # the last line lacks its end alone
    assert files.read_jsonl(path) == ROWS[:whole]
    files.append_jsonl(path, [{"step": 9}], checked=True)
    assert files.read_jsonl(path) == [*ROWS[:whole], {"step": 9}]


def test_a_torn_only_line_is_not_glued_to_the_next(path):
    path.write_bytes(path.read_bytes()[:20])
    assert files.read_jsonl(path) == []
    files.append_jsonl(path, [{"step": 1}])
    assert path.read_text() == '{"step": 1}\n'
    path.write_text('{"st')
    files.keep_rows(path, lambda row: True)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"step": 2, "rew', "it is torn, or no JSON"),
        (b"5", "a JSON object is wanted; found int"),
        (b"null", "a JSON object is wanted; found NoneType"),
        (b"[1, 2]", "a JSON object is wanted; found list"),
        (b'{"text": "\xff"}', r"it is not UTF-8 \(byte 11\)"),
        (b'{"st": 2}', "it has no 'step'"),
        (b'{"step": "two"}', "not supported between instances of 'str' and 'int'"),
    ],
)
def test_a_damaged_line_is_named(path, line, why):
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    with pytest.raises(DamagedResult, match=rf"rows\.jsonl, line 2: .*{why}.*; delete that line, or put the file back"):
        files.parsed_rows(path, lambda row: row["step"] < 9)
    with pytest.raises(DamagedResult, match=r"rows\.jsonl, line 2: .*; delete that line"):
        files.keep_rows(path, lambda row: row["step"] < 9)
    assert files.keep_rows(path, lambda row: row["step"] > 0, drop_damaged=True) == 1
    assert files.read_jsonl(path) == [ROWS[0], *ROWS[2:]]


def test_every_byte_of_a_row_that_changes_is_noticed_or_changes_nothing(path):
    data = path.read_bytes()
    first = data.index(b"\n")
    for place in range(first):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :])
        try:
            row = files.read_jsonl(path)[0]
        except DamagedResult:
            continue
        assert {name: row.get(name) for name in ROWS[0]} == ROWS[0]


def test_rows_that_stay_keep_their_bytes(path):
    data = path.read_bytes().split(b"\n")
    assert files.keep_rows(path, lambda row: row["step"] != 2) == 0
    assert path.read_bytes() == b"\n".join([data[0], *data[2:]])


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "make it writable"), (errno.EIO, "mend the disk")],
)
def test_a_failed_write_tells_what_helps_and_leaves_what_was_there(tmp_path, monkeypatch, number, remedy):
    """The page of a report among them."""
    page = tmp_path / "report.html"
    page.write_text("whole")

    def fail(handle):
        raise OSError(number, "the system's words")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(RunFailure, match=rf"written \(the system's words\); {remedy} and go on with --resume"):
        files.write_json(tmp_path / "a.json", {})
    with pytest.raises(RunFailure, match=remedy):
        files.write_bytes(page, b"half")
    assert page.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_pages_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    page.write_text("whole")
    monkeypatch.setattr("alignpro.report.templating._templates", lambda: _Templates())

    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(RunFailure, match=r"report\.html could not be written"):
        write_page(page, "run.html")
    assert page.read_text() == "whole"


class _Templates:
    def get_template(self, name):
        return self

    def render(self, **values):
        return "x" * 100
