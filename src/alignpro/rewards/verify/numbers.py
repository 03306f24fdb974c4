"""`verify:number`: the number that the answer means is the gold number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from alignpro.errors import SettingsError, UnusableRow
from alignpro.rewards.verify.meant import Mention, meant
from alignpro.rewards.verify.normal import plain
from alignpro.rewards.verify.verifier import Verifier, texts

_UNITS = dict(
    zip(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], range(10), strict=True)
)
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SMALL = {
    **_UNITS,
    **{word: 10 + i for i, word in enumerate(_TEENS)},
    **{word: 20 + 10 * i for i, word in enumerate(_TENS)},
}
SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
    "k": 1000,
    "bn": 10**9,
    "百": 100,
    "千": 1000,
    "万": 10**4,
    "萬": 10**4,
    "億": 10**8,
    "亿": 10**8,
}
_WORD = "|".join([*SMALL, *(word for word in SCALES if len(word) > 2)])
_BODY = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d|,\d)|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!\d|,\d)"
    r"|\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?(?![\d']|[.,]\d)|\d{1,3}(?:\.\d{3})+,\d+(?!\d|[.,]\d)"
    r"|\d{1,3}(?:\.\d{3}){2,}(?!\d|[.,]\d)|\d+(?:\.\d+)?|\.\d+"
)
UNIT = (
    r"(?:km|(?-i:m)(?!\s+(?:people|\w+s)\b)|cm|mm|kg|g|mg|t|l|ml|s|ms|h|hr|hrs|min|mins|kb|mb|gb|tb|hz|khz|v|w|kw"
    r"|kwh|kcal|ft|in"
    r"|lb|lbs|oz|mph|px|pt|am|pm|usd|eur|gbp|c|f)(?:\^?[23])?(?:/\w+)?(?![a-z\d])"
)
_NUMBER = re.compile(
    rf"(?P<below>\b(?:minus|negative)\s+)?(?P<word>\b(?:a\s+)?(?:{_WORD})(?:(?:[\s-]+(?:and\s+)?)(?:{_WORD}))*\b)"
    rf"|(?P<composite>\d+(?::\d+)+|(?!\d{{1,3}}(?:\.\d{{3}})+(?![\d.]))\d+(?:[-/.]\d+){{2,}})"
    rf"|(?P<sign>(?:(?<![\w)\]])[-+±]\s?|\b(?:minus|negative)\s+)?)(?:[$€£¥₹]\s?)?(?P<number>{_BODY})"
    r"(?P<tail>(?:e[-+]?\d+(?!\w))?)"
    r"(?P<power>(?:\s*[×x*·]\s*10\s*(?:\^|\*\*)\s*[{(]?[-+]?\d+[})]?)?)"
    r"(?P<over>(?:\s?/\s?\d+(?![\d.,/]*\d)|\s\d+/\d+(?![\d/]))?)",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"(?P<opaque>\s*(?:\^|\*\*)|!(?=\s*[=\d+*/-])|\+(?!\s*\d)|\s+or\s+(?:more|less|fewer|so)\b"
    r"|\s+and\s+(?:a|an|one|two|three)\s+\w+ths?\b"
    r"|\s+point\s+\w+|\s+(?:squared|cubed)\b|\s?‰|\s?\\?(?:sqrt|pi)\b|\s?√|\s*±)"
    r"|(?P<half>\s+and\s+(?:a|one)\s+(?P<part>half|quarter|third))"
    r"|(?P<percent>\s?%|\s+per\s?cent\b|\s+pct\b)"
    rf"|\s?(?P<scale>(?:{'|'.join(word for word in SCALES if len(word) > 2)})\b|(?:k|bn)\b|[百千万萬億亿])"
    rf"|(?P<unit>{UNIT})"
    r"|(?P<ordinal>(?:st|nd|rd|th)\b|\s+of\s+(?:them|us|you|these|those)\b)|(?P<glued>[a-z_\u0370-\u03ff]|\)?\()",
    re.IGNORECASE,
)
LONGEST = 1000
"""Figures of the longest number that is read."""
NEAR = 60
"""Signs before a value in which a word may say what it is."""
_PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3)}
_COMPARED = re.compile(
    r"(?:\b(?:more|less|greater|fewer|larger|smaller|bigger|higher|lower|rather|older|younger|other)\s+than"
    r"|\bat\s+(?:least|most)"
    r"|\bover|\bunder|\babove|\bbelow|\bup\s+to|\bnearly|\balmost|\bbetween|\b(?:minimum|maximum)\s+of"
    r"|[<>≤≥±]=?)\s*[$€£¥]?$"
    r"|(?:\b(?:half|twice|double|triple|square|cube|root|opposite|inverse|reciprocal|multiples?|factors?|digits?"
    r"|log|ln|sin|cos|tan"
    r"|sqrt|near|close\s+to)|√|-\s*\()\s*(?:of\s+)?(?:the\s+)?(?:\[\d\])?[({]*\s*$",
    re.IGNORECASE,
)
_OF_MORE = re.compile(r"(?:\d ?[a-z]|[a-z] ?\^ ?\d+|\b[a-z] ?[-+*/] ?\d+|\d ?[-+*/] ?[a-z])\s*=\s*$", re.IGNORECASE)
"""What is equal to a number and is no name of it: 2x, x^2, x - 5."""
_LABEL = re.compile(
    r"\b(?:pages?|sections?|chapter|question|problem|step|line|figure|fig\.|table|case|part|option|no\.|exercise"
    r"|equation"
    r"|example|version|v)\s*$",
    re.IGNORECASE,
)
_ONE_IS_A_NUMBER = re.compile(r"(?:^|[=:]|\b(?:is|or|not|be|equals|makes|gives|are)|answer|⟦|\*)\s*$", re.IGNORECASE)
_LATEX = (
    (re.compile(r"~~.*?~~", re.DOTALL), " "),
    (re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"), r" ⟦\1⟧ "),
    (re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r" \1/\2"),
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|textit|mbox)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\{,\}|\\!"), ""),
    (re.compile(r"\\(?:times|cdot)"), " × "),
    (re.compile(r"\\neq?\b"), " ≠ "),
    (re.compile(r"\\(?:approx|sim)\b"), " ≈ "),
    (re.compile(r"\\(?:leq?|geq?|pm|lt|gt)\b"), " ± "),
    (re.compile(r"\\(?:quad|left|right|[,;: ()\[\]])"), " "),
    (re.compile(r"\\([%$#])"), r"\1"),
    (re.compile(r"\$(?!\s?\d)|(?<=[\w}⟧.])\$"), " "),
    (re.compile(r"\*\*|__|`|(?<![\w*)\s])\*|(?<![\w*)])\*(?=\S)"), ""),
    (
        re.compile(r"(?:^|\n)\s*(?:step|case|part|equation|figure|problem|question|exercise)\s+\d+\b", re.IGNORECASE),
        "\n",
    ),
    (re.compile(r"(:|\bis|=)[ \t]*\n\s*"), r"\1 "),
)
_LISTED = re.compile(r"^[ \t]*(\d{1,2})[.)][ \t]+(?=\S)", re.MULTILINE)


def number(
    column: str = "answer",
    tolerance: float = 0.0,
    relative: float = 0.0,
    decimal: str = ".",
    percent: bool = False,
) -> Verifier[list[Fraction]]:
    """1 where the number that the answer means in the end is the gold number, or one of a list.

    They may differ by `tolerance`, or by `relative` times the gold's size. `decimal`: the sign before decimals, `.` or
    `,`; the other one groups thousands. `percent`: `12%` is 12; otherwise it is 0.12. A gold text is a number alone,
    with a currency's or a percent sign, or what follows its last `####`. Raises SettingsError for a tolerance below 0.
    """
    if tolerance < 0 or relative < 0 or decimal not in (".", ","):
        raise SettingsError(
            f"tolerance {tolerance}, relative {relative}, decimal {decimal!r}; wanted two not below 0, and . or ,"
        )

    def gold(row: Mapping[str, Any]) -> list[Fraction]:
        golds = [alone(text.rpartition("####")[2], decimal, percent) for text in texts(row, column)]
        if None in golds:
            raise UnusableRow(f"{column} is not a number alone")
        return [value for value in golds if value is not None]

    def worth(golds: list[Fraction], answer: str) -> float:
        text = readable(answer, decimal)
        said = meant(text, numbers(text, percent))
        if not isinstance(said, Fraction):
            return 0.0
        room = Fraction(tolerance)
        return float(any(abs(said - value) <= max(room, Fraction(relative) * abs(value)) for value in golds))

    return Verifier("verify:number", (column,), gold, worth)


def alone(text: str, decimal: str = ".", percent: bool = False) -> Fraction | None:
    """The number that a text is, and nothing but it; None where it is more or less than that."""
    text = readable(text, decimal).strip().rstrip(".").strip("⟦⟧ ")
    found = numbers(text, percent)
    whole = len(found) == 1 and found[0].start <= 0 and found[0].end >= len(text)
    value = found[0].value if whole else None
    return value if isinstance(value, Fraction) else None


def readable(answer: str, decimal: str = ".") -> str:
    """An answer without LaTeX, Markdown and the numbers of a list's lines, where numbers can be read."""
    text = answer if decimal == "." else answer.translate(str.maketrans(".,", ",."))
    text = plain(text if decimal == "." else re.sub(r",(?!\d)", ".", text))
    for pattern, by in _LATEX:
        text = pattern.sub(by, text)
    listed = [int(n) for n in _LISTED.findall(text)]
    return _LISTED.sub("", text) if len(listed) > 1 and listed == list(range(1, len(listed) + 1)) else text


def numbers(text: str, percent: bool = False) -> list[Mention]:
    """The numbers of a text, in figures of any script and in English words.

    None is the value of a bound, a power, a date, a time, a box without a number.
    """
    found = list(_numbers(text, percent))
    boxes = [box for box in re.finditer("⟦[^⟦⟧]*⟧", text) if not any(box.start() < m.start < box.end() for m in found)]
    return sorted(found + [Mention(box.start() + 1, box.end() - 1, None) for box in boxes], key=lambda m: m.start)


def _numbers(text: str, percent: bool) -> Iterator[Mention]:
    place = 0
    while found := _NUMBER.search(text, place):
        place = max(found.end(), place + 1)
        lead = text[max(0, found.start() - NEAR) : found.start()]
        if found["word"]:
            value = _of_words(found["word"])
            if value is None or (found["word"].lower() == "one" and not _ONE_IS_A_NUMBER.search(lead)):
                continue
            value = -value if found["below"] else value
        elif found["composite"]:
            yield Mention(found.start(), found.end(), None)
            continue
        else:
            if re.search(r"[A-Za-z_]-?$", lead + found["sign"].strip()) and not re.match(r"[mn]", found["sign"], re.I):
                continue
            value = _of_figures(found)
        after = _AFTER.match(text, found.end())
        end = found.end()
        if (after and after["ordinal"]) or _LABEL.search(lead):
            continue
        if after:
            end = after.end()
        if (
            value is None
            or (after and (after["opaque"] or after["glued"]))
            or _COMPARED.search(lead)
            or _OF_MORE.search(lead)
            or (found["sign"] and "±" in found["sign"])
        ):
            yield Mention(found.start(), end, None)
            place = max(place, end)
            continue
        if after and after["half"]:
            value += _PARTS[after["part"].lower()]
        elif after and after["scale"]:
            value *= SCALES[after["scale"].lower()]
        elif after and after["percent"] and not percent:
            value /= 100
        yield Mention(found.start(), end, value)
        place = max(place, end)


def _of_figures(found: re.Match[str]) -> Fraction | None:
    figures = found["number"]
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:[ ']\d{3})+,\d+", figures):
        figures = figures.replace(".", "").replace(",", ".")
    elif figures.count(".") > 1:
        figures = figures.replace(".", "")
    exponents = [found["tail"][1:] or "0", re.sub(r"[^\d+-]", "", re.split(r"\^|\*\*", found["power"])[-1]) or "0"]
    if max(map(len, (figures, found["over"]))) > LONGEST or any(len(exponent) > 4 for exponent in exponents):
        return None
    value = Fraction(re.sub(r"[ ',]", "", figures)) * Fraction(10) ** sum(map(int, exponents))
    if found["over"]:
        whole, _, below = found["over"].replace(" ", "\0", found["over"][0] == " ").partition("/")
        above = whole.strip("\0 ")
        if int(below) == 0:
            return None
        value = value + Fraction(int(above), int(below)) if above else value / int(below)
    return -value if re.search(r"-|minus|negative", found["sign"], re.IGNORECASE) else value


def _of_words(words: str) -> Fraction | None:
    """The number that English words spell; None where they spell none, or two in a row."""
    total, part, last = 0, 0, 10**18
    for word in re.findall(r"[a-z]+", words.lower()):
        if word == "a":
            part, last = 1, 1
        elif word in SMALL:
            size = SMALL[word]
            if part and not (last >= 100 or (last >= 20 and size < 10 and size)):
                return None
            part, last = part + size, size or 1
        elif word in SCALES:
            if SCALES[word] <= 100:
                part = max(part, 1) * SCALES[word]
            else:
                total, part = total + max(part, 1) * SCALES[word], 0
            last = SCALES[word]
    return Fraction(total + part)
