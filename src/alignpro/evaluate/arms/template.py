"""Fixed sentences around every prompt: each of a file's, and the one that was best on training prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignpro.config import TEMPLATE, Settings
from alignpro.data.templates import read_templates
from alignpro.evaluate.arms.arm import Arm
from alignpro.flow.prompters import TemplatePrompter
from alignpro.types import Prompter

if TYPE_CHECKING:
    from alignpro.evaluate.models import Models


class OneTemplate(Arm):
    """The template of this number; `template:FILE` stands for each of a file's, the bare prompt aside."""

    written = "template_N"

    @property
    def label(self) -> str:
        return f"Template {self.number}"

    @property
    def meaning(self) -> str:
        return f"template {self.number} of a file around every prompt; no training"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        return TemplatePrompter(read_templates(settings.evaluate.templates_file)[self.number])

    def unfit(self, settings: Settings) -> str | None:
        file = settings.evaluate.templates_file
        last = read_templates(file)[-1].number
        return None if self.number <= last else f"but evaluate.templates {file} holds {last} beside the bare prompt"

    @classmethod
    def meant(cls, name: str, settings: Settings) -> Sequence[Arm]:
        if name != f"{TEMPLATE}{settings.evaluate.templates_file}":
            return super().meant(name, settings)
        return [cls(template.number) for template in read_templates(settings.evaluate.templates_file)[1:]]


class BestTemplate(Arm):
    """The template whose rewards are highest on training prompts, the bare prompt among them."""

    written = "template_best"
    label = "Best template"
    meaning = "one template around every prompt, chosen on training prompts; no training"

    def prompter(self, models: Models, settings: Settings) -> Prompter:
        if models.best_template is None:
            raise ValueError(f"no template was chosen for arm {self.name}")
        return models.best_template

    def beforehand(self, settings: Settings, training_prompts: int) -> int:
        own = settings.evaluate
        cells = min(own.template_prompts, training_prompts) * len(read_templates(own.templates_file))
        return cells * own.template_responses

    @classmethod
    def parse(cls, name: str) -> Arm | None:
        return super().parse(cls.written if name == f"{TEMPLATE}best" else name)
