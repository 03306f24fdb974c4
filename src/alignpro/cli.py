"""The command line. Exit codes: 0 done, 2 wrong usage or settings, 1 anything else."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from alignpro import config
from alignpro.config import Settings
from alignpro.errors import AlignProError, Interrupted, UsageError

app = typer.Typer(
    help="Align a frozen language model by training a small prompter in front of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
lab = typer.Typer(help="The embedded lab: three tiny models in a world with a known utility.", no_args_is_help=True)
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
RewardOption = Annotated[
    str | None,
    typer.Option("--reward", help="folder or hub id of a sequence classifier, or python:module:function"),
]
PromptsOption = Annotated[str | None, typer.Option("--prompts", help="txt, jsonl or csv file of user prompts")]
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
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved settings and stop")] = False,
) -> None:
    """Train, evaluate and report. Any setting can be given as --section.key=value."""
    _run(words, out, resume, (prompter, frozen, reward, prompts), dry_run, "all")


@app.command(context_settings=OVERRIDES)
def train(
    words: Words = None,
    out: Out = None,
    resume: Resume = False,
    prompter: PrompterOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved settings and stop")] = False,
) -> None:
    """Train only; `run --resume --out DIR` then evaluates and reports."""
    _run(words, out, resume, (prompter, frozen, reward, prompts), dry_run, "train")


@app.command(context_settings=OVERRIDES)
def evaluate(
    words: Annotated[list[str], typer.Argument(metavar="FOLDER [--evaluate.KEY=VALUE]...", help="folder of a run")],
) -> None:
    """Evaluate a run's trained prompter again, with evaluate.* settings overridden, and report."""
    name, overrides = _words(words)
    if name is None:
        raise UsageError("give the folder of the run to evaluate")
    from alignpro.job import evaluate_again

    folder = Path(name)
    _print_summary(evaluate_again(folder, overrides), folder)


@app.command()
def report(folder: RunFolderArgument) -> None:
    """Write report.html anew from what the run's folder holds."""
    from alignpro.report import write_report

    _say(str(write_report(folder)))


@app.command()
def rewrite(
    prompt: Annotated[str, typer.Argument(help="a user prompt; - reads one from standard input")],
    run: Annotated[Path, typer.Option("--run", help="folder of a run")],
    n: Annotated[int, typer.Option("--n", min=1, help="so many rewrites")] = 1,
    answer: Annotated[
        bool, typer.Option("--answer", help="ask the frozen model, with and without the rewrite")
    ] = False,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Rewrite a prompt with a trained prompter."""
    from alignpro.api import TrainedPrompter

    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text.strip():
        raise UsageError("the prompt is empty; give the text to rewrite")
    trained = TrainedPrompter.load(run)
    for rewritten in trained.rewrite(text, n=n, seed=seed):
        _say(rewritten)
        if answer:
            _say(f"  answered: {trained.answer(rewritten, seed=seed)}")
    if answer:
        _say(f"without the prompter: {trained.answer(text, seed=seed)}")


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


@lab.command("build")
def lab_build(
    out: Annotated[Path, typer.Option(help="folder for the three models")],
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads; free cores by default")] = None,
) -> None:
    """Make the lab's prompter, frozen model and reward model anew from one seed."""
    from alignpro import threads as torch_threads
    from alignpro.lab.build import Recipe as BuildRecipe
    from alignpro.lab.build import build

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"--out {out} is not empty; give a new folder")
    torch_threads.use(threads)
    build(out, BuildRecipe(seed=seed), _say)


@lab.command("suffixes")
def lab_suffixes(
    folder: RunFolderArgument,
    responses: Annotated[int, typer.Option(min=1, help="answers for each prompt and suffix")] = 2,
) -> None:
    """Search every fixed suffix (all combinations of cues) on the test prompts and set the best beside align_pro."""
    from alignpro import threads as torch_threads
    from alignpro.assemble import assemble
    from alignpro.folder import RunFolder, read_jsonl
    from alignpro.lab.suffixes import search

    opened = RunFolder(folder)
    settings = opened.settings()
    torch_threads.use(settings.threads)
    pieces = assemble(settings, _say)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    samples = read_jsonl(opened.samples)
    for line in search(prompts, pieces.frozen, pieces.reward, samples, responses, settings.seed):
        _say(line)


def _run(
    words: list[str] | None,
    out: Path | None,
    resume: bool,
    models: tuple[str | None, str | None, str | None, str | None],
    dry_run: bool,
    stages: str,
) -> None:
    names = ("prompter.model", "frozen.model", "reward.model", "data.prompts")
    given = [f"{name}={value}" for name, value in zip(names, models, strict=True) if value is not None]
    recipe, overrides = _words(words or [])
    overrides = [*given, *overrides]
    settings: Settings | None = None
    if not resume or recipe is not None or overrides:
        own = recipe is None and any(g.startswith(("prompter.model=", "frozen.model=")) for g in given)
        recipe = recipe or ("local" if own else "lab")
        settings = config.load(recipe, overrides)
    if dry_run:
        _say(config.dump(settings or _saved(out)).rstrip())
        return
    if resume and out is None:
        raise UsageError("--resume needs --out with the folder of the run to go on with")
    from alignpro.folder import next_free
    from alignpro.job import run as do_run

    folder = out or next_free(Path("runs"), Path(str(recipe)).stem)
    if out is None:
        sys.argv.append(f"--out={folder}")  # so that the hint to resume names the folder that was chosen
    summary = do_run(settings, folder, resume=resume, stages=stages)
    if summary:
        _print_summary(summary, folder)


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


def _print_summary(summary: dict[str, Any], folder: Path) -> None:
    table = Table(title=f"{summary['prompts']} test prompts, {summary['responses_per_prompt']} answers each")
    second = summary.get("second_reward")
    wins = {row["a"]: row for row in summary["win_rates"] if row["b"] == "no_prompter"}
    for column in ("arm", f"mean reward ({summary['reward']})", "variance", "KL to reference"):
        table.add_column(column)
    if second:
        table.add_column(f"second reward ({second})")
    table.add_column("win rate over no_prompter")
    for name, arm in summary["arms"].items():
        kl = arm["kl_to_reference"]
        cells = [
            name,
            _figure(arm["mean_reward"], arm["ci95"]),
            f"{arm['reward_variance']:.2f}",
            "-" if kl is None else f"{kl:.2f}",
        ]
        if second:
            other = arm["second_reward"]
            cells.append(_figure(other["mean"], other["ci95"]))
        cells.append(_figure(wins[name]["win_rate"], wins[name]["ci95"]) if name in wins else "-")
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    if optimum := summary.get("optimum"):
        low, high = optimum["share_ci95"]
        _say(
            f"of what the closed-form optimum gains over the reference at kl_coef {optimum['kl_coef']}, the trained"
            f" prompter gains {optimum['share_of_gain']:.0%} [{low:.0%}, {high:.0%}]"
        )
    _say(f"report: {folder / 'report.html'}")


def _figure(value: float, interval: list[float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _resume_hint(arguments: list[str]) -> str:
    if not arguments or arguments[0] not in {"run", "train"}:
        return "start it again"
    out = [a.partition("=")[2] for a in sys.argv if a.startswith("--out=")]
    out += [b for a, b in itertools.pairwise(arguments) if a == "--out"]
    if not out or not (Path(out[-1]) / "config.yaml").is_file():
        return "nothing was begun; start it again"
    return f"Go on with: alignpro {arguments[0]} --resume --out {shlex.quote(out[-1])}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _fail(text: str, code: int) -> None:
    print(f"alignpro: {' '.join(text.split())}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
