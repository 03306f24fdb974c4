"""template.json: which template is best around every prompt, and by what it was chosen."""

from __future__ import annotations

from typing import Annotated, ClassVar

from alignpro.results.base import Document, Keys, Number, Numbers, Result, RewardName, Rows, Text
from alignpro.results.estimate import UNKNOWN, Estimate
from alignpro.results.show import Table


class TriedTemplate(Result):
    """A template on training prompts: its mean reward, terms on the rewrite added, and the gain over the bare prompt,
    paired by prompt, with intervals over prompts. That of the best is too good, since it was chosen by it."""

    name: Text
    text: Text
    reward: Annotated[Estimate, Keys("mean_reward", "ci95")]
    gain: Annotated[Estimate, Keys("gain")]


class FramedTemplate(Result):
    """A template and the pairs that were made with it; its gain, where that was measured."""

    name: Text
    text: Text
    pairs: Number
    gain: Annotated[Estimate, Keys("gain")] = UNKNOWN


class FramedPairs(Document):
    """Pairs of a prompt and the prompt in a template: how many of each. `key` stands for all that they follow from."""

    again: ClassVar[str] = "delete it and its pairs, and give the same `alignpro pairs` command again"

    key: Text = ""
    file: Text
    weigh: Text
    pairs: Number
    frozen_calls: Number
    templates: Rows[FramedTemplate]

    def _table(self) -> Table:
        rows = [(row.text, [Estimate(row.pairs), row.gain]) for row in self.templates]
        return Table(f"{self.pairs} pairs", ["template", "pairs", "gain over the bare prompt"], rows)


class TemplateChoice(Document):
    """The templates of a file on training prompts, the bare prompt first, and `best`, the name of the one to use.

    `key` stands for all that the choice follows from.
    """

    again: ClassVar[str] = "delete it and evaluate the run again by `alignpro evaluate FOLDER`"

    key: Text = ""
    file: Text
    reward: RewardName
    best: Text
    prompts: Number
    responses: Number
    frozen_calls: Number
    failures: Numbers = {}
    templates: Rows[TriedTemplate]

    @property
    def chosen(self) -> TriedTemplate | None:
        """The best; None where the file does not hold it."""
        return next((row for row in self.templates if row.name == self.best), None)

    def gain_of(self, name: str) -> Estimate:
        """Gain of a template over the bare prompt on training prompts."""
        return next((row.gain for row in self.templates if row.name == name), UNKNOWN)

    def _table(self) -> Table:
        rows = [(row.text, [row.reward, row.gain]) for row in self.templates]
        title = f"{self.prompts} training prompts, {self.responses} answers each"
        return Table(title, ["template", "mean reward", "gain over the bare prompt"], rows)
