"""The paper's experiments from end to end: checked first, run, and put into Table 1 and Figures 2 and 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from alignpro.errors import AlignProError, UsageError
from alignpro.results import Paper
from alignpro.runtime.lock import Lock
from alignpro.studies.paper import grid, oracle, page, running
from alignpro.studies.paper.grid import GridSize
from alignpro.studies.paper.needs import ANSWERED, TRAINED, Amount, amount, hours, missing
from alignpro.studies.paper.results import collect


def run(
    scale: GridSize,
    out: Path,
    pattern: str = "*",
    overrides: Sequence[str] = (),
    jobs: int = 1,
    places: Mapping[str, str] | None = None,
) -> Paper:
    """Run the cells that fit `pattern` in `out` and write paper.json, paper.html and the figures of the whole grid.

    What is finished is kept and what was stopped goes on, so the same call resumes. Raises UsageError naming all that
    is missing before any work starts, and what `running.run` raises; the page of what there is is written then too.
    """
    everything, chosen = (grid.cells(scale, which, overrides, places) for which in ("*", pattern))
    if lacking := missing([cell for cell in chosen if not running.finished(out, cell)]):
        raise UsageError(
            f"--scale {scale} cannot start here; missing: {'; '.join(lacking)}. `alignpro paper --scale {scale}"
            " --dry-run` says what it would take"
        )
    running.claim(out, scale, chosen)
    with Lock(out):
        try:
            running.run(chosen, everything, out, jobs)
        except AlignProError:
            page.write(collect(everything, out, scale), out)
            raise
        results = collect(everything, out, scale)
        page.write(results, out)
    return results


def plan(
    scale: GridSize,
    out: Path,
    pattern: str = "*",
    overrides: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Lines that say what the cells would take, and what of it is missing here; writes nothing."""
    everything, chosen = (grid.cells(scale, which, overrides, places) for which in ("*", pattern))
    uses = oracle.trainers(chosen, everything, out)
    amounts = [Amount(0, 0, 0, 0, 0, 0)]
    unknown = False
    for cell in chosen:
        own = uses.get(cell.name) == cell.name and not oracle.trained(out / cell.name)
        done = running.finished(out, cell)
        settings, took = cell.settings, amount(cell, own)
        where = f"{settings.prompter.model} before {settings.frozen.model} on {settings.data.prompts}"
        if done:
            yield f"{cell.name}: finished"
            continue
        unknown |= cell.settings.evaluate.prompts is None
        amounts.append(took)
        oracle_told = (
            f"trains its oracle with {took.oracle_answers:,}" if own else f"takes the oracle of {uses.get(cell.name)}"
        )
        yield f"{cell.name}: {where}; {took.rewrites:,} rewrites, {took.answers:,} answers; {oracle_told}"
    total = Amount(*map(sum, zip(*map(astuple, amounts), strict=True)))
    judged = f"{total.judgements:,} questions to a judge" + (
        ", besides a comparison on all held-out prompts" if unknown else ""
    )
    yield (
        f"in all {total.rewrites:,} rewrites, {total.answers:,} answers of frozen models, {total.oracle_answers:,} of"
        f" oracles, {judged}; at most {total.tokens / 1e6:,.1f} million tokens sampled"
    )
    if scale == "small":
        yield (
            f"on two cores about {hours(total):.1f} hours, at most, by {TRAINED:g} tokens a second in training and"
            f" {ANSWERED:g} where answers are compared, as measured on one machine"
        )
    lacking = missing(chosen)
    for line in lacking:
        yield f"missing: {line}"
    if not lacking:
        yield "nothing is missing"
