"""What validation prompts decide of a training: whether it stops early, and which of its weights are the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignpro.config import TrainSettings
from alignpro.models.sharding import like
from alignpro.runtime import files

FILE = "validation.jsonl"


@dataclass(frozen=True)
class Monitor:
    """A look at the validation prompts before the first step, after every `every` steps and after the last; 0: none.

    `look` gives what is told of it at a step: `objective`, nan where there is none, and other figures.
    """

    every: int
    look: Callable[[int], Mapping[str, float]]

    def due(self, step: int, last: int) -> bool:
        """Whether to look after `step`."""
        return bool(self.every) and (step % self.every == 0 or step == last)


class Average:
    """A moving average of a model's trained weights: less of the last steps' noise in what training gives.

    After each step, average = keep * average + (1 - keep) * weights; early on with less of keep, so that the weights
    it began with do not linger. With keep 0 the weights themselves are the result.
    """

    def __init__(self, model: torch.nn.Module, keep: float) -> None:
        self._model, self._keep = model, keep
        self.weights = {name: p.detach().float().clone() for name, p in _trained(model)} if keep else {}

    def after_step(self, step: int) -> None:
        """Take in the weights after `step`, from 1."""
        keep = min(self._keep, step / (step + 9))
        for name, weight in _trained(self._model):
            if name in self.weights:
                self.weights[name].lerp_(weight.detach().float(), 1 - keep)

    def take(self) -> None:
        """Put the average into the model."""
        put_into(self._model, self.weights)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """With the average in the model inside, and its own weights again to the last bit afterwards."""
        own = {name: p.detach().clone() for name, p in _trained(self._model) if name in self.weights}
        self.take()
        try:
            yield
        finally:
            put_into(self._model, own)


class Validation:
    """Looks in the course of a training, each a row of validation.jsonl in `folder`, and what follows from them."""

    def __init__(
        self,
        monitor: Monitor | None,
        model: torch.nn.Module,
        average: Average,
        settings: TrainSettings,
        folder: Path,
    ) -> None:
        self._monitor, self._model, self._average = monitor, model, average
        self._settings, self._path = settings, folder / FILE
        self.best_step: int | None = None
        self._best, self._since = -math.inf, 0
        self._weights: dict[str, Tensor] = {}

    @property
    def over(self) -> bool:
        """Whether so many looks were no better that training stops."""
        patience = self._settings.patience
        return patience is not None and self._since >= patience

    def begin(self, step: int) -> None:
        """Look, where `step`, from which training goes on, is before the first."""
        if step == 0 and self._settings.steps:
            self.after(0)

    def after(self, step: int) -> None:
        """Look where it is due after `step`, at the weights that would be the result."""
        if self._monitor is None or not self._monitor.due(step, self._settings.steps):
            return
        with self._average.shown():
            figures = self._monitor.look(step)
            objective = figures["objective"]
            if better := objective > self._best:
                self.best_step, self._best = step, objective
                if self._settings.take == "best":
                    self._weights = {name: p.detach().clone() for name, p in _trained(self._model)}
        self._since = 0 if better else self._since + 1
        files.append_jsonl(self._path, [{"step": step, **figures}], checked=True)

    def take(self) -> int | None:
        """Put the result into the model; the step of its weights where those are the best."""
        if not self._weights:
            self._average.take()
            return None
        put_into(self._model, self._weights)
        return self.best_step

    def state(self) -> dict[str, Any]:
        """What `load_state` takes."""
        return {"step": self.best_step, "best": self._best, "since": self._since, "weights": self._weights}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """As it was when `state` was taken."""
        self.best_step, self._best, self._since = state["step"], state["best"], state["since"]
        own = dict(_trained(self._model))
        self._weights = {n: like(saved.to(own[n].device), own[n].detach()) for n, saved in state["weights"].items()}


@torch.no_grad()
def put_into(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put trained weights into their model."""
    for name, weight in _trained(model):
        if name in weights:
            weight.copy_(weights[name])


def _trained(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)
