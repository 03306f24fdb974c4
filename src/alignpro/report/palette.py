"""One look for each arm, the same in every figure and table: name, meaning, colour, marker.

Colours are tokens with a value for light and one for dark paper. The hues follow the palette of Okabe and Ito,
which readers with any colour vision tell apart, darkened or lightened until they reach 3:1 against their paper;
markers repeat the difference in shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TOKENS: Mapping[str, tuple[str, str]] = {
    "paper": ("#f7f6f2", "#121418"),
    "panel": ("#ffffff", "#1a1d23"),
    "ink": ("#1b1d22", "#eceef1"),
    "muted": ("#5a6069", "#a3a9b4"),
    "line": ("#dddad2", "#363b45"),
    "no-prompter": ("#6a717c", "#a0a8b4"),
    "reference": ("#a5508a", "#e495cb"),
    "align-pro": ("#0a63be", "#5cabff"),
    "gibbs": ("#00805e", "#3bc99c"),
    "rlhf": ("#b55f00", "#f2a447"),
    "other-1": ("#7a6300", "#d9c04d"),
    "other-2": ("#5b4bb5", "#ab9dff"),
    "other-3": ("#a8362f", "#f28a82"),
    "other-4": ("#1c7480", "#63c6d4"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """How an arm is shown.

    `token` is a key of TOKENS, `marker` one of matplotlib's, `glyph` the same marker in text; `meaning` says in a
    line what the arm is.
    """

    arm: str
    label: str
    token: str
    marker: str
    glyph: str
    meaning: str


Looks = Mapping[str, Look]

LONGEST_LABEL = 18

_ORDER = ("no_prompter", "reference_prompter", "align_pro", "gibbs", "rlhf")
_KNOWN = {
    look.arm: look
    for look in (
        Look(
            "no_prompter",
            "No prompter",
            "no-prompter",
            "o",
            "●",
            "the user's prompt goes to the frozen model as it is",
        ),
        Look(
            "reference_prompter",
            "Reference prompter",
            "reference",
            "s",
            "■",
            "the prompter before training rewrites the prompt",
        ),
        Look("align_pro", "Align-Pro", "align-pro", "D", "◆", "the trained prompter rewrites the prompt"),
        Look(
            "rlhf",
            "RLHF",
            "rlhf",
            "v",
            "▼",
            "no prompter: the answering model itself was fine-tuned on the same reward",
        ),
    )
}
# Characters that fonts draw as text, never as an emoji.
_OTHERS = (("other-1", "*", "★"), ("other-2", "h", "⬢"), ("other-3", "<", "◂"), ("other-4", ">", "▸"))


def looks(arms: Iterable[str]) -> Looks:
    """The look of each arm, in the order in which all figures and tables show them."""
    found: dict[str, Look] = {}
    others = 0
    for arm in sorted(set(arms), key=_place):
        if arm in _KNOWN:
            found[arm] = _KNOWN[arm]
            continue
        draws = _gibbs_draws(arm)
        if draws and all(look.token != "gibbs" for look in found.values()):
            shape = ("gibbs", "^", "▲")
        else:
            shape = _OTHERS[others % len(_OTHERS)]
            others += 1
        label = f"Gibbs, N = {draws}" if draws else arm if len(arm) <= LONGEST_LABEL else f"{arm[:LONGEST_LABEL]}…"
        drawn = f"{draws} rewrites of the reference, one drawn by its reward; no training"
        found[arm] = Look(arm, label, *shape, drawn if draws else f"an arm that this report does not know: {arm}")
    return found


def _place(arm: str) -> tuple[int, int, str]:
    draws = _gibbs_draws(arm)
    kind = "gibbs" if draws else arm
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), draws, arm)


def _gibbs_draws(arm: str) -> int:
    """N of an arm named gibbs_N, 0 of any other."""
    prefix, _, size = arm.partition("_")
    return int(size) if prefix == "gibbs" and size.isdecimal() else 0
