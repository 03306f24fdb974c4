"""One look for each arm, the same in every figure and table: name, meaning, colour, marker.

Colours are tokens with a value for light and one for dark paper. The hues follow the palette of Okabe and Ito,
which readers with any colour vision tell apart, darkened or lightened until they reach 3:1 against their paper;
markers repeat the difference in shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alignpro.evaluate.arms import AlignPro, Arm, Gibbs, NoPrompter, ReferencePrompter, Rlhf, known, place

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

    @property
    def shape(self) -> tuple[str, str]:
        """Token and marker."""
        return self.token, self.marker


Looks = Mapping[str, Look]

LONGEST_LABEL = 18

_SHAPES = {
    NoPrompter: ("no-prompter", "o", "●"),
    ReferencePrompter: ("reference", "s", "■"),
    AlignPro: ("align-pro", "D", "◆"),
    Gibbs: ("gibbs", "^", "▲"),
    Rlhf: ("rlhf", "v", "▼"),
}
"""Token, marker and glyph of the arms that have their own, the first of a kind alone."""
# Characters that fonts draw as text, never as an emoji.
_OTHERS = (("other-1", "*", "★"), ("other-2", "h", "⬢"), ("other-3", "<", "◂"), ("other-4", ">", "▸"))


def looks(arms: Iterable[str]) -> Looks:
    """The look of each arm, in the order in which all figures and tables show them."""
    shown: dict[str, Look] = {}
    taken: set[type[Arm]] = set()
    others = 0
    for name in sorted(set(arms), key=place):
        arm = known(name)
        if arm and type(arm) in _SHAPES and type(arm) not in taken:
            taken.add(type(arm))
            shape = _SHAPES[type(arm)]
        else:
            shape = _OTHERS[others % len(_OTHERS)]
            others += 1
        label = arm.label if arm else name
        label = label if len(label) <= LONGEST_LABEL else f"{label[:LONGEST_LABEL]}…"
        meaning = arm.meaning if arm else f"an arm that this report does not know: {name}"
        shown[name] = Look(name, label, *shape, meaning)
    return shown
