"""Rewards as Python functions, classes or instances, named `python:module:name`."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from alignpro.errors import SettingsError
from alignpro.runtime import processes
from alignpro.types import RewardResult

ScoreFunction = Callable[[Sequence[str], Sequence[str]], Sequence[float | None]]


@dataclass(frozen=True)
class FunctionReward:
    """r(x, y) by a function of (prompts, responses), both lists of text of one length, that gives one number a pair.

    A pair whose score is None, not a finite number, or missing is masked with a reason. Where the function raises, or
    gives the wrong number of scores, it is asked again pair by pair, so that one bad pair does not cost the others.
    Several processes each ask it for their share of the pairs.
    """

    name: str
    function: ScoreFunction

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> RewardResult:
        read = processes.spread(list(zip(prompts, responses, strict=True)), self._read)
        values = np.array([value for value, _ in read], dtype=np.float64)
        return RewardResult(values, tuple(reason for _, reason in read))

    def _read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, str | None]]:
        try:
            scores: Any = self.function([x for x, _ in pairs], [y for _, y in pairs])
            whole = len(scores) == len(pairs)
        except Exception:
            # Counted below: each pair is tried by itself and keeps its own reason.
            whole = False
        return [_number(s) for s in scores] if whole else [self._one(x, y) for x, y in pairs]

    def _one(self, prompt: str, response: str) -> tuple[float, str | None]:
        try:
            scores = self.function([prompt], [response])
            if len(scores) != 1:
                return math.nan, f"reward gave {len(scores)} scores for 1 pair"
        except Exception as error:
            return math.nan, f"reward raised {type(error).__name__}: {str(error)[:80]}"
        return _number(scores[0])


def _number(score: Any) -> tuple[float, str | None]:
    if score is None:
        return math.nan, "reward gave None"
    try:
        value = float(score)
    except (TypeError, ValueError):
        return math.nan, f"reward gave {type(score).__name__}, not a number"
    return (value, None) if math.isfinite(value) else (math.nan, f"reward gave {value}")


def load_function(spec: str, setting: str, arguments: Mapping[str, Any] | None = None) -> FunctionReward:
    """The reward named `python:module:name`; the working folder is searched too. Raises SettingsError.

    `arguments` are keyword arguments: of each call of a function, of the making of a class.
    """
    _, _, rest = spec.partition(":")
    module_name, colon, name = rest.partition(":")
    if not colon or not module_name or not name:
        raise SettingsError(f"{setting} {spec!r} is not of the form python:module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SettingsError(
            f"{setting} {spec}: importing {module_name} failed ({type(error).__name__}: {error})"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise SettingsError(f"{setting} {spec}: {module_name} has no function {name!r}; it has {known or 'none'}")
    return FunctionReward(f"{module_name}:{name}", _with_arguments(function, spec, setting, arguments or {}))


def _with_arguments(function: Any, spec: str, setting: str, arguments: Mapping[str, Any]) -> ScoreFunction:
    if isinstance(function, type):
        try:
            made: Any = function(**arguments)
        except Exception as error:
            raise SettingsError(
                f"{setting} {spec}: making it from arguments {dict(arguments)} failed ({type(error).__name__}: {error})"
            ) from error
        if not callable(made):
            raise SettingsError(f"{setting} {spec}: the class has no __call__ that takes (prompts, responses)")
        return cast(ScoreFunction, made)
    try:
        inspect.signature(function).bind([], [], **arguments)
    except TypeError as error:
        raise SettingsError(f"{setting} {spec}: it cannot be called so ({error})") from error
    except ValueError:
        pass  # what is written in C need not tell its signature
    return cast(ScoreFunction, partial(function, **arguments) if arguments else function)
