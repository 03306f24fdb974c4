"""Jobs by themselves: a reward from preferences, a prompter from better prompts, such prompts, the oracle alone."""

from alignpro.fits.pairs import make_pairs
from alignpro.fits.reward import learn_reward
from alignpro.fits.rlhf import fine_tune
from alignpro.fits.sft import learn_prompter

__all__ = ["fine_tune", "learn_prompter", "learn_reward", "make_pairs"]
