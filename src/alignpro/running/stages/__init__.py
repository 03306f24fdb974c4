"""The stages of a run: train the prompter, train the oracle, compare the arms, judge, estimate the headroom."""

from alignpro.running.stages.evaluation import evaluate
from alignpro.running.stages.headroom import headroom
from alignpro.running.stages.judging import judge
from alignpro.running.stages.scales import with_scales
from alignpro.running.stages.training import train_prompter, train_rlhf

__all__ = ["evaluate", "headroom", "judge", "train_prompter", "train_rlhf", "with_scales"]
