"""Counters and histograms in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Upper ends of a histogram's buckets."""


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def lines(self, name: str, labels: str) -> list[str]:
        before, made = 0, []
        for end, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            before += count
            made.append(f'{name}_bucket{{{labels}{"," if labels else ""}le="{end}"}} {before}')
        shown = f"{{{labels}}}" if labels else ""
        return [*made, f"{name}_sum{shown} {self.total:.6f}", f"{name}_count{shown} {before}"]


class Metrics:
    """What the server counts. Names that it does not know are a KeyError; labels are the package's own words."""

    COUNTERS: Mapping[str, str] = {
        "alignpro_requests_total": "Requests by what they ask for and the status of the answer.",
        "alignpro_prompts_total": "Prompts by what was sent on (arm) and why it was the original (reason).",
        "alignpro_tokens_added": "Tokens of rewrites that were sent less those of their prompts; may fall.",
        "alignpro_upstream_retries_total": "Requests to the upstream that were tried again.",
        "alignpro_answers_broken_total": "Answers that the upstream or the client broke off.",
    }
    HISTOGRAMS: Mapping[str, str] = {
        "alignpro_rewrite_seconds": "From asking for a rewrite to having it or giving up.",
        "alignpro_added_seconds": "What the server adds before it asks the upstream, without the rewrite.",
        "alignpro_first_byte_seconds": "From asking the upstream to the head of its answer.",
        "alignpro_answer_seconds": "From asking the upstream to the end of its answer.",
    }

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in self.COUNTERS}
        self._seconds: dict[str, dict[str, _Histogram]] = {name: {} for name in self.HISTOGRAMS}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._counts[name][_told(labels)] += amount  # type: ignore[assignment]

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        histogram = self._seconds[name].setdefault(_told(labels), _Histogram())
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds

    def text(self) -> str:
        """All of it, as it is scraped."""
        lines: list[str] = []
        for name, (what, value) in self._gauges.items():
            lines += [*_head(name, what), f"{name} {value():g}"]
        for name, counts in self._counts.items():
            lines += _head(name, self.COUNTERS[name])
            lines += [f"{name}{f'{{{labels}}}' if labels else ''} {count:g}" for labels, count in counts.items()]
        for name, kinds in self._seconds.items():
            lines += _head(name, self.HISTOGRAMS[name], "histogram")
            lines += [line for labels, one in kinds.items() for line in one.lines(name, labels)]
        return "\n".join(lines) + "\n"


def _head(name: str, what: str, kind: str | None = None) -> list[str]:
    kind = kind or ("counter" if name.endswith("_total") else "gauge")
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _told(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
