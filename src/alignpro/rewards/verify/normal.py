"""One form for texts that a reader takes for the same."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_SAME = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼ＇", "'"),
        **dict.fromkeys("“”„‟«»「」『』＂", '"'),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    }
)
_MARKS = {"super": "^", "sub": "_", "fraction": " "}
"""Before a sign of this decomposition, by its name in Unicode."""
_AROUND = ('"', "'", "***", "___", "**", "__", "*", "_", "`")
_AFTER = ".,;:!。、，；：！।"


def plain(text: str) -> str:
    """NFKC, without signs that nobody sees, with one kind of quote and of dash.

    What NFKC would run together stays apart: `12²` is `12^2`, `12½` is `12 1/2`, `x₁` is `x_1`.
    """
    kept = "".join(
        _MARKS.get(unicodedata.decomposition(sign).partition(" ")[0].strip("<>"), "") + sign for sign in text
    )
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", kept).translate(_SAME)).translate(_SAME).replace("⁄", "/")


def normal(text: str, case: bool = False) -> str:
    """`plain`, every run of white space one space, without the marks around the whole: pairs of quotes, Markdown's
    emphasis and code, and `. , ; : !` at its end. Letters are casefolded unless `case`.

    Brackets, signs (`-`, `+`, `%`, `$`, `#`), a question mark and what leads the text stay.
    """
    text = " ".join(plain(text).split())
    before = None
    while before != text:
        before = text
        text = text.rstrip(_AFTER).strip()
        for mark in _AROUND:
            if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
                text = text[len(mark) : -len(mark)].strip()
                break
    return text if case else text.casefold()
