"""The trained prompter in three lines of Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignpro.assemble import load_trained
from alignpro.config import Settings
from alignpro.errors import RunFailure, UsageError
from alignpro.folder import RunFolder
from alignpro.models.local import LocalFrozenModel, LocalPrompter, device_of, load_frozen


@dataclass
class TrainedPrompter:
    """A run's prompter, ready to rewrite; its frozen model is loaded when first asked."""

    settings: Settings
    prompter: LocalPrompter
    _frozen: LocalFrozenModel | None = None

    @classmethod
    def load(cls, run: str | Path) -> TrainedPrompter:
        """From the folder of a run. Raises UsageError where it holds no trained prompter."""
        folder = RunFolder(Path(run))
        settings = folder.settings()
        if not folder.trained:
            raise UsageError(f"{run} holds no trained prompter yet; finish it by `alignpro run --resume --out {run}`")
        return cls(settings, load_trained(settings, folder.prompter))

    def rewrite(self, prompt: str, n: int = 1, seed: int = 0) -> list[str]:
        """`n` rewrites x' of one prompt. A rewrite that cannot be read is replaced by the prompt itself.

        Raises PromptTooLong where the prompt does not fit the prompter's context.
        """
        self.prompter.lm.queries([prompt])
        return [prompt if g.failure else g.text for g in self.prompter.rewrite([prompt], n, seed)[0]]

    def answer(self, prompt: str, seed: int = 0) -> str:
        """The frozen model's answer to a prompt, rewritten or not."""
        if self._frozen is None:
            self._frozen = load_frozen(self.settings.frozen, device_of(self.settings.device), self.settings.dtype)
        generation = self._frozen.respond([prompt], [1], seed)[0][0]
        if generation.failure:
            raise RunFailure(generation.failure)
        return generation.text
