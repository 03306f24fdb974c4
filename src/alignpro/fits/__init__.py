"""Jobs by themselves: a reward from preferences, a prompter from better prompts, such prompts, the oracle alone, one
template for every prompt."""

from alignpro.fits.pairs import make_pairs
from alignpro.fits.reward import learn_reward
from alignpro.fits.rlhf import fine_tune
from alignpro.fits.sft import learn_prompter
from alignpro.fits.template import find_template

__all__ = ["find_template", "fine_tune", "learn_prompter", "learn_reward", "make_pairs"]
