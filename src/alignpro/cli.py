"""The command line. Exit codes: 0 done, 2 wrong usage or settings, 1 anything else."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from alignpro import config
from alignpro.cli_lab import lab
from alignpro.config import Settings
from alignpro.errors import AlignProError, Interrupted, UsageError

app = typer.Typer(
    help="Align a frozen language model by training a small prompter in front of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(lab, name="lab")

OVERRIDES = {"ignore_unknown_options": True}
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE] [--SECTION.KEY=VALUE]...",
        help="recipe name or YAML file, lab by default, and any setting of it",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="new folder for the run; runs/RECIPE-NNN by default")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the run in --out")]
PrompterOption = Annotated[str | None, typer.Option("--prompter", help="folder or hub id of the model to train")]
FrozenOption = Annotated[str | None, typer.Option("--frozen", help="folder or hub id of the model that answers")]
ThenOption = Annotated[
    list[str] | None,
    typer.Option("--then", help="a further pass: rewrites what the one before wrote; the last is trained"),
]
RewardOption = Annotated[
    str | None,
    typer.Option("--reward", help="folder or hub id of a sequence classifier, or python:module:function"),
]
PromptsOption = Annotated[str | None, typer.Option("--prompts", help="txt, jsonl or csv file of user prompts")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the resolved settings and stop")]
RunFolderArgument = Annotated[Path, typer.Argument(help="folder of a run")]


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


@app.command(context_settings=OVERRIDES)
def run(
    words: Words = None,
    out: Out = None,
    resume: Resume = False,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    dry_run: DryRun = False,
) -> None:
    """Train, evaluate and report. Any setting can be given as --section.key=value."""
    _run(words, out, resume, _given(prompter, then, frozen, reward, prompts), dry_run, only_train=False)


@app.command(context_settings=OVERRIDES)
def train(
    words: Words = None,
    out: Out = None,
    resume: Resume = False,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    dry_run: DryRun = False,
) -> None:
    """Train only; `run --resume --out DIR` then evaluates and reports."""
    _run(words, out, resume, _given(prompter, then, frozen, reward, prompts), dry_run, only_train=True)


@app.command(context_settings=OVERRIDES)
def evaluate(
    words: Annotated[list[str], typer.Argument(metavar="FOLDER [--evaluate.KEY=VALUE]...", help="folder of a run")],
) -> None:
    """Evaluate a run's trained prompter again, with evaluate.* settings overridden, and report."""
    name, overrides = _words(words)
    if name is None:
        raise UsageError("give the folder of the run to evaluate")
    from alignpro import tables
    from alignpro.job import evaluate_again

    tables.arms(evaluate_again(Path(name), overrides))
    _say(f"report: {Path(name) / 'report.html'}")


@app.command(context_settings=OVERRIDES)
def headroom(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE | FOLDER] [--SECTION.KEY=VALUE]...",
            help="a recipe, to estimate before any training; or the folder of a run, to estimate beside what it has",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="also: how rewards decay as the frozen model is damaged")
    ] = False,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
) -> None:
    """Say how much there is to gain, by what, and whether to train at all; from samples alone, before any training."""
    from alignpro import tables
    from alignpro.job import headroom as estimate

    name, overrides = _words(words or [])
    if noise:
        from alignpro.models.perturb import LADDER

        overrides = [f"headroom.noise=[{', '.join(LADDER)}]", *overrides]
    if name and (Path(name) / "config.yaml").is_file():
        if out or any((prompter, then, frozen, reward, prompts)):
            raise UsageError(f"{name} is a run, with its own models and folder; leave out --out and the models")
        folder = Path(name)
        found = estimate(None, folder, resume=True, overrides=overrides)
    else:
        overrides = [*_given(prompter, then, frozen, reward, prompts), *overrides]
        recipe = _recipe(name, overrides)
        folder = _folder(out, recipe)
        found = estimate(config.load(recipe, overrides), folder)
    tables.headroom(found)
    _say(found["advice"]["text"])
    _say(f"report: {folder / 'report.html'}")
    if not (folder / "prompter").exists():
        _say(f"to train there: alignpro run --resume --out {shlex.quote(str(folder))}")


@app.command()
def report(folder: RunFolderArgument) -> None:
    """Write report.html anew from what the run's folder holds."""
    from alignpro.report import write_report

    _say(str(write_report(folder)))


@app.command(context_settings=OVERRIDES)
def rewrite(
    prompt: Annotated[str, typer.Argument(help="a user prompt; - reads one from standard input")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--SECTION.KEY=VALUE]...", help="any setting, with --method gibbs", show_default=False),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="folder of a run")] = None,
    method: Annotated[
        Literal["trained", "gibbs"], typer.Option(help="the run's prompter, or the closed form by sampling")
    ] = "trained",
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="rewrites to show; with gibbs, candidates to choose from [1; 8]")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="with gibbs: keep the best candidate, not one drawn")] = False,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    answer: Annotated[
        bool, typer.Option("--answer", help="ask the frozen model, with and without the rewrite")
    ] = False,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Rewrite a prompt with a trained prompter, or without training by --method gibbs."""
    from alignpro.api import Rewriter, SampledPrompter, TrainedPrompter
    from alignpro.folder import RunFolder

    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text.strip() or prompt.startswith("--"):
        what = f"{prompt!r} is a setting" if text.strip() else "the prompt is empty"
        raise UsageError(f"{what}; give the text to rewrite first")
    name, overrides = _words(words or [])
    overrides = [*_given(prompter, then, frozen, reward, None), *overrides]
    if method == "trained":
        if run is None:
            raise UsageError("give --run with the folder of a run, or --method gibbs, which needs no training")
        if overrides or name or best:
            raise UsageError(
                f"{(overrides or [name or '--best'])[0]!r} is for --method gibbs; a run has its own settings"
            )
        ready: Rewriter = TrainedPrompter.load(run)
        count = n or 1
    else:
        if run and name:
            raise UsageError(f"unexpected argument {name!r}; with --run the settings are those of the run")
        recipe = RunFolder(run).settings_file() if run else _recipe(name, overrides)
        ready, count = SampledPrompter.load(config.load(recipe, overrides), n or 8, best), 1
    for rewritten in ready.rewrite(text, n=count, seed=seed):
        _say(rewritten)
        if answer:
            _say(f"  answered: {ready.answer(rewritten, seed=seed)}")
    if answer:
        _say(f"without the prompter: {ready.answer(text, seed=seed)}")


@app.command(context_settings=OVERRIDES)
def compare(
    words: Words = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the runs, new or to go on with; runs/compare by default")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, one torch thread each")] = 1,
) -> None:
    """Train every method of the compare settings with several seeds: objective reached against answers spent."""
    from alignpro import tables
    from alignpro.compare import compare as do_compare

    name, overrides = _words(words or [])
    folder = out or Path("runs/compare")
    tables.methods(do_compare(config.load(_recipe(name, overrides), overrides), folder, jobs))
    _say(f"figures: {folder / 'methods.json'}")


@app.command()
def theory(
    out: Annotated[Path, typer.Option(help="folder for the figures")] = Path("docs/figures"),
) -> None:
    """Draw the figures of docs/theory.md and print every number that it quotes."""
    from alignpro.theory.figures import write_figures

    for line in write_figures(out):
        _say(line)


@app.command()
def recipes() -> None:
    """List the packaged recipes."""
    for name, line in config.recipes().items():
        _say(f"{name:10} {line}")


@app.command()
def doctor() -> None:
    """Say what this machine has, and whether the lab's models load."""
    from alignpro.doctor import findings

    bad = False
    for name, value, good in findings():
        bad |= not good
        _say(f"{'ok ' if good else 'BAD'} {name}: {value}")
    if bad:
        raise typer.Exit(1)


def _run(
    words: list[str] | None, out: Path | None, resume: bool, given: list[str], dry_run: bool, *, only_train: bool
) -> None:
    name, overrides = _words(words or [])
    overrides = [*given, *overrides]
    settings, recipe = None, name or "lab"
    if not resume or name is not None or overrides:
        recipe = _recipe(name, overrides)
        settings = config.load(recipe, overrides)
    if dry_run:
        _say(config.dump(settings or _saved(out)).rstrip())
        return
    if resume and out is None:
        raise UsageError("--resume needs --out with the folder of the run to go on with")
    from alignpro import tables
    from alignpro.job import run as do_run

    folder = _folder(out, recipe)
    summary = do_run(settings, folder, resume=resume, only_train=only_train)
    if summary:
        tables.arms(summary)
        _say_headroom(folder)
        _say(f"report: {folder / 'report.html'}")


def _given(
    prompter: str | None, then: list[str] | None, frozen: str | None, reward: str | None, prompts: str | None
) -> list[str]:
    """Overrides that the short options stand for; of several prompters the last is trained, the others come first."""
    passes = [*([prompter] if prompter else []), *(then or [])]
    if then and not prompter:
        raise UsageError("--then adds a second pass to --prompter; give the first pass too")
    named = {"prompter.model": passes[-1] if passes else None, "frozen.model": frozen, "reward.model": reward}
    named["data.prompts"] = prompts
    before = [f"prompter.before={json.dumps(passes[:-1])}"] if then else []  # YAML reads JSON, whatever the names hold
    return [*(f"{name}={value}" for name, value in named.items() if value is not None), *before]


def _recipe(name: str | None, overrides: list[str]) -> str:
    """The recipe named; without one `local` where the user brings models of his own, else `lab`."""
    own = any(o.startswith(("prompter.model=", "frozen.model=")) and not o.endswith("=lab") for o in overrides)
    return name or ("local" if own else "lab")


def _folder(out: Path | None, recipe: str) -> Path:
    if out is not None:
        return out
    from alignpro.folder import next_free

    folder = next_free(Path("runs"), Path(recipe).stem)
    sys.argv.append(f"--out={folder}")  # so that the hint to resume names the folder that was chosen
    return folder


def _say_headroom(folder: Path) -> None:
    from alignpro.folder import RunFolder, read_json

    found = read_json(RunFolder(folder).headroom)
    if found and found.get("trained_prompter"):  # what was estimated before training asks to train
        _say(found["advice"]["text"])


def _saved(out: Path | None) -> Settings:
    from alignpro.folder import RunFolder

    if out is None:
        raise UsageError("--resume needs --out with the folder of the run to go on with")
    return RunFolder(out).settings()


def _words(words: list[str]) -> tuple[str | None, list[str]]:
    """The one plain word, if any, and the overrides among `--a.b=v`, `--a.b v` and `a.b=v`."""
    plain: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        item = rest.pop(0)
        key = item.removeprefix("--")
        if "=" in key:
            overrides.append(key)
        elif key == item:
            plain.append(item)
        elif rest and not rest[0].startswith("--"):
            overrides.append(f"{key}={rest.pop(0)}")
        else:
            overrides.append(f"{key}=true")
    if len(plain) > 1:
        raise UsageError(f"unexpected argument {plain[1]!r}; settings are given as --section.key=value")
    return (plain[0] if plain else None), overrides


def _resume_hint(arguments: list[str]) -> str:
    if not arguments or arguments[0] not in {"run", "train", "headroom"}:
        return "start it again"
    out = [a.partition("=")[2] for a in sys.argv if a.startswith("--out=")]
    out += [b for a, b in itertools.pairwise(arguments) if a == "--out"]
    if arguments[0] == "headroom" and any((Path(a) / "config.yaml").is_file() for a in arguments[1:] if a not in out):
        return f"Go on with: {shlex.join(['alignpro', *arguments])}"  # its overrides are written nowhere
    if not out or not (Path(out[-1]) / "config.yaml").is_file():
        return "nothing was begun; start it again"
    resume = "" if arguments[0] == "headroom" else "--resume --out "
    return f"Go on with: alignpro {arguments[0]} {resume}{shlex.quote(out[-1])}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _fail(text: str, code: int) -> None:
    print(f"alignpro: {' '.join(text.split())}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
