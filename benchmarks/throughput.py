"""A whole step of training against TRL doing the same: rewrites, answers, rewards, reference, one epoch of the update.

    make bench-trl       # TRL in an environment of its own, build/trl
    build/trl/bin/python benchmarks/throughput.py [--model lab] [--method rloo] [--prompts 32] [--rewrites 4]
                         [--steps 6] [--rounds 3] [--dtype float32] [--rank 0] [--answers generate]

MODEL is `lab`, or a folder with a causal language model that is prompter and frozen model. Both sides take as many
prompts, rewrites and answers of the same lengths, one minibatch of all rows a step, the same reward, kl_coef and
learning rate; they take turns, a round each, and a round's first two steps warm up. TRL's reward function asks the
frozen model by transformers' `generate`, as a user of TRL would write it, or with `--answers ours` through our sampler,
which leaves TRL's own part. Beside the times stands the mean reward of both sides' last steps. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from alignpro import config
from alignpro.adapters.environment import Environment, environment
from alignpro.adapters.trl import reward_function, rows
from alignpro.models.language_model import LanguageModel
from alignpro.models.loading import resolve
from alignpro.models.local import LocalFrozenModel
from alignpro.running import job
from alignpro.running.prompts import prompts_of
from alignpro.runtime import threads
from alignpro.types import Generation, Prompt

WARM_UP, LAST = 2, 2
TRAINERS = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}


@dataclass(frozen=True)
class Generated:
    """A frozen model asked by transformers' `generate`, in one batch."""

    lm: LanguageModel
    name: str = "generate"

    def respond(self, prompts: Sequence[Prompt], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` responses to `prompts[i]`."""
        torch.manual_seed(seed)
        asked = [query for query, n in zip(self.lm.queries(prompts), counts, strict=True) for _ in range(n)]
        width = max(map(len, asked))
        ids = torch.tensor([[self.lm.pad_id] * (width - len(query)) + query for query in asked])
        mask = torch.tensor([[0] * (width - len(query)) + [1] * len(query) for query in asked])
        made = self.lm.model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=self.lm.sampling.temperature,
            top_k=0,
            max_new_tokens=self.lm.sampling.max_new_tokens,
            eos_token_id=self.lm.eos_ids,
            pad_token_id=self.lm.pad_id,
        )[:, width:]
        texts = iter(self.lm.tokenizer.batch_decode(made, skip_special_tokens=True))
        return [[Generation(next(texts)) for _ in range(n)] for n in counts]


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step of TRL's ended, and its mean reward."""

    def __init__(self) -> None:
        self.ends, self.rewards = list[float](), list[float]()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "reward" in logs:
            self.rewards.append(logs["reward"])


def ours(settings: config.Settings, out: Path) -> tuple[list[float], list[float]]:
    """Seconds of each step, and its mean reward."""
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        job.run(settings, out)
    told = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    ends = [0.0, *(row["seconds"] for row in told)]
    return [b - a for a, b in itertools.pairwise(ends)], [row["reward"] for row in told]


def theirs(settings: config.Settings, world: Environment, given: argparse.Namespace, out: Path) -> Any:
    """Seconds of each step of TRL's, and its mean reward."""
    trainer, options = TRAINERS[given.method]
    clock, total = Clock(), given.prompts * given.rewrites
    prompts = prompts_of(settings.data, settings.split_seed).train
    adapter = LoraConfig(r=given.rank, lora_alpha=2 * given.rank, target_modules="all-linear") if given.rank else None
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        made = trainer(
            model=resolve(given.model, "prompter"),
            reward_funcs=reward_function(world),
            train_dataset=Dataset.from_list(rows(world, prompts)),
            peft_config=adapter,
            callbacks=[clock],
            args=options(
                output_dir=str(out),
                max_steps=given.steps,
                per_device_train_batch_size=total,
                num_generations=given.rewrites,
                max_completion_length=settings.prompter.sampling.max_new_tokens,
                learning_rate=settings.train.group.learning_rate,
                lr_scheduler_type="constant",
                beta=settings.train.kl.coef,
                temperature=1.0,
                bf16=given.dtype == "bfloat16",
                model_init_kwargs={"dtype": given.dtype},
                gradient_checkpointing=False,
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
        )
        made.train()
    return [b - a for a, b in itertools.pairwise(clock.ends)], clock.rewards


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--model", default="lab")
    ask.add_argument("--method", default="rloo", choices=sorted(TRAINERS))
    sizes = {"prompts": 32, "rewrites": 4, "steps": 6, "rounds": 3, "rank": 0, "max_new_tokens": 0, "answer_tokens": 0}
    for name, value in sizes.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--dtype", default="float32")
    ask.add_argument("--answers", default="generate", choices=["generate", "ours"])
    ask.add_argument("--reward", default="lab")
    ask.add_argument("--rate", type=float, default=1e-4)
    given = ask.parse_args()
    total = given.prompts * given.rewrites
    wanted = [
        f"dtype={given.dtype}",
        f"train.method={given.method}",
        f"train.steps={given.steps}",
        f"train.prompts_per_step={given.prompts}",
        f"train.rewrites={given.rewrites}",
        "train.kl.coef=0.25",
        f"train.group.minibatch_size={total}",
        "train.group.epochs=1",
        f"train.group.learning_rate={given.rate}",
        f"prompter.batch_size={total}",
        f"frozen.batch_size={total}",
        f"reward.batch_size={total}",
        "rlhf.enabled=false",
        "headroom.after_training=false",
        "evaluate.arms=[align_pro]",
        "evaluate.prompts=2",
        "evaluate.responses=2",
        "evaluate.every=0",
        "evaluate.second_reward=null",
    ]
    if given.model != "lab":
        wanted += [f"prompter.model={given.model}", f"frozen.model={given.model}", f"reward.model={given.reward}"]
    wanted += [f"prompter.lora={{rank: {given.rank}, alpha: {2 * given.rank}}}"] if given.rank else []
    wanted += [f"prompter.sampling.max_new_tokens={given.max_new_tokens}"] if given.max_new_tokens else []
    wanted += [f"frozen.sampling.max_new_tokens={given.answer_tokens}"] if given.answer_tokens else []
    settings = config.load("lab", wanted)
    count = threads.use(settings.threads)
    world = environment(settings)
    if given.answers == "generate" and isinstance(world.frozen, LocalFrozenModel):
        world = replace(world, frozen=Generated(world.frozen.lm))
    seconds: list[tuple[float, float]] = []
    rewards: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.rounds):
            a = ours(settings, Path(folder) / f"ours-{turn}")
            b = theirs(settings, world, given, Path(folder) / f"theirs-{turn}")
            seconds.append((statistics.median(a[0][WARM_UP:]), statistics.median(b[0][WARM_UP:])))
            rewards.append((statistics.fmean(a[1][-LAST:]), statistics.fmean(b[1][-LAST:])))
    ratios = [y / x for x, y in seconds]
    found = {
        "name": "throughput",
        "ratios": {
            f"trl {given.method}": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        },
        "seconds": seconds,
        "rewards": rewards,
        "settings": vars(given) | {"threads": count},
    }
    print(
        f"{given.method} on {Path(given.model).name}: ours {statistics.median(x for x, _ in seconds):.2f} s a step, TRL"
        f" {statistics.median(y for _, y in seconds):.2f} s: {statistics.median(ratios):.2f} [{min(ratios):.2f},"
        f" {max(ratios):.2f}] times; mean rewards of the last steps {rewards}"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
