"""Noise in the frozen model, for asking how much a prompter's gain depends on its being just so.

    temperature=1.5   drop=0.1   swap=0.1   weights=0.02   model=PATH

`drop` and `swap` are odds for each word of what the frozen model is given; `weights` is Gaussian noise in units of each
tensor's own deviation.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from alignpro.errors import SettingsError
from alignpro.models.loading import resolve
from alignpro.models.local import LocalFrozenModel
from alignpro.rng import derive
from alignpro.types import FrozenModel, Generation, Prompt, as_prompts

LADDER = ("temperature=1.5", "drop=0.1", "swap=0.1", "weights=0.05")
"""What `--noise` tries."""

Load = Callable[[str], FrozenModel]


@dataclass(frozen=True)
class NoisyInput:
    """A frozen model whose input is damaged anew for every response."""

    inner: FrozenModel
    kind: str
    odds: float

    @property
    def name(self) -> str:
        return f"{self.inner.name} with {self.kind}={self.odds:g}"

    def respond(self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` responses, each to a damaged copy of `prompts[i]` of its own."""
        rng = np.random.default_rng(derive(seed, "damage"))
        damaged = [
            prompt.asking(self._damage(prompt.text, rng))
            for prompt, count in zip(as_prompts(prompts), counts, strict=True)
            for _ in range(count)
        ]
        flat = iter(self.inner.respond(damaged, [1] * len(damaged), seed))
        return [[next(flat)[0] for _ in range(count)] for count in counts]

    def _damage(self, text: str, rng: np.random.Generator) -> str:
        pieces = re.findall(r"\S+|\s+", text)
        words = [i for i, piece in enumerate(pieces) if not piece.isspace()]
        if self.kind == "drop":
            gone = {i for i in words if rng.random() < self.odds}
            gone -= set() if len(gone) < len(words) else set(words[:1])
            gone |= {i + 1 for i in gone}  # with the space after it
            return "".join(piece for i, piece in enumerate(pieces) if i not in gone)
        for i, j in itertools.pairwise(words):
            if rng.random() < self.odds:
                pieces[i], pieces[j] = pieces[j], pieces[i]
        return "".join(pieces)


def perturbed(frozen: FrozenModel, spec: str, load: Load, seed: int) -> FrozenModel:
    """The frozen model under one kind of noise. Raises SettingsError for one that is not known or cannot be applied."""
    kind, value = parse(spec)
    if kind == "model":
        return load(str(value))
    amount = float(value)
    if kind in ("drop", "swap"):
        return NoisyInput(frozen, kind, amount)
    if not isinstance(frozen, LocalFrozenModel):
        raise SettingsError(
            f"headroom.noise {spec}: {frozen.name} is not a local model, so its {kind} cannot be changed"
        )
    if kind == "temperature":
        sampling = frozen.lm.sampling.model_copy(update={"temperature": amount})
        return LocalFrozenModel(replace(frozen.lm, sampling=sampling))
    return LocalFrozenModel(replace(frozen.lm, model=_shaken(frozen.lm.model, amount, seed)))


def check(spec: str) -> None:
    """Raise SettingsError for a kind of noise that there is not, ModelNotUsable for a model that is not there."""
    kind, value = parse(spec)
    if kind == "model":
        resolve(str(value), "frozen")


def parse(spec: str) -> tuple[str, str | float]:
    """Kind and amount of `kind=amount`. Raises SettingsError."""
    kind, _, text = spec.partition("=")
    if kind == "model" and text:
        return kind, text
    try:
        amount = float(text)
    except ValueError:
        amount = float("nan")
    if kind in ("drop", "swap") and 0 <= amount <= 1:
        return kind, amount
    if math.isfinite(amount) and ((kind == "temperature" and amount > 0) or (kind == "weights" and amount >= 0)):
        return kind, amount
    raise SettingsError(
        f"headroom.noise {spec!r} is not one of temperature=T (above 0), drop=SHARE, swap=SHARE (0 to 1),"
        " weights=SHARE, model=PATH"
    )


@torch.no_grad()
def _shaken(model: torch.nn.Module, amount: float, seed: int) -> torch.nn.Module:
    noisy = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for weight in noisy.parameters():
        if weight.is_floating_point() and weight.numel() > 1:
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            weight.add_(amount * weight.std() * noise)
    return noisy.requires_grad_(False)
