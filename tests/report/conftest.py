"""A synthetic run's folder, complete unless a test takes something away."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

Change = Callable[[Callable[[dict[str, Any]], None]], Path]
ARMS: dict[str, tuple[float, float | None]] = {
    "no_prompter": (0.0, None),
    "reference_prompter": (-0.05, 0.0),
    "align_pro": (0.42, 3.1),
    "gibbs_8": (0.31, 1.4),
    "rlhf": (0.66, None),
}
REWARD, SECOND = "lab reward model", "gold_utility"


def evaluation(arms: dict[str, tuple[float, float | None]] = ARMS, prompts: int = 12) -> dict[str, Any]:
    """What evaluation.json holds: gains over no_prompter as in `arms`, each interval 0.07 to either side."""
    figures = {
        name: {
            "mean_reward": 0.8137 + gain,
            "ci95": [0.8137 + gain - 0.09, 0.8137 + gain + 0.09],
            "reward_variance": 0.61 - gain / 4,
            "variance_between_prompts": 0.36 - gain / 8,
            "variance_within_prompts": 0.25 - gain / 8,
            "kl_to_reference": kl,
            "frozen_calls": prompts * 4 * (16 if name.startswith("gibbs") else 1),
            "failed": 3 if name == "align_pro" else 0,
            "second_reward": {"mean": 0.5 + gain / 3, "ci95": [0.45 + gain / 3, 0.55 + gain / 3]},
        }
        for name, (gain, kl) in arms.items()
    }
    pairs = [(name, "no_prompter") for name in arms if name != "no_prompter"]
    pairs += [("align_pro", other) for other in arms if other not in ("align_pro", "no_prompter")]
    pairs = [(a, b) for a, b in pairs if a in arms and b in arms]
    gains = {pair: arms[pair[0]][0] - arms[pair[1]][0] for pair in pairs}
    return {
        "schema": 1,
        "reward": REWARD,
        "second_reward": SECOND,
        "prompts": prompts,
        "responses_per_prompt": 4,
        "arms": figures,
        "differences": [
            {
                "a": a,
                "b": b,
                "reward": reward,
                "mean_difference": gain / cut,
                "ci95": [(gain - 0.07) / cut, (gain + 0.07) / cut],
            }
            for reward, cut in ((REWARD, 1), (SECOND, 3))
            for (a, b), gain in gains.items()
        ],
        "win_rates": [
            {
                "a": a,
                "b": b,
                "judge": judge,
                "win": round(4 * prompts * (0.4 + gain / 3)),
                "tie": round(4 * prompts * 0.2),
                "loss": round(4 * prompts * (0.4 - gain / 3)),
                "win_rate": 0.5 + gain / 3,
                "ci95": [0.47 + gain / 3, 0.53 + gain / 3],
                "order_consistency": 1.0,
                "unparsed": 0,
                "mean_length_difference": 14.2 * gain,
            }
            for judge in (SECOND,)
            for (a, b), gain in gains.items()
        ],
        "optimum": {
            "kl_coef": 0.1,
            "prompts": 60,
            "rewrites": 64,
            "responses": 2,
            "objective_reference": 0.76,
            "objective_trained": 0.92,
            "objective_optimum": 0.985,
            "share_of_gain": 0.71,
            "share_ci95": [0.58, 0.84],
            "frontier": [
                {
                    "kl_coef": coef,
                    "kl": 0.2 / coef**0.9,
                    "reward": 0.76 + 0.36 * math.sqrt(min(0.2 / coef**0.9, 4.5)),
                    "ci95": [
                        0.66 + 0.36 * math.sqrt(min(0.2 / coef**0.9, 4.5)),
                        0.88 + 0.36 * math.sqrt(min(0.2 / coef**0.9, 4.5)),
                    ],
                    "ess": 60 * coef**0.8,
                }
                for coef in (3.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.07, 0.04)
            ],
        },
        "cost": {"frozen_calls": 4 * prompts * 24, "seconds": 61.5},
    }


def samples(
    arms: dict[str, tuple[float, float | None]] = ARMS, prompts: int = 12, words: int = 6
) -> list[dict[str, Any]]:
    """Lines of samples.jsonl: the final comparison, and small evaluations during training."""
    random = np.random.default_rng(0)
    vocabulary = ["the", "sea", "lamp", "wind", "under", "bright", "seven", "keeps", "slowly", "morning", "salt"]

    def text(n: int) -> str:
        return " ".join(random.choice(vocabulary, n))

    found = []
    for prompt_id in range(prompts):
        prompt, ease = f"Write {prompt_id} lines about {text(words)}", random.normal(0, 0.6)
        for name, (gain, _) in arms.items():
            rewrite = prompt if name in ("no_prompter", "rlhf") else f"{prompt}. Be {text(words)}."
            for place in range(4):
                reward = 0.81 + gain + ease + random.normal(0, 0.5)
                failed = name == "align_pro" and place == 1 and prompt_id < 3
                found.append(
                    {
                        "stage": "evaluation",
                        "step": 60,
                        "arm": name,
                        "prompt_id": prompt_id,
                        "prompt": prompt,
                        "rewrite": rewrite,
                        "response": f"{text(4 * words)}.\n{text(3 * words)}.",
                        "reward": None if failed else reward,
                        "second_reward": None if failed else reward / 3,
                        "finish": "length" if place == 2 else "stop",
                        "failure": "the reward gave no number" if failed else None,
                    }
                )
    for step in (20, 40, 60):
        for prompt_id in range(4):
            line = {**found[0], "stage": "monitor", "step": step, "arm": "align_pro", "prompt_id": prompt_id}
            found.append({**line, "reward": 0.7 + step / 150 + 0.1 * prompt_id})
    return found


def metrics(steps: int = 60) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl."""
    random = np.random.default_rng(1)
    return [
        {
            "step": step,
            "reward": 0.8 + 0.45 * (1 - math.exp(-step / 20)) + random.normal(0, 0.06),
            "objective": 0.8 + 0.3 * (1 - math.exp(-step / 20)) + random.normal(0, 0.06),
            "kl": 3.1 * (1 - math.exp(-step / 25)) + abs(random.normal(0, 0.1)),
            "explained_variance": 0.7 * (1 - math.exp(-step / 10)) if step > 1 else None,
        }
        for step in range(1, steps + 1)
    ]


def write_lines(path: Path, records: list[dict[str, Any]], tail: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text(lines + tail, encoding="utf-8", newline="\n")


def write_run(
    folder: Path,
    arms: dict[str, tuple[float, float | None]] = ARMS,
    prompts: int = 12,
    words: int = 6,
) -> Path:
    """A whole run with these arms in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"seed": 0, "prompter": {"model": "lab"}, "train": {"steps": 60, "kl": {"coef": 0.1}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    environment = {
        "alignpro": "0.1.0",
        "python": "3.11.9",
        "seed": 0,
        "commit": "f2fa67a",
        "cpu_count": 2,
        "device": "cpu",
    }
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    (folder / "evaluation.json").write_text(json.dumps(evaluation(arms, prompts)), encoding="utf-8")
    write_lines(folder / "samples.jsonl", samples(arms, prompts, words))
    write_lines(folder / "metrics.jsonl", metrics())
    oracle = [{"step": line["step"], "reward": line["reward"]} for line in metrics(30)]
    write_lines(folder / "rlhf" / "metrics.jsonl", oracle)
    return folder


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A whole run with five arms."""
    return write_run(tmp_path / "run")


@pytest.fixture
def change(run_dir: Path) -> Change:
    """Edits evaluation.json of the run in place."""

    def edit(how: Callable[[dict[str, Any]], None]) -> Path:
        tree = json.loads((run_dir / "evaluation.json").read_text(encoding="utf-8"))
        how(tree)
        (run_dir / "evaluation.json").write_text(json.dumps(tree), encoding="utf-8")
        return run_dir

    return edit
