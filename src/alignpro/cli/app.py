"""The command line. Exit codes: 0 done, 2 wrong usage or settings, 1 anything else."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from alignpro.cli import about, learning, rewriting, runs, studies
from alignpro.cli.lab import lab
from alignpro.cli.options import OVERRIDES
from alignpro.errors import AlignProError, Interrupted

app = typer.Typer(
    help="Align a frozen language model by training a small prompter in front of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
TAKES_SETTINGS: tuple[Callable[..., None], ...] = (
    runs.run,
    runs.train,
    runs.evaluate,
    runs.headroom,
    rewriting.rewrite,
    studies.compare,
    learning.reward,
    learning.sft,
    learning.pairs,
    learning.rlhf,
)
TAKES_NONE: tuple[Callable[..., None], ...] = (runs.report, studies.theory, about.recipes, about.doctor)
for command in TAKES_SETTINGS:
    app.command(context_settings=OVERRIDES)(command)
for command in TAKES_NONE:
    app.command()(command)
app.add_typer(lab, name="lab")


def main() -> None:
    """Entry point: one line of cause for a known fault, the trace too under --debug."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app(args=arguments, standalone_mode=True)
    except KeyboardInterrupt:
        _fail(f"stopped at once; {_resume_hint(arguments)}", 1)
    except Interrupted as error:
        _fail(f"{error}; everything so far is saved. {_resume_hint(arguments)}", 1)
    except AlignProError as error:
        if debug:
            traceback.print_exc()
        _fail(str(error), error.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _resume_hint(arguments: list[str]) -> str:
    if arguments and arguments[0] == "pairs":
        return f"Go on with: {shlex.join(['alignpro', *arguments])}"
    if not arguments or arguments[0] not in {"run", "train", "headroom", "reward", "sft", "rlhf"}:
        return "start it again"
    out = [a.partition("=")[2] for a in sys.argv if a.startswith("--out=")]
    out += [b for a, b in itertools.pairwise(arguments) if a == "--out"]
    if arguments[0] == "headroom" and any((Path(a) / "config.yaml").is_file() for a in arguments[1:] if a not in out):
        return f"Go on with: {shlex.join(['alignpro', *arguments])}"  # its overrides are written nowhere
    if not out or not (Path(out[-1]) / "config.yaml").is_file():
        return "nothing was begun; start it again"
    resume = "" if arguments[0] == "headroom" else "--resume --out "
    return f"Go on with: alignpro {arguments[0]} {resume}{shlex.quote(out[-1])}"


def _fail(text: str, code: int) -> None:
    print(f"alignpro: {' '.join(text.split())}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)
