"""All of Align-Pro in one loop, on the lab's tiny models: `python examples/one_loop.py`, some minutes on two cores.

Read it top to bottom. Numbers in brackets are the equations of docs/theory.md. Shapes are in letters: B prompts a step,
G rewrites of each, N = B * G rows, T tokens of the longest rewrite. `alignpro run` does the same, and besides: a value
head (PPO), checkpoints, failed samples counted, other methods, remote models, several machines, a report.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

from alignpro import config
from alignpro.flow.objective import objective
from alignpro.flow.prompters import IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.maths.advantages import leave_one_out
from alignpro.maths.kl import k1
from alignpro.maths.losses import ppo_policy
from alignpro.maths.stats import mean, mean_interval, paired_difference, prompt_means
from alignpro.models.local import LocalPrompter, load_frozen, load_prompter
from alignpro.models.logprobs import Actions, collate, forward
from alignpro.rewards import load_reward
from alignpro.rng import derive
from alignpro.running.prompts import prompts_of
from alignpro.types import FrozenModel, Prompt, Prompter, Reward, Rollout

EPOCHS, MINIBATCH, CLIP = 2, 80, 0.2
DRAWS = 2_000
"""Resamples of the prompts behind every interval."""


@dataclass(frozen=True)
class Step:
    """What a step printed: means over its rewrites, KL in nats."""

    reward: float
    kl: float
    objective: float


def main(argv: Sequence[str] | None = None) -> tuple[LocalPrompter, list[Step]]:
    """Train a prompter and compare it; returns it, and what every step printed."""
    options = argparse.ArgumentParser(description="Align-Pro in one loop")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--prompts", type=int, default=40, help="B, prompts a step")
    options.add_argument("--rewrites", type=int, default=4, help="G, rewrites of a prompt: two or more")
    options.add_argument("--kl-coef", type=float, default=0.25, help="lambda of (9): the price of a nat, in reward")
    options.add_argument("--learning-rate", type=float, default=1e-3)
    options.add_argument("--test-prompts", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args(argv)

    # The pieces. The prompter rho starts as a copy of its reference rho_sft; the frozen model pi_F is never changed;
    # the reward r(x, y) was learned from preferences by (1). Training and test prompts share no subject.
    settings = config.load("lab")
    reference, prompter = load_prompter(settings.prompter), load_prompter(settings.prompter)
    frozen, reward = load_frozen(settings.frozen), load_reward(settings.reward)
    prompts = prompts_of(settings.data, settings.split_seed)
    torch.manual_seed(chosen.seed)  # of the minibatches' order; the rollouts' draws have seeds of their own
    optimizer = torch.optim.Adam(prompter.lm.model.parameters(), chosen.learning_rate)

    steps: list[Step] = []
    for number in range(1, chosen.steps + 1):
        seed = derive(chosen.seed, "step", number)
        batch = some(prompts.train, chosen.prompts, seed)

        # x -> x' -> y -> r: G rewrites of each prompt, an answer of the frozen model to each, its reward. The reward
        # sees the user's own x, never x', or the prompter would learn to ask for something easier.
        made = rollout(batch, prompter, frozen, reward, rewrites=chosen.rewrites, responses=1, seed=seed)
        steps.append(learn(made, prompter, reference, optimizer, chosen.kl_coef))
        print(f"step {number:3}  reward {steps[-1].reward:6.3f}  KL {steps[-1].kl:5.2f}  (9) {steps[-1].objective:.3f}")

    compare(some(prompts.test, chosen.test_prompts, chosen.seed), prompter, reference, frozen, reward, chosen.seed)
    return prompter, steps


def some(prompts: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """So many of the prompts, none twice."""
    return [prompts[i] for i in np.random.default_rng(seed).choice(len(prompts), count, replace=False)]


def learn(
    made: Rollout, prompter: LocalPrompter, reference: LocalPrompter, optimizer: torch.optim.Optimizer, kl_coef: float
) -> Step:
    """One step uphill on the objective (9): E[R(x, x')] - kl_coef * KL(rho || rho_sft)."""
    # R(x, x') of every rewrite [N], (8). A sample that failed is nan: it is left out, never scored 0.
    worth = objective(made).ravel()
    rows = np.flatnonzero(np.isfinite(worth))
    rewrites = [[rewrite for row in made.rewrites for rewrite in row][i] for i in rows]
    groups = torch.as_tensor(rows // len(made.rewrites[0]))  # [N]: rows of one prompt are one group
    rewards = torch.as_tensor(worth[rows])

    # The actions are the rewrites' tokens, [N, T]. Sampling noted log rho(x'|x) token by token; one pass of the
    # reference gives log rho_sft(x'|x). Their difference k1, summed over tokens, is one unbiased draw of the KL. (E4)
    actions = collate([r.query for r in rewrites], [r.tokens for r in rewrites], prompter.lm.pad_id)
    sampled = pad_sequence([torch.as_tensor(r.logprobs) for r in rewrites], batch_first=True)
    with torch.no_grad():
        under_reference, _ = forward(reference.lm.model, actions, prompter.lm.sampling.temperature)
    kl = k1(sampled, under_reference).sum(1)  # [N] nats; both are 0 on padding

    # RLOO: a rewrite's advantage is R - kl_coef * KL, less the mean of the prompt's other rewrites. The baseline does
    # not depend on the rewrite itself, so the gradient of (9) stays unbiased.
    advantages = leave_one_out(rewards, kl, groups, kl_coef).float()
    update(prompter, optimizer, actions, sampled, advantages)
    return Step(float(rewards.mean()), float(kl.mean()), float((rewards - kl_coef * kl).mean()))


def update(
    prompter: LocalPrompter, optimizer: torch.optim.Optimizer, actions: Actions, sampled: Tensor, advantages: Tensor
) -> None:
    """Clipped policy-gradient steps on one batch: a token whose probability moved by CLIP is pushed no further."""
    for _ in range(EPOCHS):
        for piece in torch.randperm(len(actions)).split(MINIBATCH):
            part = actions.rows(piece)
            logprobs, _ = forward(prompter.lm.model, part, prompter.lm.sampling.temperature)
            per_token = advantages[piece].unsqueeze(1).expand_as(logprobs)
            loss = ppo_policy(logprobs, sampled[piece, : logprobs.shape[1]], per_token, part.action_mask, CLIP)
            optimizer.zero_grad()
            (loss / part.action_mask.sum()).backward()
            clip_grad_norm_(prompter.lm.model.parameters(), 1.0)
            optimizer.step()


def compare(
    prompts: list[Prompt], prompter: Prompter, reference: Prompter, frozen: FrozenModel, reward: Reward, seed: int
) -> None:
    """Three arms on prompts that training never saw: no prompter, the reference, the trained one; 4 answers each."""
    arms = {"no_prompter": IdentityPrompter(), "reference_prompter": reference, "align_pro": prompter}
    luck = derive(seed, "evaluate")
    scores = {
        name: rollout(prompts, arm, frozen, reward, responses=4, seed=luck).rewards[:, 0] for name, arm in arms.items()
    }
    for name, rewards in scores.items():  # rewards [prompts, 4]; intervals are over prompts, the independent units (E5)
        low, high = mean_interval(prompt_means(rewards))
        print(f"{name:20}{mean(rewards):6.2f} [{low:.2f}, {high:.2f}]")
    gain, (low, high) = paired_difference(scores["align_pro"], scores["no_prompter"])
    print(f"align_pro - no_prompter, paired by prompt: {gain:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
