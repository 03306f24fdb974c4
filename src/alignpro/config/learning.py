"""Settings of learning from files: a reward from preferences, a prompter from better prompts, and making those."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignpro.config.places import Place, TemplatesFile
from alignpro.config.section import Positive, Rate, Section, Share
from alignpro.config.weights import LoraSettings


class FitSettings(Section):
    """What every supervised fit has."""

    epochs: Positive = Field(1, description="passes over the training pairs")
    batch_size: Positive = Field(64, description="pairs a step of the optimiser")
    batch_tokens: Positive | None = Field(
        None,
        description="tokens computed at a time, padding among them; a larger batch is computed in pieces. null: as many"
        " as fit half of the memory that is free when the fit begins, 16384 at most",
    )
    learning_rate: Rate | None = Field(
        None,
        description="step size of Adam at its highest; null: what models of this width take, ten times as much for an"
        " adapter",
    )
    warmup: Share = Field(
        0.05, description="share of the steps over which the learning rate rises; after them it falls to a tenth"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.01, description="pull of the weights towards 0, as AdamW has it; 0: none"
    )
    max_grad_norm: Annotated[float, Field(gt=0)] | None = Field(
        1.0, description="gradients of a larger norm are scaled down to it; null: never"
    )
    lora: LoraSettings | None = Field(None, description="train an adapter; null trains every weight")
    gradient_checkpointing: bool = Field(
        False, description="compute layers again in the backward pass instead of keeping them: less memory, more time"
    )
    bootstrap: Annotated[int, Field(ge=100)] = Field(
        2000, description="resamples of the prompts behind the intervals of a reward's calibration; sft has none such"
    )
    save_every: Positive = Field(100, description="steps between checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(
        2, description="newest checkpoints kept; where one is corrupt, the one before is taken"
    )


class RewardLearningSettings(FitSettings):
    """A reward model by Bradley-Terry (1); the preferences are data.prompts."""

    base: Place | None = Field(
        None,
        description="folder, package:NAME or hub id of a causal LM, an encoder or a classifier with one score, or lab",
    )
    margin: Annotated[float, Field(ge=0)] = Field(
        0.0, description="how much higher the winner shall score, in multiples of the data's own margin in score"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="share of the labels taken to be wrong"
    )
    centre: Annotated[float, Field(ge=0)] = Field(
        0.02, description="weight of the squared sum of a pair's scores, which keeps rewards around 0"
    )
    keep_not_higher: bool = Field(False, description="keep pairs whose chosen answer scores no higher than the other")
    curve: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.125, 0.25, 0.5, 1.0], description="shares of the first pass after which accuracy is measured"
    )


class SftSettings(FitSettings):
    """A reference prompter from pairs of a prompt and a better prompt; its base is prompter.model."""

    pairs: Place | None = Field(
        None, description="file, folder or data set of prompts and better prompts, as data.prompts"
    )
    column: str = Field("rewrite", description="field of the better prompt; that of the prompt is data.column")
    epochs: Positive = Field(3, description="passes over the training pairs at most; the best is kept")
    batch_size: Positive = Field(16, description="pairs a step of the optimiser")
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="share of the training prompts that chooses the epoch that is kept"
    )
    patience: Positive = Field(2, description="epochs without a better one after which the fit stops")


class PairsSettings(Section):
    """Pairs for sft: by best-of-N, the reference's rewrites, scored, the best kept where it beats the prompt itself; or
    by templates, each prompt in one of them."""

    templates: TemplatesFile | None = Field(
        None,
        description="file of templates, or default, or lab: pairs are prompts framed in them, and no prompter is asked;"
        " null: best-of-N",
    )
    weigh: Literal["evenly", "gain"] = Field(
        "evenly",
        description="how templates are drawn: evenly, with no model at all; or by their mean gain over the bare prompt,"
        " in proportion to it and those without one never, on evaluate.template_prompts training prompts",
    )
    per_prompt: Positive = Field(
        1, description="templates of each prompt, each another, so many of them as change it; best-of-N has one pair"
    )
    candidates: Annotated[int, Field(ge=2)] = Field(8, description="rewrites of each prompt")
    responses: Positive = Field(2, description="answers that score each rewrite, to choose the best")
    fresh: Positive = Field(
        4, description="new answers that decide whether the best is kept; as many more, after that, measure its gain"
    )
    margin: Annotated[float, Field(ge=0)] = Field(
        0.0, description="how much more reward than the prompt itself, with both sets of answers, is asked"
    )
    prompts: Positive | None = Field(None, description="training prompts to try; null: every one")
    chunk: Positive = Field(32, description="prompts sampled at a time")
    bootstrap: Annotated[int, Field(ge=100)] = Field(
        2000, description="without effect, for files that hold it: the intervals of gains need no resamples"
    )
