"""The command that judges: a run's answers again, or pairs that people have judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignpro.cli.options import read_words, say
from alignpro.errors import UsageError


def judge(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FOLDER] [--judge.KEY=VALUE]...", help="folder of a run", show_default=False),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", help="openai:MODEL, http://...#MODEL, lm:FOLDER_OR_HUB_ID, or a reward; the run's own by default"
        ),
    ] = None,
    agreement: Annotated[
        Path | None, typer.Option(help="instead of a run: measure agreement with people on this file of judged pairs")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use so many pairs of that file")] = None,
    out: Annotated[
        Path, typer.Option(help="folder for agreement.json and the judge's replies, which are asked for once")
    ] = Path("runs/agreement"),
) -> None:
    """Judge a run's answers again, sampling none; or measure how a judge agrees with people."""
    from alignpro.cli import tables

    name, overrides = read_words(words or [])
    if judge is not None:
        overrides.append(f"evaluate.judge={judge}")
    if agreement is not None:
        if name is not None:
            raise UsageError(f"give the folder of a run ({name}) or --agreement, not both")
        from alignpro import config
        from alignpro.running.rejudge import measure_agreement

        agreed = measure_agreement(config.load("local", overrides), agreement, out, limit)
        tables.agreement(agreed)
        for line in agreed.notes:
            say(line)
        say(f"figures: {out / 'agreement.json'}")
        return
    if name is None:
        raise UsageError("give the folder of the run to judge, or --agreement FILE with pairs that people have judged")
    from alignpro.running.rejudge import judge_again

    summary = judge_again(Path(name), overrides)
    judged_by = summary.win_rates[-1].judge
    tables.win_rates(summary, judged_by)
    if "criteria" in summary.judges[judged_by] and (cost := summary.cost.judge):  # a language model, not a reward
        say(
            f"replies of the judge kept in this folder: {cost.answers:,}, {cost.input_tokens:,} tokens in,"
            f" {cost.output_tokens:,} out"
        )
    say(f"report: {Path(name) / 'report.html'}")
