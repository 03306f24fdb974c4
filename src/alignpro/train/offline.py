"""Learning from the closed form, offline: every rollout is sampled once, then the prompter is fitted to rho* of (10).

The frozen model is asked for nothing after `gather`. The three methods are one loss each, in `offline_losses`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignpro.config import OfflineSettings, TrainSettings
from alignpro.flow.failures import check_failures
from alignpro.flow.objective import objective, score_rewrites
from alignpro.models.logprobs import Actions, forward
from alignpro.rng import derive
from alignpro.runtime import files, processes, progress
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Advance
from alignpro.train.collectors import Collect, Collected
from alignpro.train.guard import check
from alignpro.train.offline_losses import Loss
from alignpro.train.pieces import Pieces
from alignpro.train.step_size import StepSize, moved
from alignpro.train.units import Units
from alignpro.train.update import Experience, Learner, adam, step
from alignpro.types import FrozenModel, Generation, Prompt, Prompter, Reward, RewriteTerms


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one prompt's sampling gave: the different rewrites among G of the reference, how often each was drawn, and
    R(x, x') of each with the terms on x' added, nan where it failed."""

    rewrites: tuple[Generation, ...]
    counts: tuple[int, ...]
    rewards: tuple[float, ...]
    frozen_calls: int


def gather(
    prompts: Sequence[Prompt],
    reference: Prompter,
    frozen: FrozenModel,
    reward: Reward,
    settings: TrainSettings,
    *,
    path: Path,
    seed: int,
    max_failed: float,
    stop: StopRequest,
    advance: Advance,
    prompt_terms: RewriteTerms | None = None,
    written: Callable[[], None] = lambda: None,
) -> dict[Prompt, Gathered]:
    """Sample G rewrites of every prompt, and K responses to each different one, a step's worth of prompts at a time.

    Each step's rows are written to `path` as they come, and whole steps found there are not paid for again; `written`
    is called whenever some are. Raises RewardFailure, Interrupted, DamagedResult.
    """
    gathered = dict(files.parsed_rows(path, _from_row, "delete that line, and its prompt is sampled again"))
    different = list(dict.fromkeys(prompts))
    starts = range(0, len(different), settings.prompts_per_step)
    chunks = [different[start : start + settings.prompts_per_step] for start in starts]
    left = [chunk for chunk in chunks if any(prompt.key not in gathered for prompt in chunk)]
    again = {prompt.key for chunk in left for prompt in chunk}  # a step of which some rows were lost is drawn as before
    gathered = {key: row for key, row in gathered.items() if key not in again}
    files.keep_rows(path, lambda row: row["prompt"] not in again)
    failures: Counter[str] = Counter()
    for chunk in left:
        advance(len(gathered), f"{calls(gathered):,} answers asked")
        progress.expect(len(chunk), len(chunk) * settings.rewrites * (1 + settings.responses))
        stop.check()
        drawn = derive(seed, "gather", chunk[0].key)
        rewrites = reference.rewrite(chunk, settings.rewrites, derive(drawn, "rewrite"))
        scores = score_rewrites(
            chunk, rewrites, frozen, reward, responses=settings.responses, seed=drawn, prompt_terms=prompt_terms
        )
        values = objective(scores)
        failures += scores.failures
        for prompt, row, mine, asked in zip(
            chunk, rewrites, values.tolist(), scores.frozen_calls.tolist(), strict=True
        ):
            gathered[prompt.key] = _merged(row, mine, asked)
        so_far = np.concatenate([np.repeat(row.rewards, row.counts) for row in gathered.values()])
        check_failures(so_far, failures, max_failed, "sampling the reference")
        files.append_jsonl(path, [_to_row(prompt.key, gathered[prompt.key]) for prompt in chunk], checked=True)
        written()
    advance(len(gathered), "")
    return {prompt: gathered[prompt.key] for prompt in prompts}


def calls(gathered: Mapping[Any, Gathered]) -> int:
    """Answers of the frozen model that the sampling took."""
    return sum(row.frozen_calls for row in gathered.values())


def units_of(gathered: Mapping[Any, Gathered]) -> Units:
    """The units of everything that the reference was sampled for."""
    worth = np.concatenate([np.repeat(row.rewards, row.counts) for row in gathered.values()])
    return Units().after(worth[np.isfinite(worth)])


def replay(gathered: Mapping[Prompt, Gathered]) -> Collect:
    """The stored rollouts of a step's prompts, in place of new ones."""

    def collect(prompts: Sequence[Prompt], seed: int) -> Collected:
        rows = [gathered[prompt] for prompt in prompts]
        return Collected(
            actions=[rewrite for row in rows for rewrite in row.rewrites],
            groups=np.repeat(np.arange(len(rows)), [len(row.rewrites) for row in rows]),
            rewards=np.array([value for row in rows for value in row.rewards]),
            failures=Counter(),
            frozen_calls=0,
            counts=np.array([count for row in rows for count in row.counts]),
            from_reference=True,
        )

    return collect


MEASURED = 64
"""Rewrites of a step, in each process, on which its size is measured."""


class OfflineLearner(Learner):
    """The policy's optimiser and the loss that fits it to rho*."""

    def __init__(self, policy: Any, settings: OfflineSettings, loss: Loss, tokens: int | None = None) -> None:
        self.policy, self.settings, self.loss = policy, settings, loss
        self.pieces = Pieces(policy, tokens)
        self.step_size = StepSize(policy, settings)
        self.optimizer = adam(policy, self.step_size)

    def update(self, experience: Experience, *, kl_coef: float, temperature: float, seed: int) -> dict[str, float]:
        """One step on all rewrites of the step's prompts, which several processes share; `reward` and `kl` are the
        policy's, by importance weights."""
        group, place = _places(experience.groups)
        prompts, width = int(group.max()) + 1, int(place.max()) + 1
        blank = experience.rewards.new_zeros(prompts, width)
        counts, rewards, reference = (
            blank.index_put((group, place), values.to(blank))
            for values in (experience.counts, experience.rewards, experience.ref_logprobs.sum(1))
        )
        self.optimizer.zero_grad(set_to_none=True)
        total, reward, kl = 0.0, 0.0, 0.0
        measured: tuple[Actions, Tensor] | None = None
        cut = self.pieces.cutter(
            experience.actions,
            group,
            lambda rows: forward(self.policy, experience.actions.rows(rows), temperature),
            whole=True,
        )
        for part, weight in processes.pieces(
            torch.arange(prompts, device=group.device), self.settings.gradient_accumulation, cut
        ):
            rows = torch.isin(group, part).nonzero().squeeze(1)
            logprobs, _ = forward(self.policy, experience.actions.rows(rows), temperature)
            measured = measured or (experience.actions.rows(rows[:MEASURED]), logprobs[:MEASURED].detach())
            mine = blank[part].index_put((group[rows] - part[0], place[rows]), logprobs.sum(1))
            loss = weight * self.loss(mine, reference[part], rewards[part], counts[part], kl_coef).sum() / prompts
            loss.backward()
            total += float(loss.detach())
            r, k = _policy_figures(mine.detach() - reference[part], rewards[part], counts[part])
            reward, kl = reward + weight * r / prompts, kl + weight * k / prompts
        figures = processes.total_figures({"loss": total, "reward": reward, "kl": kl})
        check(figures)
        figures |= step(self.optimizer, self.settings.max_grad_norm)
        return figures | {"step_kl": self._steer(measured, temperature), "updates": 1.0}

    def _steer(self, measured: tuple[Actions, Tensor] | None, temperature: float) -> float:
        """How far the step went, in nats a rewrite, on some of its rewrites; sets the size of the next."""
        distance, rows = 0.0, 0
        if measured:
            some, before = measured
            with torch.no_grad():
                after, _ = forward(self.policy, some, temperature)
            distance, rows = float(moved(after, before[:, : after.shape[1]], some.action_mask)), len(some)
        total = processes.total_figures({"distance": distance, "rows": float(rows)})
        step_kl = total["distance"] / total["rows"]
        self.step_size.after(step_kl)
        return step_kl


def _policy_figures(h: Tensor, rewards: Tensor, counts: Tensor) -> tuple[float, float]:
    """Sums over prompts of E R and KL under the policy, from the reference's rewrites weighted by exp h. (E2)"""
    scores = h + counts.log()
    weights = scores.softmax(-1)
    log_mean = scores.logsumexp(-1) - counts.sum(-1).log()
    return float((weights * rewards).sum()), float(((weights * h).sum(-1) - log_mean).sum())


def _places(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's group, numbered without holes, and its place in the group; rows of a group stand together. [N]"""
    _, group, sizes = torch.unique_consecutive(groups, return_inverse=True, return_counts=True)
    return group, torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[group]


def _merged(rewrites: Sequence[Generation], rewards: Sequence[float], frozen_calls: int) -> Gathered:
    """Equal rewrites as one; the same text spelled by other tokens is another action."""
    first: dict[tuple[int, ...], int] = {}
    where = [first.setdefault(tuple(g.tokens.tolist()), i) for i, g in enumerate(rewrites)]
    kept = list(first.values())
    counts = Counter(where)
    return Gathered(
        tuple(rewrites[i] for i in kept), tuple(counts[i] for i in kept), tuple(rewards[i] for i in kept), frozen_calls
    )


def _to_row(key: str, gathered: Gathered) -> dict[str, Any]:
    return {
        "prompt": key,
        "counts": list(gathered.counts),
        "rewards": list(gathered.rewards),
        "frozen_calls": gathered.frozen_calls,
        "rewrites": [
            {
                "text": g.text,
                "finish": g.finish,
                "failure": g.failure,
                "query": list(g.query),
                "tokens": g.tokens.tolist(),
                "logprobs": g.logprobs.tolist(),
            }
            for g in gathered.rewrites
        ],
    }


def _from_row(row: dict[str, Any]) -> tuple[str, Gathered]:
    """Key of the prompt, and what its sampling gave. Raises KeyError, TypeError, ValueError."""
    rewrites = tuple(
        Generation(
            text=g["text"],
            finish=g["finish"],
            tokens=np.array(g["tokens"], dtype=np.int64),
            logprobs=np.array(g["logprobs"], dtype=np.float32),
            query=g["query"],
            failure=g["failure"],
        )
        for g in row["rewrites"]
    )
    rewards = tuple(np.nan if value is None else float(value) for value in row["rewards"])
    counts = tuple(map(int, row["counts"]))
    if not len(rewrites) == len(counts) == len(rewards):
        raise ValueError(f"it has {len(rewrites)} rewrites, {len(counts)} counts and {len(rewards)} rewards")
    return str(row["prompt"]), Gathered(rewrites, counts, rewards, int(row["frozen_calls"]))
