"""What the user's turns of conversations went to the upstream as, so that it reads them again as it has them."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from alignpro.serve import wire


class Earlier(NamedTuple):
    """What puts `known` earlier turns as they were sent, and by what the last one is remembered, if it is a user's."""

    changes: wire.Changes
    known: int
    last: str | None


class Turns:
    """Remembers the last `most` turns that were sent rewritten, by what was said up to them as clients send it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sent: OrderedDict[str, str] = OrderedDict()

    def earlier(self, asked: wire.Asked) -> Earlier:
        """What of a request's earlier turns was sent rewritten."""
        changes: dict[tuple[int, int], str] = {}
        count, last = 0, None
        for key, spelt in wire.users_turns(asked.kind, asked.text):
            if asked.slots and spelt.place == asked.slots[-1].spelt.place:
                last = key
            elif (sent := self._sent.get(key)) is not None:
                self._sent.move_to_end(key)
                changes |= spelt.replaced(sent, asked.text)
                count += 1
        return Earlier(changes, count, last)

    def note(self, key: str, rewrite: str) -> None:
        """A turn goes on as this."""
        self._sent[key] = rewrite
        self._sent.move_to_end(key)
        if len(self._sent) > self._most:
            self._sent.popitem(last=False)
