"""Train by every method given, alone or in processes that a launcher started; leave the gradients of the first update
and the final weights. Called as `shared_run.py WORKSHOP OUT METHOD...`, where FOLDER/METHOD goes on with the run there
is in OUT/FOLDER/METHOD."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cli import settings
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from alignpro.models.local import load_prompter
from alignpro.running import job
from alignpro.runtime import processes

SETTINGS = (
    "reward.model=python:shared_run:score",
    "train.prompts_per_step=7",
    "train.rewrites=3",
    "train.steps=2",
    "train.save_every=1",
    "train.average=0.5",
    "train.ppo={learning_rate: 1e-4, minibatch_size: 9, epochs: 2, gradient_accumulation: 3, max_grad_norm: 0.5}",
    "train.group={learning_rate: 1e-4, minibatch_size: 9, epochs: 2, target_kl: 0.0003, max_grad_norm: 0.5}",
    "train.offline={learning_rate: 1e-4, gradient_accumulation: 4, max_grad_norm: 0.5}",
    "evaluate.every=0",
    "reward.max_failed=0.6",
)


def score(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Some samples fail, so that the processes' shares of a minibatch differ in size."""
    return [math.nan if len(y) % 6 == 0 else len(y) / 10 for y in responses]


def train(workshop: Path, out: Path, name: str) -> dict[str, Any]:
    """Gradients of the first update, as clipped, the prompter's weights after two steps, and whether it was split."""
    method, folder = Path(name).name, out / name
    split: list[bool] = []
    gradients: list[torch.Tensor] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if not gradients:
            found = [p.grad for group in optimizer.param_groups for p in group["params"]]
            split.append(any(isinstance(g, DTensor) for g in found))
            gradients.extend(g.full_tensor() if isinstance(g, DTensor) else g.clone() for g in found)

    online = ("train.kl.adaptive=true", "train.kl.target=0.5") if method in ("ppo", "rloo", "grpo") else ()
    run = settings(workshop, *SETTINGS, f"train.method={method}", *online)
    hook = register_optimizer_step_pre_hook(note)
    resume = (folder / "checkpoints").is_dir()
    job.run(None if resume else run, folder, resume=resume, only_train=True)
    hook.remove()
    trained = load_prompter(run.prompter.model_copy(update={"model": str(folder / "prompter")}))
    return {"gradients": gradients, "weights": [p.detach() for p in trained.lm.model.parameters()], "split": any(split)}


def main() -> None:
    workshop, out, *methods = sys.argv[1:]
    sys.path.insert(0, workshop)
    found = {method: train(Path(workshop), Path(out), method) for method in methods}
    torch.save(found, Path(out) / f"process-{1 if processes.is_first() else 2}.pt")


if __name__ == "__main__":
    main()
