"""The template that arm template:best puts around every prompt, chosen once and kept in the run's folder."""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.data.templates import Template
from alignpro.evaluate.models import Models
from alignpro.evaluate.templates import choose
from alignpro.flow.prompters import TemplatePrompter
from alignpro.models import batches
from alignpro.results import TemplateChoice, read, write
from alignpro.rng import derive
from alignpro.running.opening import Run
from alignpro.running.stages.kept_arms import identity
from alignpro.runtime import processes


def best_template(run: Run, models: Models, templates: Sequence[Template], weights: Sequence[str]) -> TemplatePrompter:
    """The best of the templates on training prompts, as template.json has it, or chosen now and written there.

    `weights` are digests of models and templates. Raises RewardFailure, DamagedResult, Interrupted.
    """
    settings, own, path = run.settings, run.settings.evaluate, run.folder.template
    prompts = run.pieces.prompts.train[: own.template_prompts]
    key = identity(settings, prompts, weights)
    choice = processes.by_first(lambda: read(TemplateChoice, path))
    if choice is None or choice.key != key:
        with batches.keeping(run.folder.batches), run.progress.task("choosing a template", len(prompts)) as advance:
            choice = choose(
                templates,
                prompts,
                models.frozen,
                models.reward,
                file=own.templates_file,
                responses=own.template_responses,
                seed=derive(settings.seed, "template"),
                max_failed=settings.reward.max_failed,
                prompt_terms=models.prompt_terms,
                advance=advance,
                check=run.stop.check,
            )
        choice.key = key
        write(path, choice)
    best = next(template for template in templates if template.name == choice.best)
    return TemplatePrompter(best, int(choice.frozen_calls))
