"""`alignpro template`: which template to put around every prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignpro.cli.options import (
    BudgetOption,
    DryRun,
    FrozenOption,
    Out,
    PromptsOption,
    Resume,
    RewardOption,
    budget_of,
    folder_of,
    given,
    recipe_of,
    say,
    settings_of,
    split_words,
)
from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.results import Evaluation, TemplateChoice


def template(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [RECIPE] [--SECTION.KEY=VALUE]...",
            help="a file of templates, `default` by default; a recipe, and any setting of it",
            show_default=False,
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="folder of a run, whose settings are taken")] = None,
    out: Out = None,
    resume: Resume = False,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    prompts: PromptsOption = None,
    budget: BudgetOption = None,
    dry_run: DryRun = False,
) -> None:
    """Print the template of a file that is best around every prompt, chosen on training prompts; what it gains on test
    prompts goes to standard error."""
    from alignpro.runtime import ownership
    from alignpro.runtime.run_folder import RunFolder

    plain, overrides = split_words(words or [])
    if len(plain) > (1 if run else 2):
        raise UsageError(f"unexpected argument {plain[-1]!r}; give a file of templates and a recipe, or --run FOLDER")
    named = [f"evaluate.templates={plain[0]}", "evaluate.arms=[no_prompter, template:best]"] if plain else []
    overrides = [*named, *given(None, None, frozen, reward, prompts), *budget_of(budget), *overrides]
    if resume:
        if out is None or overrides or run:
            raise UsageError("--resume goes on with the settings in --out; give that folder and nothing else")
        settings, recipe = None, "template"
    elif run:
        ownership.check(run, overrides, writes=False)
        settings, recipe = RunFolder(run).settings(overrides), "template"
    else:
        recipe = recipe_of(plain[1] if len(plain) > 1 else None, overrides)
        settings = settings_of(recipe, overrides)
    if dry_run:
        from alignpro.cli.runs import shown_dry
        from alignpro.fits.template import alone

        return shown_dry(alone(settings or RunFolder(out or Path()).settings()), ("evaluation",))
    from alignpro.data.templates import read_templates
    from alignpro.fits.template import find_template, found_in

    if run and overrides == named and (kept := found_in(RunFolder(run))):
        asked = read_templates(plain[0]) if plain else ()
        if not plain or [one.text for one in asked] == [row.text for row in kept[0].templates]:
            return _say(*kept, run)
    folder = folder_of(out, "template")
    _say(*find_template(settings, folder, resume=resume), folder)


def _say(choice: TemplateChoice, summary: Evaluation, folder: Path) -> None:
    """The template to standard output, as it is, and all else to standard error."""
    from alignpro.results.words import told
    from alignpro.runtime.progress import Progress

    best = choice.chosen
    gain = summary.difference("template_best", "no_prompter", summary.reward)
    bare = "; that is the bare prompt, since no template gained there" if best and best.text == "{prompt}" else ""
    Progress().say(
        f"gain over the bare prompt {told(gain)} on {summary.prompts} test prompts; chosen of {len(choice.templates)}"
        f" templates on {choice.prompts} training prompts{bare}; all of it: {folder / 'report.html'}"
    )
    say(best.text if best else "")
