"""reward.json, sft.json and the figures of `alignpro pairs`: what is fitted by itself, on what was held out."""

from __future__ import annotations

from typing import Annotated, ClassVar

from alignpro.results.asked import Asked
from alignpro.results.base import Document, Figure, Flag, Keys, Number, Numbers, Result, Rows, Text
from alignpro.results.estimate import UNKNOWN, Estimate
from alignpro.results.show import Table


class Sides(Result):
    """So many to train on, to choose the epoch by, and held out."""

    train: Number
    validation: Number = UNKNOWN.value
    test: Number


class OnCurve(Result):
    """Held-out accuracy after so many training pairs."""

    pairs: Number
    step: Number
    accuracy: Annotated[Estimate, Keys("value", "ci95")]


class Milestone(Result):
    """A row of curve.jsonl: a reward on held-out preferences after a step, and after so many training pairs."""

    step: Number
    pairs: Number
    accuracy: Figure
    log_loss: Figure
    unscored: Number


class OfStrength(Result):
    """Held-out accuracy where the data scores the chosen answer higher by `low` to `high`."""

    low: Number
    high: Number
    pairs: Number
    accuracy: Annotated[Estimate, Keys("value", "ci95")]


class OfConfidence(Result):
    """Pairs for whose choice the model gives a like probability, and the share whose choice was preferred."""

    low: Number
    high: Number
    confidence: Number
    accuracy: Annotated[Estimate, Keys("accuracy", "ci95")]
    pairs: Number


class CalibrationError(Result):
    """The expected calibration error, and what a perfectly calibrated model would show by chance."""

    error: Annotated[Estimate, Keys("value", "ci95")]
    if_calibrated: Number


class Calibration(Result):
    """How far the model's probabilities are shares; `temperature` is the likeliest, 1 where they are."""

    bins: Rows[OfConfidence]
    error: CalibrationError
    temperature: Figure


class LengthBias(Result):
    """Correlations with length in words, of scores and of differences; the share of pairs with the longer preferred."""

    score: Figure
    difference: Figure
    longer_chosen_by_model: Figure


class Scores(Result):
    """Mean and deviation of the scores of held-out answers."""

    mean: Number = UNKNOWN.value
    deviation: Number = UNKNOWN.value


class LearnedReward(Document):
    """A reward on held-out preferences: `accuracy`, `log_loss` in nats, and beside the rule that the longer wins."""

    again: ClassVar[str] = "delete it and give the same `alignpro reward` command again with --resume"

    base: Text
    preferences: Text
    pairs: Sides
    prompts: Sides
    dropped: Numbers
    accuracy: Figure
    log_loss: Figure
    unscored: Number
    longer_wins: Figure
    over_longer: Figure
    by_strength: Rows[OfStrength]
    calibration: Calibration
    length: LengthBias
    scores: Scores
    learning_curve: Rows[OnCurve]

    def _table(self) -> Table:
        rows = [("held-out accuracy", [self.accuracy]), ("accuracy of “the longer wins”", [self.longer_wins])]
        rows += [(f"accuracy after {row.pairs:,} pairs", [row.accuracy]) for row in self.learning_curve]
        return Table(f"{self.pairs.test} held-out pairs of {self.prompts.test} prompts", ["", "accuracy"], rows)


class Epoch(Result):
    """Loss on validation pairs after a pass over the training pairs, in nats a token."""

    epoch: Number
    validation_loss: Number


class FittedPrompter(Document):
    """A prompter on held-out pairs: losses in nats a token, before and after, paired in `gain`."""

    again: ClassVar[str] = "delete it and give the same `alignpro sft` command again with --resume"

    base: Text
    pairs: Sides
    prompts: Sides
    dropped: Numbers
    loss_per_token: Figure
    perplexity: Figure
    loss_before: Figure
    gain: Figure
    epochs: Rows[Epoch]
    kept_epoch: Number

    def _table(self) -> Table:
        rows = [("after", [self.loss_per_token]), ("before", [self.loss_before]), ("gain", [self.gain])]
        return Table(f"{self.pairs.test} held-out pairs", ["", "loss a token, nats"], rows)


class TriedPrompt(Asked):
    """A row of OUT.tried.jsonl: the best of N rewrites, None where none has a reward or differs from the prompt.

    Three gains over the prompt as it is, in reward: `chosen_gain` by the answers that chose it, too good; `fresh_gain`
    by those that decide whether it is kept; `gain` by those that decided nothing. `key` stands for the settings.
    """

    key: Text = ""
    rewrite: Text | None
    chosen_gain: Number
    fresh_gain: Number
    gain: Number
    kept: Flag
    frozen_calls: Number


class WinnersGains(Result):
    """Mean gains of the winners, by the answers that chose them and by others."""

    chosen_gain: Figure
    gain: Figure


class KeptGains(Result):
    """Mean gains of the pairs kept, by the answers that decided it and by others."""

    fresh_gain: Figure
    gain: Figure


class BestOfN(Document):
    """Pairs by best-of-N: how many prompts were tried, won and kept, and the mean gains over the prompts."""

    again: ClassVar[str] = "give the same `alignpro pairs` command again, which writes it anew"

    candidates: Number
    margin: Number
    tried: Number
    won: Number
    kept: Number
    winners: WinnersGains
    kept_pairs: KeptGains
    frozen_calls: Number

    def _table(self) -> Table:
        rows = [("winners", [self.winners.gain]), ("kept", [self.kept_pairs.gain])]
        return Table(f"{self.tried} prompts tried, {self.kept} pairs kept", ["", "gain in reward"], rows)
