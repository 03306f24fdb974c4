"""What was paid for is on disk before it is used, and is written once for all that came together; no sockets."""

import asyncio
import json

import pytest

from alignpro.errors import CacheUnusable
from alignpro.remote.access import Access
from alignpro.remote.accounting import Account, Usage
from alignpro.remote.answers import Answer
from alignpro.remote.cache import AnswerCache, key
from alignpro.remote.commits import Commits

MOST = Usage(5, 5)


class Counted(AnswerCache):
    """A cache that counts its writes, and `breaks` at them."""

    writes, breaks = 0, False

    def commit(self):
        self.writes += 1
        if self.breaks:
            raise CacheUnusable("full")
        super().commit()


@pytest.fixture
def cache(tmp_path):
    with Counted(tmp_path / "answers.sqlite") as cache:
        yield cache


def booked(tmp_path, cache):
    account = Account()
    account.open("m")
    account.keep(tmp_path / "spending.json")
    commits = Commits(account)

    async def answered(name):
        account.reserve("m", MOST)
        account.settle("m", MOST, Usage(2, 3))
        commits.add(cache, {name: Answer("text")})
        await commits.done()
        with AnswerCache(tmp_path / "answers.sqlite") as other:  # what another process would find after a kill -9
            kept = name in other.get([name])
        return kept, json.loads((tmp_path / "spending.json").read_text())["m"]["requests"]

    return answered


def test_answers_of_one_turn_are_one_write_and_each_waits_for_it(tmp_path, cache):
    answered = booked(tmp_path, cache)

    async def together():
        return await asyncio.gather(*(answered(bytes([i])) for i in range(20)))

    assert asyncio.run(together()) == [(True, 20)] * 20 and cache.writes == 1
    assert asyncio.run(answered(b"alone")) == (True, 21) and cache.writes == 2


def test_a_write_that_fails_stops_all_that_wait_for_it_and_one_that_left_stops_none(tmp_path, cache):
    answered = booked(tmp_path, cache)

    async def left():
        gone, *others = [asyncio.ensure_future(answered(bytes([i]))) for i in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(gone, *others, return_exceptions=True)

    gone, *others = asyncio.run(left())
    assert isinstance(gone, asyncio.CancelledError) and others == [(True, 3)] * 2
    cache.breaks = True
    assert [str(error) for error in asyncio.run(left())[1:]] == ["full"] * 2
    cache.breaks = False


def test_what_was_added_is_found_before_it_is_written_and_the_first_answer_stays(tmp_path, cache):
    cache.put({b"a": Answer("old")})
    cache.add({b"a": Answer("new"), b"b": Answer("one")})
    cache.add({b"b": Answer("two")})
    assert {k: answer.text for k, answer in cache.get([b"a", b"b"]).items()}[b"b"] == "one"
    cache.commit()
    with AnswerCache(tmp_path / "answers.sqlite") as other:
        assert {k: answer.text for k, answer in other.get([b"a", b"b"]).items()} == {b"a": "old", b"b": "one"}


def test_keys_are_those_of_files_that_were_written_before():
    request = {"messages": [{"role": "user", "content": "hi ü"}], "seed": 3, "sampling": {"temperature": 0.5}}
    assert key("pool", "m", request, 7).hex() == "892a33e24555a07a2b56e7d983fd02e375cfd18e"


@pytest.mark.parametrize("secret", ["sk-plain-0123456789", 'with/"both\\kinds', "größer-als-ASCII"])
def test_a_secret_is_found_in_json_however_it_is_escaped(secret):
    access = Access(secrets=(secret,))
    plain, escaped = json.dumps({"said": secret}), "".join(f"\\u{ord(letter):04x}" for letter in secret)
    for text in (plain, json.dumps({"said": secret}, ensure_ascii=False), plain.replace("/", "\\/"), f'"{escaped}"'):
        assert not access.is_clean(text)
    assert access.is_clean('{"said": "nothing\\n of \\"it\\""}')
