"""Prompters ready to use, in three lines of Python."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from alignpro import config
from alignpro.config import EndpointSettings, OtherPrompterSettings, Settings, flat
from alignpro.data.conversations import EMPTY_PROMPT
from alignpro.data.texts import blank
from alignpro.errors import (
    EndpointDown,
    EndpointUnusable,
    PromptTooLong,
    RunFailure,
    SettingsError,
    UsageError,
)
from alignpro.flow.prompters import NO_REWARD, GibbsPrompter
from alignpro.models.fingerprint import fingerprint
from alignpro.models.framing import Frame
from alignpro.models.local import TOO_LONG, LocalPrompter, load_frame
from alignpro.models.written import EMPTY_REWRITE, NO_ANSWER
from alignpro.remote.prompter import EndpointPrompter, frame_of
from alignpro.rewards.guards import Guards
from alignpro.rng import derive
from alignpro.running import exported
from alignpro.running.given import Asked, is_conversation, prompt_in, several
from alignpro.running.load import load, load_asked, prompted_by
from alignpro.runtime import ownership
from alignpro.runtime.run_folder import MAY_CHANGE, RunFolder
from alignpro.types import FrozenModel, Generation, Prompt, Prompter, RemoteModel, Seed

LANES = 64
"""Prompts that a prompter behind URLs is asked to rewrite at a time."""
NOT_ASKED = "the prompter's URL gave no answer"
"""What the failure of a rewrite begins with that could not be had of a URL."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What became of a prompt: `text` is x', or the prompt's own text where `failure` says why there is none."""

    prompt: Prompt
    text: str
    failure: str | None = None


@dataclass
class Rewriter:
    """A prompter with the settings it came with; its frozen model is loaded when first asked.

    It may be used from several threads, of which one at a time computes here, and inside a running event loop, which
    waits meanwhile.
    """

    settings: Settings
    prompter: Prompter
    passes: tuple[LocalPrompter, ...]
    frozen: FrozenModel | None = None
    came_from: tuple[Path, tuple[str, ...]] | None = field(default=None, repr=False, compare=False)
    """The folder of the run that the settings are of, and what was overridden in them."""
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.prompter.name})"

    @property
    def first(self) -> LocalPrompter:
        """The pass that reads prompts as they are asked."""
        return self.passes[0]

    @property
    def frame(self) -> Frame:
        """What stands around a prompt where the first pass reads it."""
        return self.first.lm.frame

    @property
    def guards(self) -> Guards:
        """Those of the settings: called with a prompt and its rewrite they say whether it may be sent."""
        return Guards(self.settings.guards, self.frame.template)

    @property
    def batch(self) -> int:
        """Prompts that are rewritten together."""
        return self.first.lm.batch_size

    @property
    def lanes(self) -> int:
        """Batches that may be rewritten at a time."""
        return 1

    def tokens_added(self, x: Prompt, text: str) -> int | None:
        """Tokens of a rewrite less those of its prompt; None where there is no tokenizer."""
        tokens = self.frame.tokens
        return len(tokens(text)) - len(tokens(x.text))

    def described(self) -> dict[str, Any]:
        """What decides the rewrites of a prompt and a seed: digests of the weights and frames, and how is sampled."""
        models = [one.lm for one in self.passes]
        return {
            "weights": [fingerprint(lm.model) for lm in models],
            "frames": _digest([[lm.frame.described(), lm.cut_long_prompts] for lm in models]),
            "sampling": [lm.sampling.model_dump() for lm in models],
        }

    @overload  # a text is an iterable of texts too, and the first that fits counts
    def rewrite(self, prompts: Asked, n: None = None, seed: int | None = None) -> Rewrite: ...  # type: ignore[overload-overlap]

    @overload
    def rewrite(self, prompts: Iterable[Asked], n: None = None, seed: int | None = None) -> list[Rewrite]: ...

    @overload
    def rewrite(self, prompts: Asked, n: int, seed: int | None = None) -> list[Rewrite]: ...  # type: ignore[overload-overlap]

    @overload
    def rewrite(self, prompts: Iterable[Asked], n: int, seed: int | None = None) -> list[list[Rewrite]]: ...

    def rewrite(self, prompts: Asked | Iterable[Asked], n: int | None = None, seed: int | None = None) -> Any:
        """The rewrite of one prompt, or a list of those of many, in their order; with `n` a list of so many for each.

        A prompt is a text, a `Prompt`, or messages: a list of mappings is one conversation, any other iterable is many
        prompts. What cannot be rewritten (an empty or too long prompt, a rewrite that cannot be read, candidates of
        which none has a reward) is a `Rewrite` with a `failure`, and stops nothing. Without a seed every
        call draws anew; with one a prompt gets the same rewrites whatever else is in the list, but for earlier prompts
        that equal it. Raises DataError for what is no prompt.
        """
        one = isinstance(prompts, (str, Prompt)) or is_conversation(prompts)
        asked: Iterable[Any] = [prompts] if one else several(prompts)
        xs = [prompt_in(value, number) for number, value in enumerate(asked, 1)]
        if n is not None and n < 1:
            raise UsageError(f"n is {n}; give how many rewrites of each prompt are wanted, or leave it out for one")
        rows = self._rewrites(xs, n or 1, secrets.randbits(62) if seed is None else seed)
        rewrites: list[Any] = [row[0] for row in rows] if n is None else rows
        return rewrites[0] if one else rewrites

    def answer(self, prompt: Asked | Rewrite, seed: int | None = None) -> str:
        """The frozen model's answer to a prompt, or to what became of it, x' after its system message and history.

        Raises RunFailure where it gives none, SettingsError where there is no frozen model, NotTrusted where another's
        run names one that is asked or code, DataError for what is no prompt.
        """
        if isinstance(prompt, Rewrite):
            x = prompt.prompt.asking(prompt.text)
        else:
            asked = prompt_in(prompt, 1)
            x = asked.asking(asked.text)
        with self._lock:
            if self.frozen is None:
                self.frozen = self._load_frozen()
        with contextlib.nullcontext() if isinstance(self.frozen, RemoteModel) else self._lock:
            drawn = self.frozen.respond([x], [1], secrets.randbits(62) if seed is None else seed)[0][0]
        if drawn.failure:
            raise RunFailure(drawn.failure)
        return drawn.text

    def _load_frozen(self) -> FrozenModel:
        if self.settings.frozen.model is None:
            raise SettingsError(
                "frozen.model not set: an exported prompter comes without the model it was trained for; give --frozen,"
                " or TrainedPrompter.load(FOLDER, ['frozen.model=...'])"
            )
        if self.came_from is not None:
            folder, overrides = self.came_from
            ownership.check(folder, overrides, of=("frozen.",), writes=False)
        return load(self.settings, {"frozen"}).frozen

    def _rewrites(self, xs: Sequence[Prompt], n: int, seed: int) -> list[list[Rewrite]]:
        rows = [[Rewrite(x, x.text, EMPTY_PROMPT)] * n for x in xs]
        usable = [i for i, x in enumerate(xs) if not blank(x.text)]
        if usable:
            asked = [xs[i] for i in usable]
            for i, row in zip(usable, self._drawn(asked, n, self._seeds(asked, seed)), strict=True):
                rows[i] = [self._rewrite(xs[i], g) for g in row]
        return rows

    def _drawn(self, xs: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        with self._lock:
            return self.prompter.rewrite(xs, n, seed)

    def _seeds(self, xs: Sequence[Prompt], seed: int) -> Seed:
        """A seed for each prompt: what becomes of it does not depend on the others of the list, but for the earlier
        ones that equal it."""
        times = Counter[str]()
        seeds = []
        for x in xs:
            times[x.key] += 1
            seeds.append(derive(seed, "rewrite", x.key, times[x.key]))
        return seeds

    def _rewrite(self, x: Prompt, drawn: Generation) -> Rewrite:
        failure = drawn.failure
        if failure is None:
            return Rewrite(x, drawn.text)
        if failure == TOO_LONG:
            try:
                self.first.lm.queries([x])
            except PromptTooLong as error:
                failure = f"{TOO_LONG}: {error}"
        if failure == NO_REWARD:
            failure = f"{NO_REWARD}: look at the reward and at the frozen model"
        return Rewrite(x, x.text, failure)


class TrainedPrompter(Rewriter):
    """A prompter that was trained: a run's, or one exported from it."""

    @classmethod
    def load(cls, folder: str | Path, overrides: Sequence[str] = ()) -> TrainedPrompter:
        """From the folder of a run, or one that `alignpro export` wrote, which holds the last pass alone.

        `overrides` change its settings: ["device=cpu"], or the frozen model, of which an exported folder knows none.
        Raises UsageError where there is no trained prompter, NotTrusted, and as `load_prompter`.
        """
        path = Path(folder)
        settings, own = _settings_in(path, overrides)
        pieces = load(own, {"passes", "prompter"})
        came_from = None if exported.is_exported(path) else (path, tuple(overrides))
        return cls(settings, pieces.pipeline(), pieces.prompters, None, came_from)


class AskedPrompter(Rewriter):
    """A prompter behind OpenAI-compatible URLs: another model that rewrites, or a trained one that is served elsewhere.

    It may be asked from several threads at once.
    """

    @classmethod
    def load(
        cls,
        model: str,
        overrides: Sequence[str] = (),
        folder: str | Path | None = None,
        endpoint: EndpointSettings | None = None,
    ) -> AskedPrompter:
        """`model` is openai:MODEL or http://host:8000/v1#MODEL, framed and sampled as `prompter.*` of the overrides, or
        as the prompter in a folder, a run's or an exported one, whose tokenizer must be there.

        It is asked for one token. Raises UsageError for a folder as `TrainedPrompter.load` and for a run's prompters in
        sequence, EndpointUnusable, EndpointDown, SettingsError.
        """
        if folder is None:
            settings = own = config.load("local", overrides)
        else:
            settings, own = _settings_in(Path(folder), overrides)
        if own.prompter.before:
            raise UsageError(
                f"{folder} has prompters in sequence, and a URL has one; `alignpro export` writes the last"
            )
        told = own.prompter.model_dump(include={"template", "system", "examples", "thoughts", "sampling"})
        asked = OtherPrompterSettings(name="prompter", model=model, endpoint=endpoint or EndpointSettings(), **told)
        frame = frame_of(asked, "prompter") if folder is None else load_frame("prompter", own.prompter)
        return cls(settings, load_asked(asked, frame), ())

    @property
    def frame(self) -> Frame:
        return self._asked.model.frame

    @property
    def batch(self) -> int:
        """One: others are asked beside it."""
        return 1

    @property
    def lanes(self) -> int:
        return LANES

    def tokens_added(self, x: Prompt, text: str) -> int | None:
        return super().tokens_added(x, text) if self.frame.tokenizer else None

    def described(self) -> dict[str, Any]:
        """The same, with the URL and the model's name in the place of weights that nobody here sees."""
        model = self._asked.model
        return {
            "model": [model.identity, model.name],
            "frames": _digest([model.frame.described() if self.frame.tokenizer else model.frame.messages("x")]),
            "sampling": [model.sampling.model_dump()],
        }

    @property
    def _asked(self) -> EndpointPrompter:
        assert isinstance(self.prompter, EndpointPrompter)
        return self.prompter

    def _drawn(self, xs: Sequence[Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        try:
            return self.prompter.rewrite(xs, n, seed)
        except (EndpointDown, EndpointUnusable) as error:
            return [[Generation("", failure=str(error))] * n for _ in xs]

    def _rewrite(self, x: Prompt, drawn: Generation) -> Rewrite:
        failure = drawn.failure
        if failure is None or failure in (EMPTY_REWRITE, NO_ANSWER):
            return Rewrite(x, x.text if failure else drawn.text, failure)
        return Rewrite(x, x.text, f"{NOT_ASKED}: {failure}")


class SampledPrompter(Rewriter):
    """The closed form (10) by sampling: rewrites of the reference, scored, one kept. No training, any frozen model.

    Candidates of a whole list are answered together: with a seed the same list gets the same rewrites, a prompt in
    another list others.
    """

    @classmethod
    def load(cls, settings: Settings, candidates: int = 8, best: bool = False) -> SampledPrompter:
        """With `candidates` (N) drawn for every rewrite; kept by exp(R / kl_coef), or the best one.

        Raises UsageError where a model or the reward is not set or cannot be used.
        """
        pieces = load(settings, {"frozen", "reward", "passes", "prompter", "prompt_terms"})
        sampled = GibbsPrompter(
            reference=pieces.pipeline(),
            frozen=pieces.frozen,
            reward=pieces.reward,
            candidates=candidates,
            responses=settings.evaluate.gibbs_responses,
            lam=0.0 if best else settings.train.kl.coef,
            prompt_terms=pieces.prompt_terms,
        )
        return cls(settings, sampled, pieces.prompters, pieces.frozen)

    @property
    def batch(self) -> int:
        """Prompts whose candidates are drawn together."""
        return max(1, self.first.lm.batch_size // self._sampled.candidates)

    def described(self) -> dict[str, Any]:
        """The same, with the models and the price by which one candidate is kept."""
        held = self.settings.model_dump(mode="json", include={"frozen", "reward", "prompt_terms"})
        decide = {
            key: value for key, value in flat(held).items() if not MAY_CHANGE.match(key) and key != "frozen.cache"
        }
        own = self._sampled
        price = {"candidates": own.candidates, "answers of each": own.responses, "price": own.lam}
        return super().described() | price | decide

    @property
    def _sampled(self) -> GibbsPrompter:
        assert isinstance(self.prompter, GibbsPrompter)
        return self.prompter

    def _seeds(self, xs: Sequence[Prompt], seed: int) -> Seed:
        """One for the whole list."""
        return seed


def _settings_in(folder: Path, overrides: Sequence[str]) -> tuple[Settings, Settings]:
    """The settings of a folder that holds a trained prompter, and the same with that prompter in them.

    Raises UsageError where it holds none, NotTrusted.
    """
    run = RunFolder(folder)
    if exported.is_exported(folder):
        settings = exported.settings_of(folder, overrides)
        return settings, settings
    if run.config.is_file():
        ownership.check(folder, overrides, of=("prompter.",), writes=False)
        settings = run.settings(overrides)
        run.check_trained()
        return settings, prompted_by(settings, run.prompter)
    held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) if folder.is_dir() else ""
    there = f"found {held}" if held else "it is empty" if folder.is_dir() else "there is no such folder"
    raise UsageError(
        f"{folder} holds no run (config.yaml) and no exported prompter ({exported.FILE}); {there}; give a folder that"
        " `alignpro run` or `alignpro export` wrote"
    )


def _digest(frames: Sequence[Any]) -> str:
    return hashlib.blake2b(json.dumps(frames).encode(), digest_size=16).hexdigest()
