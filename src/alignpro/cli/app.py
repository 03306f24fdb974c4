"""The command line. Exit codes: 0 done, 2 wrong usage or settings, 1 anything else."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alignpro.cli import about, exporting, judging, learning, rewriting, runs, serving, studies
from alignpro.cli.ab import ab
from alignpro.cli.lab import lab
from alignpro.cli.options import OVERRIDES
from alignpro.cli.paper import paper
from alignpro.cli.template import template
from alignpro.errors import AlignProError, Interrupted, ProcessLost, UsageError
from alignpro.runtime import processes
from alignpro.runtime.consent import ALLOWING, consent
from alignpro.runtime.interrupt import SIGNALS
from alignpro.runtime.terminal import printable, replace_what_cannot_be_shown


class _StoppedAtOnce(Exception):
    """KeyboardInterrupt, which typer would end without a word."""


class _Commands(TyperGroup):
    """The commands, each of which may be interrupted."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _StoppedAtOnce from None


app = typer.Typer(
    cls=_Commands,
    help="Align a frozen language model by training a small prompter in front of it. Every command takes --trust (run"
    " code and ask hosts that another's folder or recipe names), --allow-changed (go on though prompts, reward code or"
    " weights are not those that a run began with) and --debug.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
TAKES_SETTINGS: tuple[Callable[..., None], ...] = (
    runs.run,
    runs.train,
    runs.evaluate,
    runs.headroom,
    judging.judge,
    template,
    rewriting.rewrite,
    serving.serve,
    studies.compare,
    learning.reward,
    learning.sft,
    learning.pairs,
    learning.rlhf,
    paper,
)
TAKES_NONE: tuple[Callable[..., None], ...] = (
    runs.report,
    exporting.export,
    ab,
    studies.theory,
    about.recipes,
    about.settings,
    about.doctor,
)
PATHS = ("--out", "--run", "--file", "--agreement", "--audit")
"""Options that name a file or folder."""
SHARED = ("run", "train", "evaluate", "headroom")
"""Commands whose work several processes can share."""
for command in TAKES_SETTINGS:
    app.command(context_settings=OVERRIDES)(command)
for command in TAKES_NONE:
    app.command()(command)
app.add_typer(lab, name="lab")


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=about.version, help="show it")] = False,
) -> None:
    """Options of `alignpro` itself."""


def main() -> None:
    """Entry point: one line of cause for a known fault, the trace too under --debug."""
    replace_what_cannot_be_shown()
    sys.argv[1:] = _at_home(sys.argv[1:])
    debug = "--debug" in sys.argv
    trust, changed = (option in sys.argv[1:] for option in ALLOWING)
    arguments = [a for a in sys.argv[1:] if a not in ("--debug", *ALLOWING)]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with consent(trust, changed), _together(arguments):
            app(args=arguments, prog_name="alignpro", standalone_mode=True)
    except (KeyboardInterrupt, _StoppedAtOnce):
        _fail(f"stopped at once; {_resume_hint(arguments)}", 1)
    except Interrupted as error:
        _fail(f"{error}; everything so far is saved. {_resume_hint(arguments)}", 1)
    except AlignProError as error:
        if debug:
            traceback.print_exc()
        hint = f". {_resume_hint(arguments)}" if error.goes_on and _begun(arguments) else ""
        _fail(f"{error}{hint}", error.exit_code, isinstance(error, ProcessLost))
    except Exception as error:
        if debug:
            traceback.print_exc()
        _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _at_home(arguments: list[str]) -> list[str]:
    """The arguments with `~` of files and folders expanded, which a shell does at the beginning of a word alone."""
    expanded: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        before = expanded[-1] if expanded else ""
        if equals and name in PATHS:
            argument = f"{name}={Path(value).expanduser()}"
        elif before in PATHS or (argument.startswith("~") and not before.startswith("--") and expanded[0] != "rewrite"):
            argument = str(Path(argument).expanduser())
        expanded.append(argument)
    return expanded


@contextlib.contextmanager
def _together(arguments: list[str]) -> Iterator[None]:
    """Join the processes that were launched together; the first alone prints, the others in the end only why they
    fail."""
    processes.begin()
    if processes.count() > 1 and (not arguments or arguments[0] not in SHARED):
        raise UsageError(f"several processes can share {', '.join(SHARED)}; start any other command without a launcher")
    if processes.count() > 1:
        signal.signal(signal.SIGTERM, _ended)
    with contextlib.ExitStack() as quiet:
        if not processes.is_first():
            nowhere = quiet.enter_context(Path(os.devnull).open("w"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
            quiet.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            yield
        except SystemExit as ended:
            if not ended.code:
                processes.end()
            raise


def _resume_hint(arguments: list[str]) -> str:
    if arguments and arguments[0] in {"compare", "paper", "judge", "pairs"}:  # what they have done is kept
        return f"Go on with: {shlex.join(['alignpro', *arguments])}"
    if _of_file(arguments):
        return f"Go on with: {shlex.join(['alignpro', *arguments, *([] if '--resume' in arguments else ['--resume'])])}"
    if not arguments or arguments[0] not in {"run", "train", "headroom", "template", "reward", "sft", "rlhf"}:
        return "start it again"
    out = _out(arguments)
    if arguments[0] == "headroom" and any((Path(a) / "config.yaml").is_file() for a in arguments[1:] if a not in out):
        return f"Go on with: {shlex.join(['alignpro', *arguments])}"  # its overrides are written nowhere
    if not out or not (Path(out[-1]) / "config.yaml").is_file():
        return "nothing was begun; start it again"
    resume = "" if arguments[0] == "headroom" else "--resume --out "
    return f"Go on with: alignpro {arguments[0]} {resume}{shlex.quote(out[-1])}"


def _of_file(arguments: list[str]) -> bool:
    """Whether it rewrites a file of prompts."""
    return arguments[:1] == ["rewrite"] and any(a.partition("=")[0] == "--file" for a in arguments)


def _out(arguments: list[str]) -> list[str]:
    out = [a.partition("=")[2] for a in sys.argv if a.startswith("--out=")]
    return out + [b for a, b in itertools.pairwise(arguments) if a == "--out"]


def _begun(arguments: list[str]) -> bool:
    """Whether there is a run that the command began or went on with, or a file of prompts, which --resume may begin."""
    return _of_file(arguments) or any((Path(a) / "config.yaml").is_file() for a in (*arguments[1:], *_out(arguments)))


def _fail(text: str, code: int, lost: bool = False) -> None:
    _deaf()
    processes.tell(
        f"alignpro: {printable(' '.join(text.split()))}",
        lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        lost,
    )
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))  # what still unwinds needs no trace
    sys.exit(code)


def _deaf() -> None:
    """Let no signal cut off the reason: a launcher sends SIGTERM to those that are left when one process ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _ended(number: int, frame: FrameType | None) -> None:
    _deaf()
    raise ProcessLost(
        f"told to end by signal {number}, which a launcher sends when another process of the run has ended; what was"
        " saved is in the run's folder, and --resume goes on from there"
    )
