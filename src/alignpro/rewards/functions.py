"""Rewards as Python functions, classes or instances, named `python:module:name`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from alignpro.errors import SettingsError
from alignpro.models.framing import Frame
from alignpro.runtime import functions, processes
from alignpro.types import Prompt, Response, RewardResult, as_prompts, as_responses, columns_of

ScoreFunction = Callable[..., Sequence[float | None]]
"""(prompts, responses, **what it names) -> scores."""
_NO_LISTS = (Mapping, Set, str, bytes, bytearray)
"""What can be gone through, and not in the order of the pairs or not by scores."""
CONVERSATIONS, FINISH = "conversations", "finish"
"""What a function may name that is no column: the prompts with what stands before them, as messages; and whether each
answer ended by itself ("stop") or was cut off ("length")."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a function names beside prompts and responses: `columns` it must have, `optional` ones, or `every` one.

    `own` are its parameters that are given otherwise, which no column can be.
    """

    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    every: bool = False
    own: tuple[str, ...] = ()

    def given(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> dict[str, list[Any]]:
        """The keyword arguments of a call: a list for each name, as long as the prompts, None where a row lacks it."""
        held = columns_of(prompts)
        wanted = [*self.columns, *(name for name in self.optional if name in held), *(held if self.every else ())]
        made: dict[str, list[Any]] = {name: [prompt.row.get(name) for prompt in prompts] for name in wanted}
        if CONVERSATIONS in wanted:
            made[CONVERSATIONS] = [Frame().messages(prompt) for prompt in prompts]
        if FINISH in wanted:
            made[FINISH] = [response.finish for response in responses]
        return made


@dataclass(frozen=True)
class FunctionReward:
    """r(x, y) by a function of (prompts, responses), both lists of text of one length, that gives one number a pair.

    It may name columns of the data, `conversations` and `finish` (`Named`), each a list as long. A pair whose score is
    None, not a finite number, or missing is masked with a reason. Where the function raises or asks the process to
    exit, or gives the wrong number of scores or no list of them, it is asked again pair by pair, so that one bad pair
    does not cost the others. Several processes each ask
    it for their share of the pairs.
    """

    name: str
    function: ScoreFunction
    named: Named = field(default_factory=Named)

    def score(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> RewardResult:
        read = processes.spread(list(zip(as_prompts(prompts), as_responses(responses), strict=True)), self._read)
        values = np.array([value for value, _ in read], dtype=np.float64)
        return RewardResult(values, tuple(reason for _, reason in read))

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """Which of the columns it names rows lack. Raises SettingsError for one that no row has, and for a column that
        is called as a parameter of its own."""
        told, named = [], self.named
        held = columns_of(prompts)
        given = (*named.own, *(name for name in named.columns if name in (CONVERSATIONS, FINISH)))
        if taken := [name for name in given if name in held]:
            raise SettingsError(
                f"{self.name}: the data has a column {taken[0]!r}, as a parameter is called that the function is given"
                " otherwise; rename one of them"
            )
        for name in named.columns:
            if name in (CONVERSATIONS, FINISH):
                continue
            if name not in held:
                raise SettingsError(
                    f"{self.name} names {name!r}, and no row of the data has such a column; there are"
                    f" {', '.join(held) or 'none beside the prompt'}"
                )
            if lacking := sum(prompt.row.get(name) is None for prompt in prompts):
                told.append(f"{self.name} names {name!r}, which {lacking} of {len(prompts)} prompts lack: it gets None")
        count = sum(not prompt.alone for prompt in prompts)
        if count and CONVERSATIONS not in (*named.columns, *named.optional):
            told.append(
                f"{self.name} sees the last turn alone of {count} prompts; let it name {CONVERSATIONS} to see what"
                " stands before"
            )
        return told

    def _read(self, pairs: Sequence[tuple[Prompt, Response]]) -> list[tuple[float, str | None]]:
        try:
            scores = self._call(pairs)
            whole = len(scores) == len(pairs)
        except KeyboardInterrupt:
            raise
        except BaseException:  # SystemExit too: it is asked to score, not to end the run
            # Counted below: each pair is tried by itself and keeps its own reason.
            whole = False
        return [_number(s) for s in scores] if whole else [self._one(pair) for pair in pairs]

    def _one(self, pair: tuple[Prompt, Response]) -> tuple[float, str | None]:
        try:
            scores = self._call([pair])
        except KeyboardInterrupt:
            raise
        except _NoScores as error:
            return math.nan, f"reward gave {error}"
        except BaseException as error:
            return math.nan, f"reward raised {type(error).__name__}: {str(error)[:80]}"
        return _number(scores[0]) if len(scores) == 1 else (math.nan, f"reward gave {len(scores)} scores for 1 pair")

    def _call(self, pairs: Sequence[tuple[Prompt, Response]]) -> list[Any]:
        prompts, responses = [x for x, _ in pairs], [y for _, y in pairs]
        more = self.named.given(prompts, responses)
        with functions.in_this_process():
            return _listed(self.function([x.text for x in prompts], [y.text for y in responses], **more))


class _NoScores(Exception):
    """A function gave what is no list of scores; the message says what."""


def _listed(scores: Any) -> list[Any]:
    """The scores in a list, where they have the order of the pairs. Raises _NoScores."""
    if inspect.iscoroutine(scores):
        scores.close()  # it will not be awaited, and need not say so
    shape = getattr(scores, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1 and hasattr(scores, "reshape"):
        return list(scores.reshape(-1))  # as a score head gives them
    if not isinstance(scores, _NO_LISTS) and hasattr(scores, "__len__") and (shape is None or len(shape) == 1):
        return list(scores)
    told = "" if shape is None else f" of shape {tuple(shape)}"
    raise _NoScores(f"{type(scores).__name__}{told}, and wanted is a list of numbers, one for each pair")


def _number(score: Any) -> tuple[float, str | None]:
    if score is None:
        return math.nan, "reward gave None"
    try:
        value = float(score)
    except Exception as error:
        return math.nan, f"reward gave {type(score).__name__}, not a number ({str(error)[:80]})"
    return (value, None) if math.isfinite(value) else (math.nan, f"reward gave {value}")


def load_function(spec: str, setting: str, arguments: Mapping[str, Any] | None = None) -> FunctionReward:
    """The reward named `python:module:name`; the working folder is searched too. Raises SettingsError.

    `arguments` are keyword arguments: of each call of a function, of the making of a class.
    """
    name, function = functions.named(spec, setting)
    return FunctionReward(name, *_with_arguments(function, spec, setting, arguments or {}))


def _with_arguments(
    function: Any, spec: str, setting: str, arguments: Mapping[str, Any]
) -> tuple[ScoreFunction, Named]:
    if isinstance(function, type):
        function, arguments = functions.made(function, arguments, spec, setting, "(prompts, responses)"), {}
    functions.check_gives(function, spec, setting, "scores")
    try:
        signature = inspect.signature(function)
    except ValueError:  # what is written in C need not tell its signature
        return partial(function, **arguments) if arguments else function, Named()
    named = _named(signature, arguments)
    try:
        signature.bind([], [], **arguments, **{name: [] for name in named.columns})
    except TypeError as error:
        raise SettingsError(f"{setting} {spec}: it cannot be called so ({error})") from error
    return partial(function, **arguments) if arguments else function, named


def _named(signature: inspect.Signature, arguments: Mapping[str, Any]) -> Named:
    """What the parameters name after the first two."""
    parameters = list(signature.parameters.values())
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    taken = {*(p.name for p in by_place[:2]), *arguments}
    left = [p for p in parameters if p.name not in taken and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in left if p.default is p.empty or p.name in (CONVERSATIONS, FINISH)]
    return Named(
        columns=tuple(needed),
        optional=tuple(p.name for p in left if p.name not in needed),
        every=any(p.kind is p.VAR_KEYWORD for p in parameters),
        own=tuple(taken),
    )
