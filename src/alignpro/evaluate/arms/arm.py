"""What every arm of a comparison says of itself."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from alignpro.config import EvaluateSettings, Settings
from alignpro.types import FloatArray, FrozenModel, Generation, Prompter

if TYPE_CHECKING:  # an arm is named and described where torch is not wanted
    from alignpro.evaluate.models import Models

Rows = Sequence[Sequence[Generation]]


class Arm(ABC):
    """A way of answering prompts that a comparison sets beside others.

    A new one is a class in a file of its own and a line in `alignpro.evaluate.arms.ARMS`; it says at least how it is
    written, what it is called and means, and which prompter it has.
    """

    written: ClassVar[str]
    """Its name in settings and files; N at the end stands for a whole number above 0, the arm's `number`."""
    role: ClassVar[Literal["baseline", "subject", "rival"]] = "rival"
    """Everything is set against a baseline, and the subject against its rivals too."""
    rewrites: ClassVar[bool] = True
    """Whether a model answers anything but the prompt as it is."""
    trained: ClassVar[bool] = False
    """Whether it is there only once a prompter is trained."""
    kl_against: ClassVar[Literal["reference prompter", "frozen model"] | None] = None
    """The policy to which its KL is measured; None where it has no KL."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    @property
    def name(self) -> str:
        return self.written.removesuffix("N") + str(self.number) if self.written.endswith("_N") else self.written

    @property
    @abstractmethod
    def label(self) -> str:
        """What tables and figures of the report call it, in 18 characters at most."""

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What it is, in a line."""

    @abstractmethod
    def prompter(self, models: Models, settings: Settings) -> Prompter:
        """What turns x into x'."""

    def model(self, models: Models) -> FrozenModel:
        """What answers x'."""
        return models.frozen

    def kl(self, models: Models, prompter: Prompter, rewrites: Rows, responses: Rows) -> FloatArray | None:
        """Each sample's log ratio [B, K] to `kl_against` in nats (k1, (E4)), nan where a sample has none; None where
        the arm has none. `prompter` is the one that drew `rewrites`."""
        if self.kl_against == "reference prompter":
            return models.kl_to_reference(rewrites)
        return models.kl_to_frozen(responses) if self.kl_against == "frozen model" else None

    def extra_calls(self, settings: EvaluateSettings) -> int:
        """Answers of the frozen model that a sample costs beside its own."""
        return 0

    def beforehand(self, settings: Settings, training_prompts: int) -> int:
        """Answers of the frozen model that are asked once, before any sample, where there are so many training
        prompts."""
        return 0

    def unfit(self, settings: Settings) -> str | None:
        """Why a run by these settings cannot have it, and what to do; None where it can."""
        return None

    @classmethod
    def parse(cls, name: str) -> Arm | None:
        """The arm of this class that has the name, if any."""
        if not cls.written.endswith("_N"):
            return cls() if name == cls.written else None
        numbered = re.fullmatch(re.escape(cls.written.removesuffix("N")) + r"([1-9][0-9]*)", name)
        return cls(int(numbered[1])) if numbered else None

    @classmethod
    def meant(cls, name: str, settings: Settings) -> Sequence[Arm]:
        """Arms of this class for which a name in the settings stands."""
        arm = cls.parse(name)
        return [arm] if arm else []

    @classmethod
    def implied(cls, settings: Settings) -> Sequence[Arm]:
        """Arms of this class that are compared whether the settings name them or not."""
        return ()
