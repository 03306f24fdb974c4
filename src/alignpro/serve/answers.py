"""What is to be learnt of an answer while it goes by: its id and its usage."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from alignpro.serve.audit import Usage

KEPT = 16_000
"""Bytes of an answer's beginning, and of its end, that are looked at."""
_MOST = 1_000_000
"""Bytes that one part may unpack to."""
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,120})"')
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_INPUT, _OUTPUT = ("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")


class Seen:
    """An answer's beginning and end, unpacked where it comes packed by gzip or deflate; nothing of it otherwise."""

    def __init__(self, encoding: str | None) -> None:
        self._first, self._last = bytearray(), bytearray()
        self._packed = encoding not in (None, "", "identity")
        self._unpacking = zlib.decompressobj(wbits=47) if encoding in ("gzip", "x-gzip", "deflate") else None

    def add(self, part: bytes) -> None:
        """The next bytes, as they came."""
        part = self._unpacked(part) if self._packed else part
        if len(self._first) < KEPT:
            self._first += part[: KEPT - len(self._first)]
        self._last += part[-KEPT:]
        if len(self._last) > 2 * KEPT:
            del self._last[:-KEPT]

    def _unpacked(self, part: bytes) -> bytes:
        if self._unpacking is None:
            return b""
        try:
            part = self._unpacking.decompress(part, _MOST)
        except zlib.error:
            part, self._unpacking = b"", None
        if self._unpacking is not None and self._unpacking.unconsumed_tail:
            self._unpacking = None
        return part

    @property
    def answer_id(self) -> str | None:
        """What the upstream calls the answer."""
        found = _ID.search(self._first)
        return found[1].decode("utf-8", "replace") if found else None

    @property
    def usage(self) -> Usage | None:
        """The last that it says of its usage."""
        for held in (self._last, self._first):
            for found in reversed(list(_USAGE.finditer(held))):
                try:
                    told = json.JSONDecoder().raw_decode(held[found.end() :].decode("utf-8", "replace"))[0]
                except ValueError:
                    continue
                return Usage(input_tokens=_count(told, _INPUT), output_tokens=_count(told, _OUTPUT))
        return None


def _count(told: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((told[name] for name in names if isinstance(told.get(name), int)), None)
