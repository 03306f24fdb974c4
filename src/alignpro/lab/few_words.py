"""Language models over a handful of words: real causal LMs whose every rewrite and response can be enumerated.

Trainer, sampler and estimators meet exact truth here: `alignpro.theory.enumerate` turns one into a finite world.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alignpro.config import Sampling
from alignpro.models.framing import Frame
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.rewards.functions import FunctionReward
from alignpro.rng import derive

WORDS = ("ba", "do", "ki", "mu", "ra", "se")
CLOSER = "."
"""Ends a text and is part of it, so that no rewrite is ever empty."""


@dataclass(frozen=True)
class FewWords:
    """Everything a run needs, small enough to enumerate."""

    prompter: LocalPrompter
    frozen: LocalFrozenModel
    reward: FunctionReward
    prompts: tuple[str, ...]


def few_words(
    seed: int, words: int = 3, rewrite_tokens: int = 2, response_tokens: int = 2, prompt_words: int = 2
) -> FewWords:
    """Two random Llama models over `words` words, all prompts of `prompt_words` words, and a random reward.

    Texts of T tokens at most number 1 + w + ... + w^(T-1) closed ones and w^T that were cut off. Rewards are standard
    normal, one for each pair (x, y), and follow from the seed.
    """
    vocabulary = WORDS[:words]

    @functools.cache
    def utility(prompt: str, response: str) -> float:
        return float(np.random.default_rng(derive(seed, "reward", prompt, response)).standard_normal())

    def reward(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [utility(x, y) for x, y in zip(prompts, responses, strict=True)]

    return FewWords(
        prompter=LocalPrompter(
            _model("few-words prompter", vocabulary, rewrite_tokens, derive(seed, "prompter"), 0.15)
        ),
        frozen=LocalFrozenModel(_model("few-words frozen", vocabulary, response_tokens, derive(seed, "frozen"), 0.4)),
        reward=FunctionReward("few-words reward", reward),
        prompts=tuple(" ".join(p) for p in itertools.product(vocabulary, repeat=prompt_words)),
    )


def _model(name: str, words: Sequence[str], max_new_tokens: int, seed: int, spread: float) -> LanguageModel:
    """`spread` is the deviation of the random weights: the larger, the further from uniform its distributions."""
    ids = {word: i for i, word in enumerate((*words, CLOSER))}
    core = Tokenizer(models.WordLevel(ids))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=len(ids),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        bos_token_id=None,
        eos_token_id=ids[CLOSER],
        pad_token_id=None,
        initializer_range=spread,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
    return LanguageModel(
        name=name,
        model=model,
        frame=Frame(tokenizer=PreTrainedTokenizerFast(tokenizer_object=core)),
        sampling=Sampling(max_new_tokens=max_new_tokens),
        batch_size=1024,
        cut_long_prompts=False,
    )
