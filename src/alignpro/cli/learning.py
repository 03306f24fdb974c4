"""Commands that learn from files: reward, sft, pairs, rlhf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alignpro.cli.options import (
    DryRun,
    FrozenOption,
    Out,
    PrompterOption,
    PromptsOption,
    Resume,
    RewardOption,
    ThenOption,
    Words,
    begun_with,
    folder_of,
    given,
    jsonl_file,
    read_words,
    recipe_of,
    say,
    settings_of,
)
from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.config import Settings


def reward(
    words: Words = None,
    base: Annotated[
        str | None, typer.Option("--base", help="folder or hub id of a causal LM or of a classifier, or lab")
    ] = None,
    preferences: Annotated[
        str | None,
        typer.Option("--preferences", help="jsonl, json, csv or parquet file of preferences, or a data set's name"),
    ] = None,
    out: Out = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Learn a reward model from preferences: accuracy, calibration, learning curve, length bias."""
    named = {"reward_learning.base": base, "data.prompts": preferences}
    _learn("reward", _settings(words, named, resume, out), out, resume, dry_run)


def sft(
    words: Words = None,
    base: Annotated[str | None, typer.Option("--base", help="folder or hub id of a causal LM, or lab")] = None,
    pairs: Annotated[
        str | None, typer.Option("--pairs", help="jsonl, json, csv or parquet file with prompt and rewrite")
    ] = None,
    out: Out = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Fit a reference prompter to pairs of a prompt and a better prompt."""
    named = {"prompter.model": base, "sft.pairs": pairs}
    _learn("sft", _settings(words, named, resume, out), out, resume, dry_run)


def pairs(
    words: Words = None,
    out: Annotated[Path, typer.Option(help="JSONL file of the pairs, new or to go on with")] = Path("pairs.jsonl"),
    templates: Annotated[
        str | None, typer.Option("--templates", help="file of templates: pairs are prompts in them, with no model")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=2, help="rewrites of each prompt to choose from")] = None,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    dry_run: DryRun = False,
) -> None:
    """Make pairs for sft: by best-of-N, each winner scored again by answers that did not choose it; or by templates."""
    named = {"pairs.candidates": n, "pairs.templates": templates}
    settings, _ = _settings(words, named, False, jsonl_file(out), given(prompter, then, frozen, reward, prompts))
    if dry_run:
        return _dump(_shown(settings, out))
    from alignpro.cli import tables
    from alignpro.fits import make_pairs

    tables.pairs(make_pairs(_shown(settings, out), out))
    say(f"pairs: {out}")


def rlhf(
    words: Words = None,
    out: Out = None,
    resume: Resume = False,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune the frozen model itself on the reward, the oracle of the paper, and compare the two."""
    more = given(None, None, frozen, reward, prompts)
    _learn("rlhf", _settings(words, {}, resume, out, more), out, resume, dry_run)


def _learn(
    what: Literal["reward", "sft", "rlhf"],
    chosen: tuple[Settings | None, str],
    out: Path | None,
    resume: bool,
    dry_run: bool,
) -> None:
    """Do the job with the settings and recipe chosen, show its figures, and say where what was learned lies."""
    settings, recipe = chosen
    if dry_run:
        return _dump(_shown(settings, out))
    from alignpro import fits
    from alignpro.cli import tables

    folder = folder_of(out, f"{what}-{recipe}")
    if what == "reward":
        tables.reward(fits.learn_reward(settings, folder, resume=resume))
        result = f"to use it: --reward {folder / 'reward'}"
    elif what == "sft":
        tables.sft(fits.learn_prompter(settings, folder, resume=resume))
        result = f"to use it: --prompter {folder / 'prompter'}"
    else:
        tables.arms(fits.fine_tune(settings, folder, resume=resume))
        result = f"the model: {folder / 'rlhf' / 'model'}"
    say(f"report: {folder / 'report.html'}")
    say(result)


def _settings(
    words: list[str] | None,
    named: Mapping[str, str | int | None],
    resume: bool,
    out: Path | None,
    more: list[str] | None = None,
) -> tuple[Settings | None, str]:
    """Settings of a recipe, `local` where the user brings a model of his own, else `lab`; None to resume as begun."""
    if resume and out is None:
        raise UsageError("--resume needs --out with the folder to go on with")
    name, overrides = read_words(words or [])
    short = [f"{key}={value}" for key, value in named.items() if value is not None]
    overrides = [*short, *(more or []), *overrides]
    recipe = recipe_of(name, overrides)
    if resume and name is None and out is not None:
        return begun_with(out, overrides) if overrides else None, recipe
    return settings_of(recipe, overrides), Path(recipe).stem


def _dump(settings: Settings) -> None:
    from alignpro import config

    say(config.dump(settings).rstrip())


def _shown(settings: Settings | None, out: Path | None) -> Settings:
    from alignpro.runtime.run_folder import RunFolder

    return settings or RunFolder(out or Path()).settings()
