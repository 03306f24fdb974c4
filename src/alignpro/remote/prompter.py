"""A prompter behind OpenAI-compatible URLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignpro.config import META_PROMPT, OtherPrompterSettings
from alignpro.models.framing import Frame
from alignpro.models.written import as_rewrite
from alignpro.remote.frozen import EndpointModel
from alignpro.types import Generation, Prompt, Seed


@dataclass(frozen=True)
class EndpointPrompter:
    """A model behind a URL that rewrites: it is asked in its frame, and x' is read out of what came."""

    model: EndpointModel

    @property
    def name(self) -> str:
        return self.model.name

    def rewrite(self, prompts: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        """`n` rewrites of each prompt; one that cannot be had or read carries its `failure`.

        Raises as `EndpointModel.respond`.
        """
        asked = [x.asking(x.text) for x in prompts]
        if isinstance(seed, int):
            rows = self.model.respond(asked, [n] * len(asked), seed)
        else:
            with self.model.asking() as questions:
                coming = [questions.ask([x], [n], own) for x, own in zip(asked, seed, strict=True)]
                rows = [one.result()[0] for one in coming]
        return [[as_rewrite(g) for g in row] for row in rows]


def frame_of(settings: OtherPrompterSettings, where: str | None = None) -> Frame:
    """The frame of a prompter behind a URL, one of evaluate.prompters or set `where`. Raises SettingsError where it
    would lose the prompt."""
    template = META_PROMPT if settings.template is None else settings.template
    where = where or f"evaluate.prompters {settings.name}"
    return Frame.of(template, settings.system, where, True, settings.examples, settings.thoughts)
