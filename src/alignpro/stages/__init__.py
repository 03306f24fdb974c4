"""The stages of a run: train the prompter, train the oracle, compare the arms, judge, estimate the headroom."""

from alignpro.stages.evaluation import evaluate
from alignpro.stages.headroom import headroom
from alignpro.stages.judging import judge
from alignpro.stages.run import Run
from alignpro.stages.scales import with_scales
from alignpro.stages.training import train_prompter, train_rlhf

__all__ = ["Run", "evaluate", "headroom", "judge", "train_prompter", "train_rlhf", "with_scales"]
