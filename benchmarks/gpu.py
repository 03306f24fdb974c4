"""Sampling and the update on a GPU, in shapes that people use, with random weights: nothing is downloaded.

    python benchmarks/gpu.py [--shapes qwen2.5-1.5b llama-3.1-8b] [--rows 64] [--query 161] [--tokens 64] [--rank 16]

LoRA on all linear layers, bfloat16. Of each shape it prints tokens a second of the sampler beside transformers'
`generate`, once with rows of equal lengths and once with lengths that spread; of the update (forward, backward) beside
the same rows read one by one in a plain loop; and, where TRL is installed, of a whole step of RLOO (eight rewrites of a
prompt, the reference's log-probabilities, one update) beside TRL's; each with its peak memory. Before that, the tokens
that a sampler draws are compared with those of the same weights read whole. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)

from alignpro.config import LoraSettings, Sampling
from alignpro.models import prefixes
from alignpro.models.logprobs import collate, forward
from alignpro.models.lora import AdapterOff, adapted
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
GROUP = 8
"""Rewrites of one prompt in a step."""
STRETCHES = 4
"""Batches that are sampled after one another where lengths spread."""


def measured(name: str, work: Callable[[], int], device: str, runs: int) -> dict[str, float]:
    """Tokens a second of `work`, which returns how many it made, and the peak of memory in GiB; printed at once."""
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
    return told(name, rates, device)


def told(name: str, rates: list[float], device: str) -> dict[str, float]:
    rate = {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "peak_gib": peak(device)}
    spread = f"[{rate['min']:,.0f}, {rate['max']:,.0f}]"
    print(f"{name:26} {rate['median']:10,.0f} {spread} tokens/s, {rate['peak_gib']:.1f} GiB", flush=True)
    return rate


def peak(device: str) -> float:
    """Of the GPU's memory, GiB; 0 where there is none."""
    return torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0


def made(name: str, device: str) -> Any:
    """A model of that shape with random weights, frozen, that never ends a row of its own accord."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = SHAPES[name]()
    torch.set_default_dtype(torch.float32)
    model.eval().requires_grad_(False)
    model.generation_config.eos_token_id = None
    return model


def queries_of(vocabulary: int, rows: int, length: int) -> list[list[int]]:
    """As many queries, of which `GROUP` after one another are the same and all begin alike."""
    luck = np.random.default_rng(0)
    head = luck.integers(1, vocabulary, HEAD).tolist()
    each = [[*head, *luck.integers(1, vocabulary, length - HEAD).tolist()] for _ in range(-(-rows // GROUP))]
    return [each[row // GROUP] for row in range(rows)]


def disagreement(model: Any, queries: list[list[int]], tokens: int, device: str) -> float:
    """Nats a token, at most, between what the sampler says of the tokens it drew and what reading them whole says."""
    drawn = sample(model, queries, [1] * len(queries), Sampling(max_new_tokens=tokens), [], 0, 0, len(queries))
    found = []
    for query, (one,) in zip(queries, drawn, strict=True):
        ids = torch.tensor([[*query, *one.tokens]], device=device)
        with torch.no_grad():
            whole = model(ids).logits[0, len(query) - 1 : -1].float().log_softmax(-1)
        read = whole.gather(1, ids[0, len(query) :, None]).squeeze(1).cpu()
        found.append(float((read - torch.as_tensor(one.logprobs)).abs().max()))
    return max(found)


def shape(name: str, given: argparse.Namespace, device: str) -> dict[str, Any]:
    print(name, flush=True)
    model = made(name, device)
    vocabulary = model.config.vocab_size
    queries = queries_of(vocabulary, given.rows, given.query)
    luck = np.random.default_rng(1)
    actions = [luck.integers(1, vocabulary, given.tokens) for _ in range(given.rows)]
    ids, total = torch.tensor(queries, device=device), int(given.rows * given.tokens)
    gap = disagreement(model, queries[:: GROUP // 2], given.tokens, device)
    print(f"{gap:.3f} nats a token between sampling and reading", flush=True)
    ends = luck.choice(vocabulary, max(1, vocabulary * 3 // given.tokens), replace=False).tolist()
    """So many of the vocabulary's ids that a row of a uniform model has a third of the tokens at most, on average."""

    def ours(ends: list[int], rows: list[list[int]]) -> int:
        limits = Sampling(max_new_tokens=given.tokens)
        drawn = sample(model, rows, [1] * len(rows), limits, ends, 0, 0, batch_size=given.rows)
        return sum(len(one.tokens) for each in drawn for one in each)

    def theirs(ends: list[int], times: int) -> int:
        count = 0
        for _ in range(times):
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                max_new_tokens=given.tokens,
                eos_token_id=ends or None,
                pad_token_id=0,
            )[:, ids.shape[1] :]
            count += int((found != 0).sum())
        return count

    many = queries * STRETCHES
    found: dict[str, Any] = {}

    def measure(part: str, work: Callable[[], int]) -> None:
        found[part] = measured(part, work, device, given.runs)

    measure("sampler", lambda: ours([], queries))
    measure("generate", lambda: theirs([], 1))
    measure("sampler, lengths spread", lambda: ours(ends, many))
    measure("generate, lengths spread", lambda: theirs(ends, STRETCHES))
    with adapted(model, LoraSettings(rank=given.rank, alpha=2 * given.rank), "prompter.lora", 0) as policy:
        parts = [one for one in policy.parameters() if one.requires_grad]
        rule = torch.optim.AdamW(parts, lr=1e-5)

        def scored(some: slice) -> torch.Tensor:
            return forward(policy, collate(queries[some], actions[some], 0, device), 1.0)[0]

        def update(rows: int) -> int:
            for start in range(0, given.rows, rows):
                scored(slice(start, start + rows)).sum().backward()
            policy.zero_grad()
            return total

        def step() -> int:
            """What a step of RLOO does with a reward that costs nothing."""
            drawn = sample(
                policy, queries, [1] * given.rows, Sampling(max_new_tokens=given.tokens), [], 0, 0, given.rows
            )
            rows = collate(queries, [one.tokens for each in drawn for one in each], 0, device)
            with torch.no_grad():
                forward(AdapterOff(policy), rows, 1.0)
            (forward(policy, rows, 1.0)[0].sum(1) * torch.randn(given.rows, device=device)).mean().backward()
            torch.nn.utils.clip_grad_norm_(parts, 1.0)
            rule.step()
            rule.zero_grad()
            return total

        measure("update", lambda: update(given.rows))
        worth, prefixes.is_worth = prefixes.is_worth, lambda *_: False
        measure("row by row", lambda: update(given.piece))
        prefixes.is_worth = worth
        measure("step", step)
    if importlib.util.find_spec("trl") is not None and not given.without_trl:
        try:
            found["trl"] = trl_step(model, given, device)
        except torch.OutOfMemoryError:
            print(f"{name}: TRL's step of {given.rows} rows does not fit in this GPU's memory")
    return {"nats a token between sampling and reading": gap, "tokens/s": found}


def trl_step(model: Any, given: argparse.Namespace, device: str) -> dict[str, float]:
    """Tokens a second of TRL's RLOO on the same rows, with a reward that costs nothing."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import RLOOConfig, RLOOTrainer

    ends = [0.0]

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            ends.append(time.perf_counter())

    words = {f"w{i}": i for i in range(model.config.vocab_size)}
    inner = Tokenizer(models.WordLevel(words, unk_token="w1"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="w0", eos_token="w0")
    queries = queries_of(model.config.vocab_size, given.rows, given.query)
    texts = [" ".join(f"w{i}" for i in query) for query in queries[::GROUP]]
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        RLOOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=lambda completions, **_: [float(len(one) % 7) for one in completions],
            train_dataset=Dataset.from_dict({"prompt": texts * (given.runs + 2)}),
            peft_config=LoraConfig(r=given.rank, lora_alpha=2 * given.rank, target_modules="all-linear"),
            callbacks=[Clock()],
            args=RLOOConfig(
                output_dir=folder,
                max_steps=given.runs + 2,
                per_device_train_batch_size=given.rows,
                num_generations=GROUP,
                max_completion_length=given.tokens,
                learning_rate=1e-5,
                beta=0.05,
                temperature=1.0,
                bf16=True,
                gradient_checkpointing=False,
                use_cpu=device == "cpu",
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
            ),
        ).train()
    return told("trl", [given.rows * given.tokens / (b - a) for a, b in itertools.pairwise(ends[2:])], device)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--shapes", nargs="+", default=list(SHAPES)[:2], choices=list(SHAPES))
    for name, value in {"rows": 64, "query": 161, "tokens": 64, "rank": 16, "piece": 8, "runs": 3}.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--without-trl", action="store_true", help="though it is installed")
    given = ask.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {name: shape(name, given, device) for name in given.shapes}
    against = {"sampler": "generate", "sampler, lengths spread": "generate, lengths spread", "update": "row by row"}
    ratios = {
        f"{name}: {own} / {peer}": {"median": parts["tokens/s"][own]["median"] / parts["tokens/s"][peer]["median"]}
        for name, parts in found.items()
        for own, peer in (*against.items(), ("step", "trl"))
        if peer in parts["tokens/s"]
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio['median']:.2f}")
    print(json.dumps({"name": "gpu", "ratios": ratios, "shapes": found, "settings": vars(given) | {"device": device}}))


if __name__ == "__main__":
    main()
