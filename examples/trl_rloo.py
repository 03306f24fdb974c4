"""The objective (9) trained by TRL's RLOO trainer, on the lab's tiny models: `python examples/trl_rloo.py OUT`.

Needs `pip install 'trl>=1.16,<1.17'`. docs/trl.md says which of TRL's options make its objective this one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from datasets import Dataset
from trl import RLOOConfig, RLOOTrainer

from alignpro import config
from alignpro.adapters.environment import environment
from alignpro.adapters.trl import reward_function, rows
from alignpro.models.loading import resolve
from alignpro.running.prompts import prompts_of


def main(out: Path, steps: int = 2) -> None:
    settings = config.load("lab")
    world = environment(settings)
    prompts = prompts_of(settings.data, settings.split_seed).train[:64]
    trainer = RLOOTrainer(
        model=resolve("lab", "prompter"),  # a path: an object in memory would be reloaded as its own reference
        reward_funcs=reward_function(world),
        train_dataset=Dataset.from_list(rows(world, prompts)),
        args=RLOOConfig(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=16,
            num_generations=4,
            max_completion_length=40,
            learning_rate=1e-3,
            beta=settings.train.kl.coef,
            normalize_advantages=False,
            temperature=1.0,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to="none",
            logging_steps=1,
        ),
    )
    trainer.train()
    trainer.save_model(str(out / "prompter"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/trl"))
