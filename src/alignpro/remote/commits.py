"""What was paid for reaches the disk before anything is made of it: once for all that came in one turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from alignpro.remote.accounting import Account
from alignpro.remote.answers import Answer
from alignpro.remote.cache import AnswerCache


class Commits:
    """The cache and then the ledger of a model's answers, written together, so that no answer is booked and not kept;
    it lives in one event loop.

    An answer that came alone is written alone. Of many that came at the same time each waits for the one write that
    holds them all, which begins before the loop turns to anything new.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._caches: set[AnswerCache] = set()
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, cache: AnswerCache, answers: Mapping[bytes, Answer]) -> None:
        """Have the next write store these too."""
        cache.add(answers)
        self._caches.add(cache)

    async def done(self) -> None:
        """Until all that was booked and added is on disk. Raises what writing raises: RunFailure, CacheUnusable."""
        if not self._caches and not self._account.is_kept:
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._write)
        self._waiting.append(turn := loop.create_future())
        await turn

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            try:
                while self._caches:
                    self._caches.pop().commit()
            finally:
                self._account.write()
        except Exception as error:
            for turn in waiting:
                if not turn.done():
                    turn.set_exception(error)
        else:
            for turn in waiting:
                if not turn.done():
                    turn.set_result(None)
