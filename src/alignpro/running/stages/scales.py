"""Statistics by which the terms of a composite reward are made comparable, taken once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignpro.config import Scale
from alignpro.flow.rollout import rollout
from alignpro.models import batches
from alignpro.rewards.composite import CompositeReward
from alignpro.rng import derive
from alignpro.running.opening import Run
from alignpro.runtime import files
from alignpro.runtime.progress import expect
from alignpro.types import Prompt, Response, RewardResult


@dataclass(frozen=True)
class _Unscored:
    """No reward yet: answers are wanted before the reward's scales are known."""

    name: str = "unscored"

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> RewardResult:
        return RewardResult(np.full(len(prompts), np.nan), ("not scored yet",) * len(prompts))


def with_scales(run: Run) -> Run:
    """The run with every term of its reward normalised by fixed statistics: those in its folder, or measured now.

    They are of the reference prompter's answers to training prompts, taken once, so that what is maximised stays the
    same through training, evaluation and resuming. Raises RewardFailure where a term has no spread.
    """
    reward, settings = run.pieces.reward, run.settings
    if not isinstance(reward, CompositeReward) or not reward.unscaled:
        return run
    path = run.folder.reward_scales
    kept = files.read_json(path)
    if kept is None and path.is_file():
        run.progress.say(f"{path} is damaged; the reward's terms are measured again, as they were before")
    if kept is None:
        prompts = run.pieces.prompts.train[: settings.reward.normalise_prompts]
        keep = batches.keeping(run.folder.batches)
        with keep, run.progress.task("measuring the reward's terms", 1) as advance:
            expect(1, 2 * len(prompts))
            made = rollout(
                prompts,
                run.pieces.pipeline(),
                run.pieces.frozen,
                _Unscored(),
                seed=derive(settings.seed, "scales"),
            )
            texts = [(x, row[0][0]) for x, row in zip(prompts, made.responses, strict=True)]
            usable = [(x, y.response) for x, y in texts if y.failure is None]
            scales = reward.measure([x for x, _ in usable], [y for _, y in usable])
            advance(1, "")
        kept = {
            "prompts": len(prompts),
            "frozen_calls": made.frozen_calls,
            "terms": {name: scale.model_dump() for name, scale in scales.items()},
        }
        files.write_json(path, kept, checked=True)
    fixed = reward.scaled({name: Scale(**scale) for name, scale in kept["terms"].items()})
    return replace(run, pieces=run.pieces.scored_by(fixed))
