"""`verify:math`: the expression that the answer means equals the gold expression, by the package math-verify."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from alignpro.errors import UnusableRow
from alignpro.rewards.verify.meant import Mention, asserted, meant
from alignpro.rewards.verify.normal import plain
from alignpro.rewards.verify.numbers import UNIT, numbers, readable
from alignpro.rewards.verify.verifier import Verifier, needs, texts

SECONDS = 5
"""That one expression may take to be read or compared, where the main thread does it."""
LONGEST = 300
"""Signs of the longest expression that is read."""
_CLOSED = r"(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*"
_BOX = re.compile(rf"\\(?:boxed|fbox)\s*\{{({_CLOSED})\}}")
_LATEX = re.compile(
    r"⟦([^⟦⟧]*)⟧|\$\$(.+?)\$\$|\$((?!\s)[^$\n]+?)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]",
    re.DOTALL,
)
_PIECE = r"(?:\\[A-Za-z]+|\{[^{}]*\}|[^A-Za-z\\\n]|(?<![A-Za-z\\'])[A-Za-z](?![A-Za-z]))"
_BARE = re.compile(rf"{_PIECE}*\\[A-Za-z]+{_PIECE}*")
"""LaTeX that stands in no `$`."""
_TOKEN = (
    r"(?:(?:sqrt|pi|sin|cos|tan|log|ln|exp)\b|[A-Za-z](?![A-Za-z'])|\d+(?:[.,]\d+)*|\.\d+"
    r"|[-+*/^=<>≤≥≠±()\[\]{}π√∞°%!|_])"
)
_PLAIN = re.compile(rf"(?<![A-Za-z\\'^]){_TOKEN}(?:\s?,?\s?{_TOKEN})*")
_ARTICLE = re.compile(r"^(?:[aAI]\s+)+(?=[\w(])|^[=)\]},]\s*|(?:\s+[aAI])+$")
_SIGNS = (
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*|×|·"), r" \\cdot "),
    (re.compile(r"(?<!\\)\bsqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)|√\s*(\w+)"), r"\\sqrt{\1\2\3}"),
    (re.compile(r"π|(?<!\\)\bpi\b"), r"\\pi "),
    (re.compile(r"∞"), r"\\infty "),
    (re.compile(r"°"), r"^\\circ"),
    (re.compile(r"≤"), r"\\leq "),
    (re.compile(r"≥"), r"\\geq "),
    (re.compile(r"≠"), r"\\neq "),
    (re.compile(r"(?<![\\A-Za-z])(sin|cos|tan|log|ln|exp)\b"), r"\\\1 "),
    (re.compile(r"\^\s*\(([^()]*)\)"), r"^{\1}"),
    (re.compile(r"\^\s*(-?\d{2,})"), r"^{\1}"),
    (re.compile(r"\\?%"), "/100"),
    (re.compile(r"\\(?:!|,|;|:|quad|qquad|displaystyle)"), " "),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
)
_HUGE = re.compile(r"\^\s*\{?\s*-?\d{4,}|\^[^+*/=,()\s-]*\^|\d{4,}\s*!|!\s*!|\^\s*\{[^{}]*!")
_STATED_UNIT = re.compile(r"\\(?:text|mathrm|mbox|textrm)\s*\{\s*([^{}]*?)\s*\}")


@dataclass(frozen=True)
class Expression:
    """A gold expression: its LaTeX, and what math-verify read in it."""

    latex: str
    read: Any


def math(column: str = "answer") -> Verifier[list[Expression]]:
    """1 where the expression that the answer means in the end equals the gold expression, or one of a list.

    Equal as math-verify has it, to six decimals; stricter in that `12%` is 0.12, a tuple is no set and no interval of
    another kind, and two units that differ are not the same. A gold text is LaTeX, with or without `$`, or plain, or
    what follows its last `####` or stands in its last `\\boxed`. Raises SettingsError where math-verify is missing.
    """
    read, same = _library()

    def gold(row: Mapping[str, Any]) -> list[Expression]:
        return [_gold(text, read, column) for text in texts(row, column)]

    def worth(golds: list[Expression], answer: str) -> float:
        text = _prepared(answer)
        mentions = list(_mentions(text))
        said = meant(text, mentions)
        several = None if said else _together(text, mentions)
        for one in golds:
            candidate = said if isinstance(said, str) else (several if _is_several(one) else None)
            if candidate and _fits(one, candidate, text, mentions, read, same):
                return 1.0
        return 0.0

    return Verifier("verify:math", (column,), gold, worth)


def _library() -> tuple[Callable[[str], list[Any]], Callable[[Any, Any], bool]]:
    try:
        from math_verify import LatexExtractionConfig, parse, verify
    except ImportError as error:
        raise needs("math-verify", "verify:math", error) from error

    def limit() -> int | None:
        return SECONDS if threading.current_thread() is threading.main_thread() else None

    def read(latex: str) -> list[Any]:
        if len(latex) > LONGEST or _HUGE.search(latex):
            return []
        found = parse(
            f"${latex}$",
            extraction_config=[LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=limit(),
        )
        return [one for one in found if not isinstance(one, str)]

    def same(gold: Any, answer: Any) -> bool:
        return bool(verify(gold, answer, timeout_seconds=limit()))

    return read, same


def _gold(text: str, read: Callable[[str], list[Any]], column: str) -> Expression:
    text = text.rpartition("####")[2].replace("\\$", "").strip()
    boxes = _BOX.findall(text)
    latex = _latex(boxes[-1] if boxes else re.sub(r"^\$+|\$+$|^\\[(\[]|\\[)\]]$", "", text.rstrip(".")))
    found = read(latex)
    if not found or not re.sub(r"\\text\s*\{[^{}]*\}|[\s{}]", "", latex):
        raise UnusableRow(f"{column} is no expression that can be read")
    return Expression(latex, found)


def _prepared(answer: str) -> str:
    text = re.sub(r"~~.*?~~", " ", plain(answer), flags=re.DOTALL)
    text = _BOX.sub(r" ⟦\1⟧ ", text)
    text = re.sub(r"\$+\s*([^$]*?⟦[^⟦⟧]*⟧[^$]*?)\s*\$+|\\[(\[]([^⟦]*?⟦[^⟦⟧]*⟧.*?)\\[)\]]", r" \1\2 ", text)
    text = re.sub(r"\*\*|`|\\(?=\$)", "", text)
    if not re.search(r"\$|\\[(\[]|⟦", text):
        text = _BARE.sub(lambda run: f" ${run[0].strip(' .,;:')}$ ", text)
    return re.sub(r"(:|\bis|=)[ \t]*\n\s*", r"\1 ", text)


def _mentions(text: str) -> Iterator[Mention]:
    """The expressions of a text: LaTeX, and outside of it runs of figures, letters by themselves and signs."""
    place = 0
    for found in [*_LATEX.finditer(text), None]:
        end = found.start() if found else len(text)
        yield from _plain_mentions(text, place, end)
        if found:
            inner = next(part for part in found.groups() if part is not None)
            start = text.index(inner, found.start()) if inner else found.start()
            place = found.end()
            yield Mention(start, start + len(inner), _name(inner) if inner.strip() else None)


def _plain_mentions(text: str, start: int, end: int) -> Iterator[Mention]:
    stretch = " " * start + text[start:end]
    alone = numbers(stretch)
    for run in _PLAIN.finditer(stretch):
        words = run[0].rstrip(" ,!")
        while (cut := _ARTICLE.sub("", words)) != words:
            words = cut
        if sum(map(words.count, "([")) != sum(map(words.count, ")]")):
            words = words.strip("()[]")
        if not re.search(r"\d|[π∞]|pi\b", words) and not re.search(r"\w\s*[-+*/^=<>]\s*\w", words):
            continue
        if words.startswith("^"):  # of a unit: cm^2
            continue
        first = stretch.index(words, run.start())
        last = first + len(words)
        covered = [m for m in alone if m.start < last and first < m.end]
        signs = re.search(r"[^\d.,\s]", words)
        whole = len(covered) == 1 and covered[0].start <= first and last <= covered[0].end
        if whole and (covered[0].value is not None or not signs):
            yield Mention(covered[0].start, covered[0].end, _fraction(covered[0].value))
        elif signs:
            yield Mention(first, last, _name(words))
        else:
            yield from (Mention(m.start, m.end, _fraction(m.value)) for m in covered)
    for m in alone:
        if re.match(r"[A-Za-z]", stretch[m.start]) and not re.match(r"(?:minus|negative)\s+\d", stretch[m.start :]):
            yield Mention(m.start, m.end, _fraction(m.value))


def _fraction(value: Any) -> str | None:
    if not isinstance(value, Fraction):
        return None
    return str(value.numerator) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _latex(text: str) -> str:
    for pattern, by in _SIGNS:
        text = pattern.sub(by, text)
    return text.strip().rstrip(".,")


def _name(text: str) -> str | None:
    """One name for an expression however it is spaced, a number's being its value; None for one that breaks off."""
    latex = " ".join(_latex(text).split())
    if re.search(r"(?:[-+*/^=]|\\(?:cdot|times))$", latex):
        return None
    found = numbers(readable(latex))
    bare = re.fullmatch(r"-?[\d.,]+|-?\\frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}", latex)
    return (bare and len(found) == 1 and _fraction(found[0].value)) or latex


def _together(text: str, mentions: list[Mention]) -> str | None:
    """All that the last sentence with expressions asserts, as a set."""
    said = [s for s in asserted(text, mentions) if s.mentions]
    if not said:
        return None
    names = list(dict.fromkeys(str(m.value) for m in said[-1].mentions))
    return "\\{" + ", ".join(name.rpartition("=")[2].strip() for name in names) + "\\}"


def _is_several(gold: Expression) -> bool:
    return any(type(one).__name__ in ("FiniteSet", "list", "tuple", "set") for one in gold.read)


def _fits(
    gold: Expression,
    said: str,
    text: str,
    mentions: list[Mention],
    read: Callable[[str], list[Any]],
    same: Callable[[Any, Any], bool],
) -> bool:
    if _HUGE.search(said):
        return "".join(said.split()) == "".join(gold.latex.split())
    relation = re.search(r"[=<>]|\\(?:leq?|geq?|neq?|lt|gt|in)\b", gold.latex)
    if not relation and "," not in said and "=" in said:
        name, _, said = said.rpartition("=")
        if not _names(name.rpartition("=")[2]):
            return False
    if not relation and re.search(r"\\(?:leq?|geq?|neq?|lt|gt|approx)\b|[<>]", said):
        return False
    shapes = _shape(gold.latex), _shape(said)
    if shapes[0] != shapes[1] and not (_is_several(gold) and set(shapes) == {"{}", None}):
        return False
    wanted = _STATED_UNIT.findall(gold.latex)
    stated = _STATED_UNIT.findall(said) or [
        unit[0] for m in mentions if m.value == said and (unit := re.match(rf"\s*{UNIT}", text[m.end :], re.IGNORECASE))
    ]
    if (
        wanted
        and stated
        and {unit.strip().casefold() for unit in wanted} != {unit.strip().casefold() for unit in stated}
    ):
        return False
    found = read(said)
    return bool(found) and same(gold.read, found)


def _names(left: str) -> bool:
    """Whether what stands before "=" may be what is asked for: a name, f(2), a sum without letters; not 2x or x^2."""
    left = re.sub(r"\\[A-Za-z]+|[A-Za-z]\w*'*\([^()]*\)|[A-Za-z]_(?:\w|\{[^{}]*\})", "", left)
    return not (re.search(r"[A-Za-z]", left) and re.search(r"[\d^]", left))


def _shape(latex: str) -> str | None:
    """The brackets around a list of several things: `()`, `[)`, `{}`; None where there are none."""
    text = re.sub(r"\\(?:left|right)|\s|\\(?=[{}])", "", latex)
    text = re.sub(r"^[a-zA-Z](?:=|\\in)", "", text)
    if len(text) > 2 and text[0] in "([{" and text[-1] in ")]}" and "," in text:
        return text[0] + text[-1]
    return None
