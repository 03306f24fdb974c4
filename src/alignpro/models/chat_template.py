"""The day that chat templates with the date in them are told: one, as long as a run goes on."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

REFUSALS = (TemplateError, TypeError, KeyError, ValueError)
"""What a chat template raises on a turn that it does not know."""


@dataclass
class Clock:
    """The day that chat templates with the date in them are told, and whether one of those loaded meanwhile has it."""

    day: date
    asked: bool = False


_CLOCK: ContextVar[Clock | None] = ContextVar("clock", default=None)
_CLOCKS: WeakKeyDictionary[Any, Clock] = WeakKeyDictionary()
"""Of every tokenizer whose chat template asks for the date, what it is told."""


@contextmanager
def telling(day: str | None) -> Iterator[Clock]:
    """Tokenizers that are loaded while this is open are told this day (YYYY-MM-DD) as long as they are used; None: that
    of a surrounding `telling`, or today's."""
    clock = Clock(date.fromisoformat(day)) if day else _CLOCK.get() or Clock(date.today())
    token = _CLOCK.set(clock)
    try:
        yield clock
    finally:
        _CLOCK.reset(token)


def keep_day(tokenizer: Any) -> Any:
    """The tokenizer, its chat template told one day from now on, whenever it is filled."""
    if "strftime_now" in str(getattr(tokenizer, "chat_template", None)):
        clock = _CLOCKS[tokenizer] = _CLOCK.get() or Clock(date.today())
        clock.asked = True
    return tokenizer


def told_day(tokenizer: Any) -> dict[str, str]:
    """The chat template with the day in the place of its clock, as an argument of whoever fills it."""
    clock = _CLOCKS.get(tokenizer)
    return {} if clock is None else {"chat_template": _dated(tokenizer.get_chat_template(), clock.day)}


@functools.lru_cache
def _dated(template: str, day: date) -> str:
    return re.sub(r"\bstrftime_now\(\s*(['\"])(.*?)\1\s*\)", lambda call: json.dumps(day.strftime(call[2])), template)
