"""The twelve cells of the grid: two prompters, two frozen models, three data sets; each an ordinary run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

from alignpro import config
from alignpro.config import Settings, TrainSettings
from alignpro.errors import UsageError
from alignpro.evaluate import arms
from alignpro.studies.paper.published import DATA, FROZEN, PROMPTERS, WINS

GridSize = Literal["tiny", "small", "full"]
FOLDERS: dict[GridSize, str] = {"tiny": "paper/tiny", "small": "paper/small", "full": "paper"}
"""Where a grid's recipes are."""
NOTES: dict[str, str] = {
    "tiny": "stand-ins: they say nothing of the paper's numbers",
    "small": "in miniature: one small model in the place of all",
}
"""What is said beside figures of a grid whose models are not the paper's."""
ARMS = ("no_prompter", "align_pro", "rlhf")
"""The configurations of 7.1, in its order: no fine-tuning, Align-Pro, RLHF."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One experiment, and the settings that it is run with."""

    prompter: str
    frozen: str
    data: str
    settings: Settings

    @property
    def name(self) -> str:
        """Also its folder's."""
        return f"{self.prompter}-{self.frozen}-{self.data}"

    @property
    def published(self) -> tuple[int, int]:
        """Percent won and lost by Align-Pro in the paper's Table 1."""
        return WINS[self.prompter, self.frozen, self.data]

    def shares_oracle(self, other: Cell) -> bool:
        """Whether fine-tuning the frozen model is one and the same training in both cells."""
        mine, others = (
            {key: getattr(cell.settings, key) for key in ("seed", "threads", "device", "dtype", "frozen", "reward")}
            | {"data": cell.settings.data, "rlhf": cell.settings.rlhf}
            for cell in (self, other)
        )
        return mine == others

    def actions(self, with_oracle: bool) -> int:
        """Texts sampled for training: rewrites of the prompter, and answers of the oracle where it is trained here."""
        settings = self.settings
        return _actions(settings.train) + (_actions(settings.rlhf) if with_oracle and settings.rlhf.enabled else 0)


def cells(
    scale: GridSize, pattern: str = "*", overrides: Sequence[str] = (), places: Mapping[str, str] | None = None
) -> list[Cell]:
    """Cells whose name fits `pattern` (shell wildcards, several by commas), every one's settings resolved.

    `places` says of data sets, by their names in the grid, where they are. Cells of the first
    prompter come first: they train the oracles that the second prompter's cells share. Raises UsageError where none
    fits and for a data set that is not the grid's, SettingsError for an override that is wrong.
    """
    wanted = [part.strip() for part in pattern.split(",")]
    small = scale == "small"
    names = [(p, f, d) for p in PROMPTERS for d in DATA for f in FROZEN if not small or (p, f) == ("p1", "f1")]
    chosen = [one for one in names if any(fnmatch("-".join(one), part) for part in wanted)]
    if not chosen:
        raise UsageError(
            f"--cells {pattern!r} fits none of the grid's cells; there are {', '.join(map('-'.join, names))}"
        )
    given = {name: [f"data.prompts={place}"] for name, place in (places or {}).items()}
    if unknown := sorted(given.keys() - DATA.keys()):
        raise UsageError(f"--data-set {unknown[0]}: the grid has no such data set; it has {', '.join(DATA)}")
    resolved = [
        Cell(*one, config.load(f"{FOLDERS[scale]}/{'-'.join(one)}", [*overrides, *given.get(one[2], [])]))
        for one in chosen
    ]
    for cell in resolved:
        arms.check(cell.settings)
        if missing := {"no_prompter", "align_pro"} - set(cell.settings.evaluate.arms):
            raise UsageError(f"evaluate.arms lacks {' and '.join(sorted(missing))}, which Table 1 compares; add them")
    return resolved


def _actions(settings: TrainSettings) -> int:
    return settings.steps * settings.prompts_per_step * settings.rewrites
