import contextlib
import multiprocessing
import sqlite3
import threading

import pytest

from alignpro.errors import CacheUnusable
from alignpro.remote.accounting import Usage
from alignpro.remote.answers import Answer
from alignpro.remote.cache import AnswerCache, key

REQUEST = {"messages": [{"role": "user", "content": "hi ü"}], "seed": 3, "sampling": {"temperature": 0.5}}


def test_what_was_stored_comes_back_after_reopening_and_the_first_answer_stays(tmp_path):
    answers = {
        key("pool", "m", REQUEST, 0): Answer("one\x00\n ü", "length", None, Usage(3, 4)),
        key("pool", "m", REQUEST, 1): Answer("", "stop", "empty answer", Usage(0, 4)),
    }
    with AnswerCache(tmp_path / "deep" / "c.db") as cache:
        cache.put(answers)
        cache.put({k: Answer("later") for k in answers})
    with AnswerCache(tmp_path / "deep" / "c.db") as cache:
        assert cache.get([*answers, b"other"]) == answers
        assert len(cache) == 2 and cache.usage() == Usage(3, 8)


def test_everything_that_decides_a_sample_is_in_its_key():
    keys = {key("pool", "m", REQUEST, i) for i in range(3)}
    keys |= {key("other", "m", REQUEST, 0), key("pool", "n", REQUEST, 0)}
    keys |= {key("pool", "m", {**REQUEST, "seed": 4}, 0)}
    keys |= {key("pool", "m", {**REQUEST, "sampling": {"temperature": 0.6}}, 0)}
    assert len(keys) == 7


def test_more_keys_than_a_statement_takes(tmp_path):
    many = {key("p", "m", REQUEST, i): Answer(str(i)) for i in range(1203)}
    with AnswerCache(tmp_path / "c.db") as cache:
        cache.put(many)
        assert cache.get(list(many)) == many


def _write(path, start):
    with AnswerCache(path) as cache:
        for i in range(start, start + 100):
            cache.put({key("p", "m", REQUEST, i): Answer(str(i))})


def test_threads_and_processes_share_a_file(tmp_path):
    path = tmp_path / "c.db"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_write, args=(path, 1000 * n)) for n in range(2)]
    for other in others:
        other.start()
    with AnswerCache(path) as cache:
        threads = [
            threading.Thread(
                target=lambda n=n: [cache.put({key("t", "m", REQUEST, 100 * n + i): Answer("x")}) for i in range(100)]
            )
            for n in range(4)
        ]
        for worker in [*threads]:
            worker.start()
        for worker in [*threads, *others]:
            worker.join()
        assert len(cache) == 600


def test_a_damaged_file_and_another_programs_file_are_named(tmp_path):
    (tmp_path / "junk.db").write_bytes(b"not a database at all " * 100)
    with pytest.raises(CacheUnusable, match=r"junk\.db"):
        AnswerCache(tmp_path / "junk.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    with pytest.raises(CacheUnusable, match="name another file"):
        AnswerCache(tmp_path / "other.db")
    with pytest.raises(CacheUnusable, match="cannot"):
        AnswerCache(tmp_path / "junk.db" / "below")


def test_a_file_damaged_in_the_middle_is_an_error_not_a_miss(tmp_path):
    many = {key("p", "m", REQUEST, i): Answer(str(i) * 50) for i in range(2000)}
    with AnswerCache(tmp_path / "c.db") as cache:
        cache.put(many)
    with sqlite3.connect(tmp_path / "c.db") as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((tmp_path / "c.db").read_bytes())
    data[8192:-4096] = b"\xab" * (len(data) - 12288)
    (tmp_path / "c.db").write_bytes(data)
    with AnswerCache(tmp_path / "c.db") as cache, pytest.raises(CacheUnusable, match="move it away"):
        cache.get(list(many))


def test_a_locked_file_is_waited_for_then_named(tmp_path):
    path = tmp_path / "c.db"
    with AnswerCache(path, wait_s=0.2) as cache:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CacheUnusable, match="locked"):
            cache.put({b"k": Answer("x")})
        holder.execute("ROLLBACK")
        holder.close()
        cache.put({b"k": Answer("x")})
        assert len(cache) == 1


def _journal(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        return file.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.mark.parametrize("before", ["nothing", "a file in WAL mode"])
def test_a_drive_without_shared_memory_gets_another_journal(tmp_path, before):
    path, kept = tmp_path / "c.db", {b"k": Answer("x")}
    if before != "nothing":
        with AnswerCache(path) as cache:
            cache.put(kept)
        assert _journal(path) == "wal"
        (tmp_path / "c.db-shm").unlink(missing_ok=True)
    (tmp_path / "c.db-shm").mkdir()  # where the memory would be shared
    with AnswerCache(path) as cache, AnswerCache(path) as other:
        cache.put({b"l": Answer("y")})
        other.put({b"m": Answer("z")})
        assert cache.get([b"k", b"l", b"m"]) == {
            **(kept if before != "nothing" else {}),
            b"l": Answer("y"),
            b"m": Answer("z"),
        }
    assert _journal(path) == "delete"


def test_a_drive_whose_locks_are_of_another_kind_keeps_answers_too(tmp_path, monkeypatch):
    real = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **more: real(f"file:{path}?vfs=unix-dotfile", uri=True, **more)
    )
    with AnswerCache(tmp_path / "c.db") as cache:
        cache.put({b"k": Answer("x")})
        assert cache.get([b"k"]) == {b"k": Answer("x")}
        assert cache._connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_where_no_journal_works_a_local_file_is_asked_for(tmp_path):
    (tmp_path / "c.db-shm").mkdir()
    (tmp_path / "c.db-journal").mkdir()
    with pytest.raises(CacheUnusable, match=r"--frozen\.cache"):
        AnswerCache(tmp_path / "c.db")
