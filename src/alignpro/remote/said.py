"""What a server says of what went wrong, in whatever form: its words, and what they mean where the status is 200."""

from __future__ import annotations

import codecs
import html
import json
import re
from collections.abc import Mapping
from typing import Any

SMALL_CHARSETS = ("iso8859-1", "cp1252", "ascii")
"""Named by web servers that know nothing of what they send; JSON is in UTF-8."""
_STATUSES = (
    (429, r"rate.?limit|too.?many|insufficient_quota|resource.?exhausted"),
    (529, r"overloaded"),
    (401, r"authentication|unauthenticated|invalid_api_key"),
    (403, r"permission"),
    (404, r"not_found"),
    (402, r"billing|insufficient.?(credit|balance)"),
    (408, r"timeout"),
    (400, r"invalid|bad.?request|badrequest|unsupported|content.?filter|context.?length"),
)
"""What errors are called that come without a number."""


def decoded(body: bytes, charset: str | None) -> str:
    """A body's text: by its byte order mark, by the charset that it is said to be in, or as JSON is written. Raises
    ValueError where it is in none of these."""
    if body[:1] == b"{" and body[1:2] != b"\x00" and (charset is None or charset.lower() == "utf-8"):
        return body.decode()
    guesses: list[str] = [json.detect_encoding(body)]
    if charset is not None:
        try:
            name = codecs.lookup(charset).name
            guesses.insert(1 if name in SMALL_CHARSETS or body[:3] == codecs.BOM_UTF8 else 0, name)
        except LookupError:
            pass
    for guess in guesses:
        try:
            return body.decode(guess).lstrip("\ufeff")
        except ValueError:
            continue
    raise ValueError("no charset fits")


def message_of(tree: Any) -> str:
    """A server's words in one line, from JSON in the forms that servers use, from HTML or plain text."""
    if isinstance(tree, str):
        if re.search(r"<(!doctype|html|head|body|title|h1|p)\b", tree, re.I):
            tree = re.sub(r"<(style|script)\b.*?</\1>", " ", tree, flags=re.S | re.I)
            tree = html.unescape(re.sub(r"<[^>]*>", " ", tree))
        return " ".join(tree.split())
    if isinstance(tree, list):
        return "; ".join(filter(None, map(message_of, tree)))
    if isinstance(tree, Mapping):
        where = ".".join(map(str, tree["loc"])) if isinstance(tree.get("loc"), list) else ""
        for name in ("error", "message", "msg", "detail", "error_description", "errors"):
            if words := message_of(tree.get(name)):
                return f"{where}: {words}" if where else words
        return " ".join(json.dumps(tree, ensure_ascii=False).split()) if tree else ""
    return "" if tree is None else str(tree)


def status_of(tree: Any) -> int | None:
    """The HTTP status that an error in an answer of status 200 would have had, None where no error is in it.

    What is beside choices or an unknown kind of error is the server's own fault, 500.
    """
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    if not isinstance(tree, dict) or tree.get("choices"):
        return None
    error = tree.get("error") or (tree if tree.get("object") == "error" or tree.get("type") == "error" else None)
    if not error:
        return None
    fields = error if isinstance(error, dict) else {}
    for name in ("code", "status", "status_code", "http_code"):
        value = fields.get(name, tree.get(name))
        if isinstance(value, int | str) and re.fullmatch(r"[45]\d\d", str(value)):
            return int(value)
    kind = " ".join(str(fields.get(name) or "") for name in ("type", "code", "status"))
    for words in (kind, message_of(error)):
        for status, pattern in _STATUSES:
            if re.search(pattern, words, re.I):
                return status
    return 500
