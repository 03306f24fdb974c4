"""What a URL understands: which options a request to it may hold, as its refusals tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from alignpro.config import Sampling
from alignpro.remote.wire import Refused

NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""What servers fill in by the model's generation_config, or by defaults of their own, where a request leaves it out; so
named, they change nothing in the distribution that `sampling` says."""
LENGTHS = ("max_tokens", "max_completion_tokens")
_UNKNOWN_OPTION = re.compile(r"unsupported|not support|unrecogni|unknown|unexpected|not permitted|extra inputs", re.I)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a URL was found to understand: whether it takes n, None until that is known, how it calls the most tokens
    (`renamed` where that is not what was tried first), and the options that it refuses."""

    together: bool | None = None
    length: str = LENGTHS[0]
    renamed: bool = False
    lacks: frozenset[str] = frozenset()

    def options(self, sampling: Sampling, seed: int) -> dict[str, Any]:
        """The fields of a request that say how to draw."""
        greedy = sampling.top_k == 1  # said as temperature 0, which servers know that do not know top_k
        wanted: dict[str, Any] = {
            "temperature": 0.0 if greedy else sampling.temperature,
            "top_p": sampling.top_p,
            **NEUTRAL,
            **({"top_k": sampling.top_k} if sampling.top_k > 1 else {}),
            "seed": seed,
        }
        return {name: value for name, value in wanted.items() if name not in self.lacks}

    def joined(self, other: Dialect) -> Dialect:
        """With what another was found to refuse."""
        renamed = other if other.renamed else self
        return replace(self, lacks=self.lacks | other.lacks, length=renamed.length, renamed=renamed.renamed)

    def named(self, options: Mapping[str, Any], refusal: Refused) -> list[str]:
        """The options that a refusal names, and the most tokens as they are called here, in its order."""
        if refusal.status not in (400, 422):
            return []
        places = {name: _place(name, refusal) for name in (*options, self.length)}
        return [name for _, name in sorted((place, name) for name, place in places.items() if place is not None)]

    def otherwise(self, options: Mapping[str, Any], refusal: Refused) -> Dialect | None:
        """How to put a refused request next, without the first option that the refusal names, or with the most tokens
        called otherwise; None where it is none of these that is refused.

        Of temperature and top_p, which some take one of, the one stays that says something.
        """
        if refusal.status not in (400, 422):
            return None
        named = self.named(options, refusal)
        unknown = _UNKNOWN_OPTION.search(f"{refusal.option} {refusal.message}")
        if named[:1] == [self.length] and unknown and not self.renamed:
            other = next(name for name in LENGTHS if name != self.length)
            return replace(self, length=other, renamed=True)
        names = [name for name in named if name in options]
        if {"temperature", "top_p"} <= set(names):
            dropped = {"temperature" if options["temperature"] == 1 != options["top_p"] else "top_p"}
        elif names:
            dropped = {names[0]}
        else:
            dropped = NEUTRAL.keys() & options.keys() if unknown and not named else set()
        return replace(self, lacks=self.lacks | dropped) if dropped else None


def _place(name: str, refusal: Refused) -> int | None:
    """Where a refusal names an option, its own word for it before all; None where it does not."""
    written = re.compile(rf"(?<![a-z]){name.replace('_', '[_ -]?')}(?![a-z])", re.I)
    if written.search(refusal.option):
        return -1
    found = written.search(refusal.message)
    return found.start() if found else None
