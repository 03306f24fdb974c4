"""What there is to gain, estimated from samples."""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.data.templates import read_templates
from alignpro.headroom import templates
from alignpro.headroom.advice import advice
from alignpro.headroom.estimates import Estimator
from alignpro.headroom.robustness import robustness
from alignpro.headroom.samples import gather
from alignpro.headroom.templates import Design
from alignpro.models import batches
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import LocalFrozenModel
from alignpro.results import Cost, Headroom, Templates, write
from alignpro.rewards.measures.similarity import encoder_of
from alignpro.rng import derive
from alignpro.running.checks import check_lengths
from alignpro.running.load import load_other_frozen, load_trained
from alignpro.running.opening import Run
from alignpro.types import Prompt


def headroom(run: Run) -> Headroom:
    """Estimate how much there is to gain, the trained prompter in it where there is one, and write headroom.json."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    models = pieces.models(trained, None)
    prompts = pieces.prompts.test
    chosen = sorted(range(len(prompts)), key=lambda i: derive(settings.seed, "headroom", prompts[i].key))
    design = _design(run, [prompts[i] for i in chosen[: settings.headroom.prompts]])
    prompts = tuple(prompts[i] for i in sorted(chosen[: settings.headroom.prompts]))
    seed = derive(settings.seed, "headroom")
    identity = [
        fingerprint((trained.lm if trained else pieces.prompter.lm).model),
        pieces.frozen_weights or str(settings.frozen.model),
    ]
    keep = batches.keeping(folder.batches)
    with keep as written, run.progress.task("estimating the headroom", len(prompts)) as advance:
        samples = gather(
            prompts,
            models,
            trained.lm if trained else None,
            settings.headroom,
            path=folder.path / "headroom_samples.jsonl",
            identity=" ".join([*identity, pieces.reward.name, str(trained is not None)]),
            seed=seed,
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            written=written,
        )
    estimator = Estimator(
        samples,
        settings.train.kl.coef,
        settings.rlhf.kl.coef,
        settings.headroom,
        settings.evaluate.gibbs_responses,
        settings.evaluate.bootstrap,
        derive(seed, "bootstrap"),
    )
    estimated = estimator.report(pieces.reward.name)
    if design:
        estimated.templates = _under_templates(run, design, estimator)
        estimated.frozen_calls += design.frozen_calls
        estimated.advice = advice(estimated)
    if settings.prompt_terms and estimated.advice:
        estimated.left_out = tuple(term.called for term in settings.prompt_terms)
        told = ", ".join(estimated.left_out)
        estimated.advice.text += f" This is of the reward alone; the terms on the rewrite ({told}) are left out."
    if kinds := settings.headroom.noise:
        with batches.keeping(folder.batches), run.progress.task("adding noise", len(kinds) + 1) as advance:

            def next_kind(number: int, name: str) -> None:
                run.stop.check()
                advance(number, name)

            estimated.noise = tuple(
                robustness(
                    estimator,
                    models,
                    kinds,
                    lambda name: load_other_frozen(settings, name),
                    derive(seed, "noise"),
                    next_kind,
                )
            )
            advance(len(kinds) + 1, "")
        estimated.frozen_calls += sum(row.frozen_calls for row in estimated.noise)
    if endpoints := pieces.endpoints.report():
        estimated.cost = Cost(frozen_calls=estimated.frozen_calls, endpoints=endpoints)
    write(folder.headroom, estimated)
    return estimated


def _design(run: Run, prompts: Sequence[Prompt]) -> Design | None:
    """What is asked of these prompts under templates, said beforehand; None where there are none."""
    settings, frozen, say = run.settings, run.pieces.frozen, run.progress.say
    if not settings.headroom.templates:
        return None
    listed = read_templates(settings.headroom.templates, "headroom.templates")
    design = templates.planned(listed, prompts, settings.headroom)
    say(templates.in_words(design, len(prompts), settings.headroom))
    if isinstance(frozen, LocalFrozenModel):
        framed = tuple(prompt.asking(one.frame(prompt)) for prompt in design.prompts for one in design.templates)
        check_lengths(frozen.lm, framed, "frozen", say)
    return design


def _under_templates(run: Run, design: Design, estimator: Estimator) -> Templates:
    settings, pieces, folder = run.settings, run.pieces, run.folder
    keep = batches.keeping(folder.batches)
    with keep as written, run.progress.task("asking under templates", len(design.prompts)) as advance:
        scores = templates.ask(
            design,
            pieces.frozen,
            pieces.reward,
            settings.headroom.chunk,
            path=folder.path / "template_samples.jsonl",
            identity=f"{pieces.frozen_weights or settings.frozen.model} {pieces.reward.name}",
            seed=derive(settings.seed, "templates"),
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            written=written,
        )
    best = estimator.best
    gains = best.reward - estimator.plain
    by_key = {prompt.key: float(gain) for prompt, gain in zip(estimator.samples.prompts, gains, strict=True)}
    encoder, texts = encoder_of(pieces.reward), [prompt.text for prompt in design.prompts]
    told = templates.report(
        str(settings.headroom.templates),
        design,
        scores,
        None if best.why_withheld else by_key,
        encoder.embed(texts) if encoder else None,
    )
    if told.unanswered:
        run.progress.say(f"{told.unanswered} prompts left out: every answer to them failed, under every template")
    return told
