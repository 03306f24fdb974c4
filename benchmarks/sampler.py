"""Our sampler against transformers' `generate` on the lab's frozen model: the same prompts, counts and limits.

    python benchmarks/sampler.py

Prints the ratio of tokens a second, ours / theirs, as median [min, max] over alternating runs after a warm-up. Tokens
are counted up to each answer's end, so neither side is paid for padding.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from alignpro import config
from alignpro.models.language_model import LanguageModel
from alignpro.running.load import load
from alignpro.runtime import threads

PROMPTS, RUNS = 128, 7


def ours(lm: LanguageModel, queries: list[list[int]], count: int, seed: int) -> int:
    rows = lm.generate(queries, [count] * len(queries), seed)
    return sum(len(g.tokens) for row in rows for g in row)


def theirs(lm: LanguageModel, queries: list[list[int]], count: int, seed: int) -> int:
    torch.manual_seed(seed)
    total = 0
    per_batch = lm.batch_size // count
    for start in range(0, len(queries), per_batch):
        batch = queries[start : start + per_batch]
        width = max(map(len, batch))
        ids = torch.tensor([[lm.pad_id] * (width - len(q)) + q for q in batch])
        made = lm.model.generate(
            ids,
            attention_mask=(ids != lm.pad_id).long(),
            do_sample=True,
            top_k=0,
            max_new_tokens=lm.sampling.max_new_tokens,
            num_return_sequences=count,
            eos_token_id=lm.eos_ids,
            pad_token_id=lm.pad_id,
        )[:, width:]
        lm.tokenizer.batch_decode(made, skip_special_tokens=True)
        total += int((made != lm.pad_id).sum())
    return total


def speed(run: Callable[[int], int], seed: int) -> float:
    begun = time.perf_counter()
    tokens = run(seed)
    return tokens / (time.perf_counter() - begun)


def main() -> None:
    settings = config.load("lab")
    count_threads = threads.use(settings.threads)
    pieces = load(settings, {"prompts", "frozen"}, print)
    lm = pieces.local_frozen.lm
    queries = lm.queries(pieces.prompts.test[:PROMPTS])
    print(
        f"{PROMPTS} prompts, up to {lm.sampling.max_new_tokens} new tokens, {count_threads} threads, {RUNS} runs a side"
    )
    for count in (1, 4, 16):
        a, b = (lambda seed, n=count: ours(lm, queries, n, seed)), (lambda seed, n=count: theirs(lm, queries, n, seed))
        speed(a, 0), speed(b, 0)
        pairs = [(speed(a, seed), speed(b, seed)) for seed in range(1, RUNS + 1)]
        ratios = [x / y for x, y in pairs]
        fastest = statistics.median(x for x, _ in pairs)
        print(
            f"{count:3} answers a prompt: {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] times"
            f" generate; ours {fastest:,.0f} tokens/s"
        )


if __name__ == "__main__":
    main()
