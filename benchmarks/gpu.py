"""Sampling and the update on a GPU, in shapes that people use, with random weights: nothing is downloaded.

    python benchmarks/gpu.py [--shapes qwen2.5-1.5b llama-3.1-8b] [--rows 64] [--query 161] [--tokens 64] [--rank 16]

LoRA on all linear layers, bfloat16. Of each shape it prints tokens a second of the sampler beside transformers'
`generate`, of the update (forward, backward) beside the same rows read one by one in a plain loop, and each side's
peak memory; the last line is one JSON object. It has to be done in five minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from alignpro.config import LoraSettings, Sampling
from alignpro.models import prefixes
from alignpro.models.logprobs import collate, forward
from alignpro.models.lora import adapted
from alignpro.models.sampler import sample

SHAPES: dict[str, Callable[[], Any]] = {
    "qwen2.5-1.5b": lambda: Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=151_936,
            hidden_size=1536,
            intermediate_size=8960,
            num_hidden_layers=28,
            num_attention_heads=12,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    ),
    "llama-3.1-8b": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128_256,
            hidden_size=4096,
            intermediate_size=14_336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
        )
    ),
    "tiny": lambda: LlamaForCausalLM(  # which runs anywhere, to see that the script does
        LlamaConfig(vocab_size=500, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
    ),
}
HEAD = 130
"""Tokens of the query that all rows share, as those of a meta-prompt."""


def measured(work: Callable[[], int], device: str, runs: int) -> dict[str, float]:
    """Tokens a second of `work`, which returns how many it made, and the peak of memory in GiB."""
    work()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    rates = []
    for _ in range(runs):
        begun = time.perf_counter()
        made = work()
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(made / (time.perf_counter() - begun))
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "peak_gib": peak}


def shape(name: str, given: argparse.Namespace, device: str) -> dict[str, Any]:
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = SHAPES[name]()
    torch.set_default_dtype(torch.float32)
    model.eval().requires_grad_(False)
    model.generation_config.eos_token_id = None
    luck = np.random.default_rng(0)
    vocabulary = model.config.vocab_size
    head = luck.integers(1, vocabulary, HEAD).tolist()
    queries = [[*head, *luck.integers(1, vocabulary, given.query - HEAD).tolist()] for _ in range(given.rows)]
    actions = [luck.integers(1, vocabulary, given.tokens) for _ in range(given.rows)]
    ids, total = torch.tensor(queries, device=device), int(given.rows * given.tokens)

    def ours() -> int:
        limits = Sampling(max_new_tokens=given.tokens)
        sample(model, queries, [1] * given.rows, limits, [], 0, 0, batch_size=given.rows)
        return total

    def theirs() -> int:
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=given.tokens,
            pad_token_id=0,
        )
        return total

    found: dict[str, Any] = {
        "sampler": measured(ours, device, given.runs),
        "generate": measured(theirs, device, given.runs),
    }
    with adapted(model, LoraSettings(rank=given.rank, alpha=2 * given.rank), "prompter.lora", 0) as policy:

        def update(rows: int) -> int:
            for start in range(0, given.rows, rows):
                some = slice(start, start + rows)
                forward(policy, collate(queries[some], actions[some], 0, device), 1.0)[0].sum().backward()
            policy.zero_grad()
            return total

        found["update"] = measured(lambda: update(given.rows), device, given.runs)
        worth, prefixes.is_worth = prefixes.is_worth, lambda *_: False
        found["row by row"] = measured(lambda: update(given.piece), device, given.runs)
        prefixes.is_worth = worth
    return found


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--shapes", nargs="+", default=list(SHAPES)[:2], choices=list(SHAPES))
    for name, value in {"rows": 64, "query": 161, "tokens": 64, "rank": 16, "piece": 8, "runs": 3}.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    given = ask.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {name: shape(name, given, device) for name in given.shapes}
    ratios = {
        f"{name}: {peer}": {"median": parts[own]["median"] / parts[peer]["median"]}
        for name, parts in found.items()
        for own, peer in (("sampler", "generate"), ("update", "row by row"))
    }
    for name, parts in found.items():
        for part, rate in parts.items():
            print(f"{name:14} {part:10} {rate['median']:10,.0f} tokens/s, {rate['peak_gib']:.1f} GiB")
    print(json.dumps({"name": "gpu", "ratios": ratios, "shapes": found, "settings": vars(given) | {"device": device}}))


if __name__ == "__main__":
    main()
