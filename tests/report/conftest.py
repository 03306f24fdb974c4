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
            "reward_variance_ci95": [0.5317 - gain / 4, 0.7129 - gain / 4],
            "kl_to_reference": kl,
            "kl_to_reference_ci95": None if kl is None else [0.8 * kl, 1.3 * kl],
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
                "mean_length_difference_ci95": [14.2 * gain - 3, 14.2 * gain + 3],
                "order_consistency_ci95": [0.9321, 1.0],
            }
            for judge in (SECOND,)
            for (a, b), gain in gains.items()
        ],
        "cost": {"frozen_calls": 4 * prompts * 24, "seconds": 61.5},
    }


def figure(value: float, half: float, key: str = "value") -> dict[str, Any]:
    """A figure of headroom.json with its interval."""
    return {key: value, "ci95": [value - half, value + half]}


def headroom() -> dict[str, Any]:
    """What headroom.json holds where R(x, x') is normal under the reference, with mean 0.76 and deviation 0.35.

    The best prompter at lam then gains s^2 / lam at a KL of s^2 / (2 lam^2); all figures are those of such a world.
    """
    mean, spread, lam = 0.76, 0.35, 0.25

    def point(coef: float) -> dict[str, Any]:
        reward, kl = mean + spread**2 / coef, spread**2 / (2 * coef**2)
        return {
            "kl_coef": coef,
            "kl": kl,
            "kl_ci95": [0.9 * kl, 1.1 * kl],
            **figure(reward, 0.05 + 0.02 * kl, "reward"),
            "ess": 128 * math.exp(-2 * kl / 3.2),
            "reward_uncorrected": reward + 0.013,
        }

    best, reached, kl = point(lam), mean + 0.40, 0.9
    objective, distance = mean + spread**2 / (2 * lam), spread**2 / (2 * lam) - (0.40 - lam * kl)
    most = mean + spread * math.sqrt(2 * kl)
    arms = {"no_prompter": 0.8137, "reference_prompter": mean, "optimum": best["reward"], "trained_prompter": reached}
    kinds = {"none": 0.0, "temperature=1.5": 0.3, "temperature=2.5": 0.8}
    return {
        "schema": 1,
        "reward": REWARD,
        "kl_coef": lam,
        "beta": 0.2,
        "prompts": 64,
        "rewrites": 128,
        "responses": 8,
        "min_ess": 10.0,
        "no_prompter": figure(0.8137, 0.06, "reward"),
        "reference_prompter": figure(mean, 0.05, "reward"),
        "optimum": {
            **best,
            "objective": objective,
            "objective_ci95": [objective - 0.06, objective + 0.06],
            "log_z": objective / lam,
        },
        "trained_prompter": {
            **figure(reached, 0.06, "reward"),
            "kl": kl,
            "kl_ci95": [kl - 0.13, kl + 0.13],
            "kl_k3": 0.87,
            "objective": reached - lam * kl,
            "objective_ci95": [reached - lam * kl - 0.07, reached - lam * kl + 0.07],
            "distance": figure(distance, 0.03),
            "share_of_gain": figure(0.71, 0.13),
            "frontier_at_kl": figure(most, 0.07, "reward"),
            "share_at_kl": figure(0.40 / (most - mean), 0.11),
            "d2": figure(0.8137 - reached, 0.07),
            "gap": figure(0.66 + 0.8137 - reached, 0.09),
        },
        "rlhf_optimum": {"beta": 0.2, **figure(0.8137 + 0.66, 0.09, "reward"), "ess": 41.7, "kl": 1.63, "log_z": 5.74},
        "frontier": [point(coef) for coef in (2.0, 1.0, 0.5, 0.35, lam, 0.18, 0.125)],
        "gibbs": [
            {"n": n, **figure(mean + gain, 0.055, "reward"), "kl": nats, "frozen_calls_per_prompt": n}
            for n, gain, nats in ((2, 0.14, 0.15), (4, 0.24, 0.36), (8, 0.33, 0.6), (16, 0.4, 0.77))
        ],
        "d1": figure(0.66, 0.08),
        "d2": figure(0.8137 - best["reward"], 0.065),
        "gap": figure(0.66 + 0.8137 - best["reward"], 0.085),
        "bounds": {
            "theorem": figure(1.088, 0.14),
            "sharper": figure(0.843, 0.13),
            "span": 3.1,
            "tv_measured": True,
            "terms": {
                "fine_tuning": figure(0.961, 0.11),
                "paraphrasing": figure(0.372, 0.052),
                "optimising_kl": figure(0.245, 0.03),
                "optimising_jeffreys": figure(0.49, 0.041),
            },
        },
        "noise": [
            {
                "noise": kind,
                **{arm: figure(reward - lost * (reward - 0.3), 0.06, "reward") for arm, reward in arms.items()},
            }
            for kind, lost in kinds.items()
        ],
        "withheld": [
            {
                "figure": "frontier at kl_coef 0.0625",
                "why": "effective sample size 4.1, under 10",
                "needs": {"rewrites": 420, "frozen_calls": 118000},
            }
        ],
        "needs": [
            {
                "figure": "reward at the optimum",
                "half_width": 0.07,
                "target": 0.035,
                "prompts": 256,
                "frozen_calls": 90000,
            },
            {"figure": "share of the gain", "half_width": 0.13, "target": 0.065, "prompts": 260, "frozen_calls": 92000},
        ],
        "frozen_calls": 45000,
        "advice": {
            "verdict": "train",
            "text": "The best prompter would gain 0.44 [0.37, 0.50] over no prompter, and sampling 16 rewrites 0.35, at"
            " 16 calls for each answer.",
        },
    }


def write_headroom(folder: Path, tree: object = None) -> Path:
    """headroom.json in `folder`, with the figures of `headroom` unless given others."""
    (folder / "headroom.json").write_text(json.dumps(headroom() if tree is None else tree), encoding="utf-8")
    return folder


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
    write_headroom(folder)
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
