"""The most memory that an update takes: ours against a plain loop over transformers, each in a process of its own.

    python benchmarks/memory.py MODEL [--prompts 8] [--rewrites 2] [--head 130] [--own 31] [--actions 48] [--runs 1]
                                [--rank 16] [--tokens N] [--dtype float32]

MODEL is a folder with a causal language model; LoRA of `--rank` on all linear layers, 0 trains every weight. Both sides
compute the gradient of the same minibatch. The plain loop reads each row whole, in one padded batch, and takes the
log-softmax of all logits; ours is `forward` on pieces of `--tokens` tokens, on one piece where that is left out. What a
process holds with the model loaded, before the update, is taken off both. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import psutil
import torch

SIZES = {"prompts": 8, "rewrites": 2, "head": 130, "own": 31, "actions": 48, "runs": 1, "rank": 16}


def batch(given: argparse.Namespace, vocabulary: int) -> Any:
    """The minibatch, the same in both processes."""
    from alignpro.models.logprobs import collate

    rng = np.random.default_rng(0)

    def words(count: int) -> Any:
        return rng.integers(10, vocabulary, count)

    head = words(given.head).tolist()
    own = [words(given.own).tolist() for _ in range(given.prompts)]
    queries = [[*head, *one] for one in own for _ in range(given.rewrites)]
    return collate(queries, [words(given.actions) for _ in queries], 0)


def plain(model: Any, actions: Any) -> None:
    ids = torch.cat([actions.query, actions.action], 1)
    mask = torch.cat([actions.query_mask, actions.action_mask], 1)
    logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    logprobs = logits[:, actions.query.shape[1] - 1 : -1].float().log_softmax(-1)
    logprobs.gather(2, actions.action[:, :, None]).mean().backward()


def ours(model: Any, actions: Any, tokens: int | None) -> None:
    from alignpro.models.logprobs import forward
    from alignpro.train.pieces import Pieces

    groups = actions.query.unique(dim=0, return_inverse=True)[1]
    cut = Pieces(model, tokens or sys.maxsize).cutter(actions, groups, lambda rows: None)
    for rows in cut(torch.arange(len(actions))):
        (forward(model, actions.rows(rows), 1.0)[0].sum() / actions.action_mask.sum()).backward()


def side(given: argparse.Namespace) -> None:
    """One update in this process; prints its peak in bytes above what was held before, and its gradient's length."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from alignpro.runtime import memory

    memory.keep()
    model: Any = AutoModelForCausalLM.from_pretrained(given.model, dtype=getattr(torch, given.dtype)).eval()
    if given.rank:
        torch.manual_seed(0)
        config = LoraConfig(r=given.rank, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        model = get_peft_model(model, config).eval()
    actions = batch(given, model.config.vocab_size)
    one = actions.rows(torch.tensor([0, 1]))
    ours(model, one, None)  # what libraries set up at their first use, and gradients, count for neither
    before = psutil.Process().memory_info().rss
    for weight in model.parameters():
        weight.grad = None
    plain(model, actions) if given.side == "plain" else ours(model, actions, given.tokens)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    norm = sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    print(json.dumps({"bytes": peak - before, "norm": norm}))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("model")
    for name, value in SIZES.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--tokens", type=int)
    ask.add_argument("--dtype", default="float32")
    ask.add_argument("--side", choices=["plain", "ours"], help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.side:
        return side(given)

    def measured(which: str) -> Any:
        command = [sys.executable, __file__, *sys.argv[1:], f"--side={which}"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    pairs = [(measured("ours"), measured("plain")) for _ in range(given.runs)]
    ratios = [other["bytes"] / own["bytes"] for own, other in pairs]
    found = {
        "name": "memory",
        "ratios": {"plain loop": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}},
        "gib": {
            name: statistics.median(pair[i]["bytes"] for pair in pairs) / 2**30
            for i, name in enumerate(("ours", "plain loop"))
        },
        "gradients_apart": max(abs(own["norm"] / other["norm"] - 1) for own, other in pairs),
        "settings": {name: value for name, value in vars(given).items() if name != "side"},
    }
    print(f"the plain loop takes {found['ratios']['plain loop']['median']:.1f} times the memory")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
