"""The arms that there are, and the one place that reads their names. No torch here.

Settings hold an arm's name as text; they stand below the arms, so `check` says what is wrong with one where a run's
settings are checked, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.config import TEMPLATE, Settings
from alignpro.data.templates import Template, read_templates
from alignpro.errors import SettingsError
from alignpro.evaluate.arms.align_pro import AlignPro
from alignpro.evaluate.arms.arm import Arm
from alignpro.evaluate.arms.chain_pass import ChainPass
from alignpro.evaluate.arms.gibbs import Gibbs
from alignpro.evaluate.arms.no_prompter import NoPrompter
from alignpro.evaluate.arms.other_prompter import OtherPrompter
from alignpro.evaluate.arms.reference_prompter import ReferencePrompter
from alignpro.evaluate.arms.rlhf import Rlhf
from alignpro.evaluate.arms.template import BestTemplate, OneTemplate

ARMS: tuple[type[Arm], ...] = (
    NoPrompter,
    ReferencePrompter,
    AlignPro,
    Gibbs,
    Rlhf,
    ChainPass,
    BestTemplate,
    OneTemplate,
    OtherPrompter,
)
"""In the order in which tables and figures show them."""

__all__ = [
    "ARMS",
    "AlignPro",
    "Arm",
    "BestTemplate",
    "ChainPass",
    "Gibbs",
    "NoPrompter",
    "OneTemplate",
    "OtherPrompter",
    "ReferencePrompter",
    "Rlhf",
]


def known(name: str) -> Arm | None:
    """The arm of this name, or None where there is none, as in the folder of a run by other code."""
    return next((arm for kind in ARMS if (arm := kind.parse(name))), None)


def place(name: str) -> tuple[int, int, str]:
    """What to sort names by, so that arms stand in the order of ARMS; what is unknown stands last."""
    arm = known(name)
    return (ARMS.index(type(arm)), arm.number, name) if arm else (len(ARMS), 0, name)


def parse(name: str) -> Arm:
    """The arm of this name. Raises SettingsError."""
    arm = known(name)
    if arm is None:
        raise SettingsError(
            f"evaluate.arms: unknown arm {name!r}; there are {', '.join(kind.written for kind in ARMS)}"
        )
    return arm


def compared(settings: Settings) -> list[Arm]:
    """The arms of a comparison: those that the settings name, then those that come by themselves, none twice.

    Raises as `check`.
    """
    meant = [arm for name in settings.evaluate.arms for arm in _meant(name, settings)]
    arms = list({arm.name: arm for arm in meant}.values())
    for arm in arms:
        if why := arm.unfit(settings):
            rest = ", ".join(other.name for other in arms if not other.unfit(settings))
            without = f", or leave it out: --evaluate.arms='[{rest}]'" if rest else ""
            raise SettingsError(f"evaluate.arms names {arm.name}, {why}{without}")
    named = {arm.name for arm in arms}
    return arms + [arm for kind in ARMS for arm in kind.implied(settings) if arm.name not in named]


def templates(settings: Settings) -> tuple[Template, ...]:
    """The templates of which the arms that the settings name are made; none where no arm is of templates.

    Raises DataError.
    """
    of_templates = any(isinstance(known(name), OneTemplate | BestTemplate) for name in settings.evaluate.arms)
    of_file = any(name.startswith(TEMPLATE) for name in settings.evaluate.arms)
    return read_templates(settings.evaluate.templates_file) if of_templates or of_file else ()


def check(settings: Settings) -> None:
    """Raise SettingsError where an arm is unknown, or is none that a run by these settings can have, and DataError
    where a file of templates cannot be used."""
    compared(settings)


def _meant(name: str, settings: Settings) -> Sequence[Arm]:
    """The arms that a name in the settings stands for, one but of a file of templates. Raises as `parse`."""
    return next((found for kind in ARMS if (found := kind.meant(name, settings))), None) or [parse(name)]
