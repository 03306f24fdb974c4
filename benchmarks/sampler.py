"""Our sampler against transformers' `generate`: the same model, queries, counts and limits.

    python benchmarks/sampler.py [MODEL] [--rows 64] [--batch 64] [--count 1] [--head 130] [--own 31] [--tokens 64]
                                 [--ends 0] [--temperature 1] [--top-p 1] [--runs 5] [--dtype float32]

MODEL is a folder with a causal language model; without it the lab's frozen model. Queries are random tokens behind a
common head of `--head`, as those behind a meta-prompt are. `--ends` is the share of the vocabulary, drawn at random,
that ends an answer: 0 lets all run to `--tokens`, 0.03 gives lengths spread as chance spreads them, some 33 on the
average. Tokens are counted up to each answer's end, so neither side is paid for padding. Both sides take turns after a
warm-up. The last line is one JSON object: the ratio of tokens a second, ours / theirs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from alignpro.config import Sampling
from alignpro.models.loading import resolve
from alignpro.models.sampler import sample
from alignpro.runtime import threads


def ours(model: Any, queries: list[list[int]], ends: list[int], given: argparse.Namespace, seed: int) -> int:
    limits = Sampling(max_new_tokens=given.tokens, temperature=given.temperature, top_p=given.top_p)
    rows = sample(model, queries, [given.count] * len(queries), limits, ends, 0, seed, batch_size=given.batch)
    return sum(len(one.tokens) for row in rows for one in row)


def theirs(model: Any, queries: list[list[int]], ends: list[int], given: argparse.Namespace, seed: int) -> int:
    torch.manual_seed(seed)
    total, together = 0, given.batch // given.count
    for start in range(0, len(queries), together):
        ids = torch.tensor(queries[start : start + together])
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            temperature=given.temperature,
            top_p=given.top_p,
            max_new_tokens=given.tokens,
            num_return_sequences=given.count,
            eos_token_id=ends or None,
            pad_token_id=0,
        )[:, ids.shape[1] :]
        ended = torch.isin(made, torch.tensor(ends)).long().cumsum(1)
        total += int(((ended - torch.isin(made, torch.tensor(ends)).long()) == 0).sum())
    return total


def speed(run: Callable[..., int], *given: Any) -> float:
    begun = time.perf_counter()
    tokens = run(*given)
    return tokens / (time.perf_counter() - begun)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("model", nargs="?")
    sizes = {"rows": 64, "batch": 64, "count": 1, "head": 130, "own": 31, "tokens": 64, "runs": 5}
    for name, value in sizes.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    for name, usual in {"ends": 0.0, "temperature": 1.0, "top-p": 1.0}.items():
        ask.add_argument(f"--{name}", type=float, default=usual)
    ask.add_argument("--dtype", default="float32")
    given = ask.parse_args()
    count = threads.use(None)
    model: Any = AutoModelForCausalLM.from_pretrained(
        given.model or resolve("lab", "frozen"), dtype=getattr(torch, given.dtype)
    ).eval()
    model.generation_config.eos_token_id = None
    words = torch.Generator().manual_seed(0)
    vocabulary = model.config.vocab_size
    head = torch.randint(1, vocabulary, (given.head,), generator=words).tolist()
    queries = [
        [*head, *torch.randint(1, vocabulary, (given.own,), generator=words).tolist()]
        for _ in range(given.rows // given.count)
    ]
    ends = torch.randperm(vocabulary - 1, generator=words)[: round(given.ends * vocabulary)].add(1).tolist()
    pairs = [
        tuple(speed(side, model, queries, ends, given, seed) for side in (ours, theirs))
        for seed in range(given.runs + 1)
    ][1:]
    ratios = [x / y for x, y in pairs]
    rates = [statistics.median(one) for one in zip(*pairs, strict=True)]
    found = {
        "name": "sampler",
        "ratios": {"generate": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}},
        "tokens_a_second": rates,
        "settings": vars(given) | {"threads": count},
    }
    print(
        f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] times generate's tokens a second;"
        f" ours {rates[0]:,.0f}"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
