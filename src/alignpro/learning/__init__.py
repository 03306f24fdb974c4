"""Jobs by themselves: a reward from preferences, a prompter from better prompts, such prompts, the oracle alone."""

from alignpro.learning.pairs import make_pairs
from alignpro.learning.reward import learn_reward
from alignpro.learning.rlhf import fine_tune
from alignpro.learning.sft import learn_prompter

__all__ = ["fine_tune", "learn_prompter", "learn_reward", "make_pairs"]
