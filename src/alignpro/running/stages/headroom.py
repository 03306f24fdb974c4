"""What there is to gain, estimated from samples."""

from __future__ import annotations

from alignpro.headroom.estimates import Estimator
from alignpro.headroom.robustness import robustness
from alignpro.headroom.samples import gather
from alignpro.models import batches
from alignpro.models.fingerprint import fingerprint
from alignpro.results import Cost, Headroom, write
from alignpro.rng import derive
from alignpro.running.load import load_other_frozen, load_trained
from alignpro.running.opening import Run


def headroom(run: Run) -> Headroom:
    """Estimate how much there is to gain, the trained prompter in it where there is one, and write headroom.json."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    models = pieces.models(trained, None)
    prompts = pieces.prompts.test
    chosen = sorted(range(len(prompts)), key=lambda i: derive(settings.seed, "headroom", prompts[i].key))
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
