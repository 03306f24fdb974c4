"""`alignpro ab`: what rewriting gained and cost, from the log of `alignpro serve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.serve.ab import Compared


def ab(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="files that `alignpro serve --audit` wrote")],
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="JSONL or CSV of answers by id or answer_id, each with a number, or up or down"),
    ] = None,
    column: Annotated[str | None, typer.Option("--column", help="of --scores; the first that is no id")] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="of the log: reward, answered, input_tokens, output_tokens, first_byte_ms, upstream_ms"
        ),
    ] = None,
    low: Annotated[float | None, typer.Option("--low", help="no value can be lower")] = None,
    high: Annotated[float | None, typer.Option("--high", help="nor higher: the interval then holds exactly")] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="compare answers to the same prompt, sent both ways, not conversations")
    ] = False,
    prices: Annotated[
        str | None, typer.Option("--prices", metavar="IN,OUT", help="money for a million tokens in and out: 0.15,0.60")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="write the figures as JSON, too")] = None,
) -> None:
    """Compare rewritten prompts with original ones; the interval holds however often one looks."""
    from alignpro.runtime import files
    from alignpro.serve.ab import METRICS, compare, scores_in
    from alignpro.serve.audit import read

    if (low is None) != (high is None) or (low is not None and high is not None and low >= high):
        raise UsageError("give both --low and --high, the first below the second, or neither")
    if scores is not None and metric is not None:
        raise UsageError("give --scores or --metric, not both")
    if metric is not None and metric not in METRICS:
        raise UsageError(f"--metric {metric}: the log has {', '.join(METRICS)}; for others give --scores")
    bounds = None if low is None or high is None else (low, high)
    name = metric or "reward"
    if scores is not None:
        value, name, thumbs = scores_in(scores, column)
        bounds = bounds or ((0.0, 1.0) if thumbs else None)
    else:
        value = METRICS[name]
        bounds = bounds or ((0.0, 1.0) if name == "answered" else None)
    rows = [row for log in logs for row in read(log)]
    try:
        found = compare(rows, value, name, bounds, paired, _prices(prices))
    except ValueError as error:
        raise UsageError(f"{name}: {error}; --low and --high are bounds that no value can leave") from None
    _show(found)
    if out is not None:
        files.write_text(out, json.dumps(found.tree(), indent=2).replace("NaN", "null") + "\n")


def _prices(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        tokens_in, tokens_out = map(float, text.split(","))
    except ValueError:
        raise UsageError(f"--prices {text}: two numbers with a comma are wanted, as in 0.15,0.60") from None
    return tokens_in, tokens_out


def _show(found: Compared) -> None:
    from alignpro.cli.options import say
    from alignpro.cli.tables import table
    from alignpro.results.words import plain, told

    def figure(value: float) -> str:
        return plain(value).replace("–", "-")

    counted = "prompts" if found.paired else "conversations"
    heads = ["", counted, f"mean {found.metric}", "answers", "answered", "tokens in", "out", "first byte, ms"]
    priced = any(side.money == side.money for side in found.sides.values())
    lines = []
    for arm, side in found.sides.items():
        cells = [arm, f"{side.units:,}", figure(side.mean), f"{side.rows:,}", f"{side.answered:.1%}"]
        cells += [figure(side.input_tokens), figure(side.output_tokens), figure(side.first_byte_ms)]
        lines.append([*cells, *([figure(side.money)] if priced else [])])
    table("what was sent" if found.paired else "as assigned", [*heads, *(["money, each"] if priced else [])], lines)
    how = "exactly, within the bounds" if found.bounds else "in the limit of many pairs"
    say(f"{found.metric}, rewritten less original: {told(found.difference)}, of {found.pairs:,} pairs")
    verdict = {1: "rewriting is better or higher", -1: "rewriting is worse or lower", 0: "not decided yet"}
    if (side_of := found.difference.side()) is not None:
        say(f"{verdict[side_of]}; the 95% interval holds at every look together, {how}")
    cost = found.rewriting
    if cost.rows:
        kept = ", ".join(f"{reason} {count:,}" for reason, count in cost.reasons.items())
        say(
            f"of {cost.rows:,} prompts to be rewritten {cost.sent:,} were{f' (not: {kept})' if kept else ''}; a rewrite"
            f" adds {figure(cost.tokens_added)} tokens and takes {figure(cost.ms_median)} ms, {figure(cost.ms_p99)} at"
            " the 99th percentile"
        )
    if found.left_out:
        say(f"{found.left_out:,} more values are of {counted} that count already, and were left out")
