"""The update of a step: what rows share read once, against the same rows read one by one, and against the machine.

    python benchmarks/update.py MODEL [--prompts 8] [--rewrites 4] [--head 130] [--own 31] [--actions 48] [--runs 3]
                                [--rows 4] [--dtype float32]

MODEL is a folder with a causal language model; LoRA of rank 16 on all linear layers. Both sides do forward and backward
of the same rows, alternating, after a warm-up; row by row goes `--rows` rows at a time, so that it fits the memory.
Beside it the share of the machine's measured matmul rate that the useful operations take (those of every different
token once, and of the output layer for the actions). The last line is one JSON object; settings are a part of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from alignpro.config import LoraSettings
from alignpro.models import prefixes
from alignpro.models.logprobs import collate, forward
from alignpro.models.lora import adapted


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def matmul_rate(width: int, rows: int, dtype: torch.dtype) -> float:
    """Operations a second of a product [rows, width] x [width, 4 width], the best of five."""
    a, b = torch.randn(rows, width, dtype=dtype), torch.randn(width, 4 * width, dtype=dtype)
    return 2.0 * rows * width * 4 * width / min(seconds(lambda: a @ b) for _ in range(5))


def operations(model: Any, tokens: int, actions: int) -> float:
    """Of forward and backward: two a weight and token forward, two for the gradient of what comes in; the base is
    frozen and gets none, the adapter's own are few. Attention is left out."""
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name)
    return float(4 * (tokens * (body - (0 if model.config.tie_word_embeddings else head)) + actions * head))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("model")
    sizes = {"prompts": 8, "rewrites": 4, "head": 130, "own": 31, "actions": 48, "runs": 3, "rows": 4}
    for name, value in sizes.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--dtype", default="float32")
    given = ask.parse_args()
    dtype = getattr(torch, given.dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(given.model, dtype=dtype).eval()
    rng = np.random.default_rng(0)

    def words(count: int) -> Any:
        return rng.integers(10, model.config.vocab_size, count)

    head, rows = words(given.head).tolist(), given.prompts * given.rewrites
    own = [words(given.own).tolist() for _ in range(given.prompts)]
    queries = [[*head, *own[row // given.rewrites]] for row in range(rows)]
    actions = [words(given.actions) for _ in range(rows)]
    worth = prefixes.is_worth

    with adapted(model, LoraSettings(rank=16, alpha=32), "policy.lora", 0) as policy:

        def update(step: int) -> Any:
            for start in range(0, rows, step):
                batch = collate(queries[start : start + step], actions[start : start + step], 0)
                (forward(policy, batch, 1.0)[0].sum() / (rows * given.actions)).backward()
            gradient = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
            policy.zero_grad()
            return gradient

        def shared() -> Any:
            prefixes.is_worth = worth
            return update(rows)

        def one_by_one() -> Any:
            prefixes.is_worth = lambda *_: False
            return update(given.rows)

        with torch.no_grad():
            for p in policy.parameters():
                if p.requires_grad:
                    p.add_(0.01 * torch.randn_like(p))  # or half of the gradients were 0
        a = shared()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        b = one_by_one()
        times = [(seconds(shared), seconds(one_by_one)) for _ in range(given.runs)]
    ratios = [y / x for x, y in times]
    tokens = given.head + given.prompts * given.own + rows * (given.actions - 1)
    useful = operations(model, tokens, rows * given.actions)
    rate = matmul_rate(model.config.hidden_size, tokens, dtype)
    took = statistics.median(x for x, _ in times)
    found = {
        "name": "update",
        "ratios": {"row by row": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}},
        "seconds": took,
        "gradients_apart": float((a - b).norm() / b.norm()),
        "matmul_gflops": rate / 1e9,
        "share_of_matmul_rate": useful / took / rate,
        "peak_gib_of_the_shared_side": peak,
        "settings": vars(given) | {"threads": torch.get_num_threads()},
    }
    print(
        f"shared {took:.2f} s, {statistics.median(ratios):.2f}"
        f" [{min(ratios):.2f}, {max(ratios):.2f}] times row by row; gradients {found['gradients_apart']:.1e} apart;"
        f" {found['share_of_matmul_rate']:.0%} of {rate / 1e9:.0f} GFLOP/s"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
