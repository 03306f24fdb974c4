"""What arms are put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alignpro.config import Sampling
from alignpro.errors import SettingsError
from alignpro.flow.prompters import TemplatePrompter
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel
from alignpro.models.logprobs import score
from alignpro.types import FloatArray, FrozenModel, Generation, Prompter, Reward, RewriteTerms


@dataclass(frozen=True)
class Reference:
    """The prompter before training: the whole pipeline, every pass of a chain included, and the model of its last."""

    prompter: Prompter
    lm: LanguageModel


@dataclass(frozen=True)
class Models:
    """What arms are put together from; `reference`, `trained`, `rlhf` and `best_template` are None where there is none.

    `trained` is a whole pipeline too; `passes` are the fixed passes before its last, each with those before it, and
    `others` prompters behind URLs, by the names of their arms.
    """

    reference: Reference | None
    trained: Prompter | None
    passes: tuple[Prompter, ...]
    frozen: FrozenModel
    rlhf: LocalFrozenModel | None
    reward: Reward
    second_reward: Reward | None
    prompt_terms: RewriteTerms | None = None
    best_template: TemplatePrompter | None = None
    others: Mapping[str, Prompter] = field(default_factory=dict)

    def known_reference(self) -> Reference:
        """The reference. Raises ValueError where no prompter was loaded."""
        if self.reference is None:
            raise ValueError("no prompter was loaded, so there is no reference")
        return self.reference

    def kl_to_reference(self, rewrites: Sequence[Sequence[Generation]]) -> FloatArray:
        """Each rewrite's log ratio [B, G] to the reference; of a chain that of the last pass, given what came
        before."""
        return log_ratios(self.known_reference().lm, rewrites)

    def kl_to_frozen(self, responses: Sequence[Sequence[Generation]]) -> FloatArray | None:
        """Each response's log ratio [B, K] to the frozen model; None where that is behind a URL or was sampled from
        less than its whole distribution."""
        if not isinstance(self.frozen, LocalFrozenModel) or self.frozen.truncated:
            return None
        return log_ratios(self.frozen.lm, responses)


def answering_by(models: Models, sampling: Sampling) -> Models:
    """The same models, the frozen one and the oracle sampling by `sampling`. Raises SettingsError for one computed
    elsewhere."""
    if not isinstance(models.frozen, LocalFrozenModel):
        raise SettingsError(
            "evaluate.sampling is for local models; set that of an endpoint or a function in frozen.sampling"
        )
    frozen, rlhf = (
        LocalFrozenModel(replace(model.lm, sampling=sampling)) if model else None
        for model in (models.frozen, models.rlhf)
    )
    assert frozen is not None
    return replace(models, frozen=frozen, rlhf=rlhf)


def log_ratios(reference: LanguageModel, rows: Sequence[Sequence[Generation]]) -> FloatArray:
    """log p(action) - log reference(action) [B, G] in nats, summed over the tokens of each sampled action.

    nan for an action without tokens, e.g. of a chain that broke before its last pass.
    """
    flat = [g for row in rows for g in row]
    actions = [g for g in flat if len(g.tokens)]
    scored = score(
        reference.model,
        [a.query for a in actions],
        [a.tokens for a in actions],
        reference.pad_id,
        reference.sampling.temperature,
        reference.batch_size,
    )
    ratios = iter([float(a.logprobs.sum() - r.sum()) for a, r in zip(actions, scored, strict=True)])
    return np.array([next(ratios) if len(g.tokens) else np.nan for g in flat]).reshape(len(rows), -1)
