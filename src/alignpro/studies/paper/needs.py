"""What the grid would take, and what of it this machine lacks; asked before any work, and by --dry-run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from alignpro.config import LAB_PROMPTS, RewardSettings, Settings
from alignpro.config.endpoints import NO_KEY
from alignpro.data.origin import Origin
from alignpro.errors import AlignProError, HubUnreachable
from alignpro.evaluate import arms
from alignpro.evaluate.arms.pairing import judged_pairs
from alignpro.models.loading import Role, device_of, resolve
from alignpro.models.packaged import PREFIX as PACKAGED
from alignpro.remote.address import OPENAI_KEY, is_endpoint
from alignpro.rewards import measures
from alignpro.rewards.functions import load_function
from alignpro.rewards.verify import PREFIX, load_verifier
from alignpro.runtime import functions
from alignpro.runtime.packages import installed
from alignpro.studies.paper.grid import Cell

TRAINED, ANSWERED = 60, 120
"""Tokens a second of SmolLM2-135M on two cores: of a training step, all its work by its sampled tokens, and of sampling
alone (docs/performance.md)."""
GPU_GIB = 75
"""What a GPU sold as one of 80 GB has."""
Lack = tuple[str, str]
"""A kind of thing that is missing, with {} for the names, and one name."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What one cell asks for; an upper bound where answers may end early."""

    rewrites: int
    answers: int
    oracle_answers: int
    judgements: int
    tokens: int
    trained: int
    """Of the tokens those that training samples."""


def hours(took: Amount) -> float:
    """By the clock, at the speeds of SmolLM2-135M on two cores."""
    return (took.trained / TRAINED + (took.tokens - took.trained) / ANSWERED) / 3600


def amount(cell: Cell, with_oracle: bool) -> Amount:
    """What the cell takes, less a comparison on all held-out prompts, whose number is not known yet."""
    settings, evaluate = cell.settings, cell.settings.evaluate
    rewrites = cell.actions(False)
    answers = rewrites * settings.train.responses
    oracle = cell.actions(True) - rewrites if with_oracle else 0
    compared = (evaluate.prompts or 0) * evaluate.responses
    evaluated = compared * len(evaluate.arms)
    trained = rewrites * settings.prompter.sampling.max_new_tokens
    trained += (answers + oracle) * settings.frozen.sampling.max_new_tokens
    tokens = trained + evaluated * (evaluate.sampling or settings.frozen.sampling).max_new_tokens
    return Amount(rewrites, answers + evaluated, oracle, _judgements(settings), tokens, trained)


def _judgements(settings: Settings) -> int:
    """Questions to a language model that judges, every comparison in both orders."""
    evaluate, judge = settings.evaluate, settings.judge
    if not evaluate.judge or not (is_endpoint(evaluate.judge) or evaluate.judge.startswith("lm:")):
        return 0
    prompts = min(evaluate.prompts or 0, judge.prompts or evaluate.prompts or 0)
    pairs = judged_pairs(arms.compared(settings), judge)
    return 2 * len(pairs) * prompts * min(judge.samples or evaluate.responses, evaluate.responses)


def missing(cells: Sequence[Cell]) -> list[str]:
    """A line for every kind of thing that the cells need and that is not here, naming all of that kind."""
    lacking: dict[str, dict[str, None]] = {}
    for cell in cells:
        for check in (_models, _data, _judge, _device):
            for kind, name in check(cell.settings):
                lacking.setdefault(kind, {}).setdefault(name)
    return [kind.format(", ".join(names)) for kind, names in lacking.items()]


def _models(settings: Settings) -> Iterator[Lack]:
    judge = settings.evaluate.judge or "lab"
    named: list[tuple[Role, str, str | None]] = [
        ("prompter", "prompter.model", settings.prompter.model),
        ("frozen", "frozen.model", settings.frozen.model),
        *_rewards(settings.reward),
        ("reward", "evaluate.second_reward", settings.evaluate.second_reward or "lab"),
        ("frozen", "evaluate.judge", judge.removeprefix("lm:"))
        if judge.startswith("lm:")
        else ("reward", "evaluate.judge", judge),
    ]
    for role, setting, name in named:
        if name is None:
            yield "{} not set", setting
        elif not is_endpoint(name):
            try:
                if name.startswith("python:"):
                    (functions.named if role == "frozen" else load_function)(name, setting)
                elif name.startswith(PREFIX):
                    load_verifier(name, setting)
                elif name.startswith(measures.PREFIX):
                    measures.load_measure(name, setting)
                else:
                    _found(name, role)
            except HubUnreachable:
                yield "models that are not in the local cache, while the hub cannot be reached: {}", name
            except AlignProError as error:
                yield "{}", str(error).replace(f"{role}.model", setting, 1)


def _rewards(reward: RewardSettings) -> Iterator[tuple[Role, str, str | None]]:
    """The models that a reward is made of, each with the setting that names it."""
    if not reward.terms:
        yield "reward", "reward.model", reward.model
    for kind, parts in (("terms", reward.terms), ("gate", reward.gate)):
        for number, part in enumerate(parts):
            yield "reward", f"reward.{kind}.{number}.model", part.model


@cache
def _fault(name: str, role: Role) -> AlignProError | None:
    """What `resolve` says against a model, asked once: where there is no network the hub may take its time."""
    try:
        resolve(name, role)
    except AlignProError as error:
        return error
    return None


def _found(name: str, role: Role) -> None:
    if (fault := _fault(name, role)) is not None:
        raise fault


def _data(settings: Settings) -> Iterator[Lack]:
    for origin in (Origin.of(settings.data), Origin.of_test(settings.data)):
        if origin is None or origin.name in LAB_PROMPTS:
            continue
        if origin.hub_id is not None and not installed("datasets"):
            what = "the datasets library, for {}, by `pip install 'alignpro[data]'`, or files of them as data.prompts"
            yield what, origin.name
        elif origin.hub_id is None and not origin.path.exists():
            yield "files of prompts: {}", origin.name


def _judge(settings: Settings) -> Iterator[Lack]:
    name = settings.evaluate.judge or ""
    if name.startswith("openai:"):
        variable = settings.judge.endpoint.key or OPENAI_KEY
        if variable != NO_KEY and not os.environ.get(variable):
            yield f"a key in the environment variable {variable}, for the judge {{}}", name
        if not installed("aiohttp"):
            yield "the aiohttp library, for the judge {}, by `pip install 'alignpro[endpoints]'`", name


def _device(settings: Settings) -> Iterator[Lack]:
    models = (settings.prompter.model, settings.frozen.model)
    if settings.device != "auto" or all(
        str(name).startswith(("lab", PACKAGED)) or Path(str(name)).is_dir() for name in models
    ):
        return
    if device_of("auto") != "cuda":
        yield "a GPU for CUDA{}, unless --device names another device", ""
    elif (memory := torch.cuda.get_device_properties(0).total_memory / 2**30) < GPU_GIB:
        yield f"a GPU of {GPU_GIB} GiB, this one has {{}}, unless --device=cuda says to try", f"{memory:.0f}"
