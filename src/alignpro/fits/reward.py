"""`alignpro reward`: a reward model from preferences by Bradley-Terry, and what it is worth on held-out ones."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alignpro import results
from alignpro.config import RewardLearningSettings, RewardSettings, Settings
from alignpro.data.preferences import Preference
from alignpro.data.sources import load_preferences
from alignpro.errors import DataError, SettingsError
from alignpro.fits import held_out
from alignpro.fits.classifier import Base, load_base, quiet
from alignpro.fits.fitting import check_fit, curve_of, fitted, keeper, say_dropped, tokens_of
from alignpro.models.chat_template import telling
from alignpro.models.loading import device_of, display_name
from alignpro.report import write_reward_report
from alignpro.results import LearnedReward, Milestone, OnCurve, Sides
from alignpro.rewards.classifier import BATCH, token_limit
from alignpro.rewards.layout import Row, within
from alignpro.rewards.model import RewardModel
from alignpro.rng import derive
from alignpro.running.checks import check_named
from alignpro.running.load import load, with_day
from alignpro.running.opening import OpenRun, open_run
from alignpro.running.stages.saving import publish, write_model
from alignpro.runtime import files, memory, run_folder
from alignpro.train import bradley_terry, guard, supervised
from alignpro.train.bradley_terry import Comparisons
from alignpro.train.step_size import usual_rate
from alignpro.types import Prompt, Reward

NEEDED = {"reward_learning.base": "--base MODEL", "data.prompts": "--preferences FILE_OR_DATASET"}
Read = Callable[[Prompt, str], Row | None]
"""x and y as the reward model reads them; None where they do not fit."""
TOO_LONG = "longer than the model's context"


@dataclass(frozen=True)
class Work:
    """What is learned from, what it is measured on, and the model."""

    train: list[Comparisons]
    test: list[Preference]
    dropped: Counter[str]
    prompts: tuple[int, int]
    base: Base
    settings: Settings

    @property
    def pairs(self) -> int:
        """Pairs learned from in one pass."""
        return sum(len(group.pairs) for group in self.train)


def learn_reward(settings: Settings | None, out: str | Path, *, resume: bool = False) -> LearnedReward:
    """Learn a reward in `out`: reward/ (a plain Hugging Face classifier, or a peft adapter with
    its head), report.html, reward.json, which is returned.

    Raises DataError, SettingsError, ModelNotUsable, RunFolderTaken before any training; LossNotFinite and Interrupted
    in it, after which `resume` goes on from the last checkpoint.
    """
    begun = time.perf_counter()
    with open_run(settings, Path(out), _load, resume=resume, stopping="finishing this step and saving") as run:
        work, folder, settings = run.pieces, run.folder, run.settings
        target = folder.path / "reward"
        run.progress.say(
            f"{work.pairs} training pairs of {work.prompts[0]} prompts, {len(work.test)} held-out pairs of"
            f" {work.prompts[1]}; writing to {folder.path}"
        )
        if not run_folder.holds_model(target):
            own, base = settings.reward_learning, work.base
            with fitted(base.model, own, "reward_learning", settings.seed, base.new) as model:
                _train(run, model)
                write_model(model, base.tokenizer, target)
            publish(target)
        own_reward = RewardSettings(
            model=str(target), batch_size=settings.reward.batch_size, overflow=settings.reward.overflow
        )
        learned = load(settings.model_copy(update={"reward": own_reward}), {"reward"}).reward
        with run.progress.task("measuring the held-out pairs", 1):
            found = _summary(run, learned)
        results.write(folder.path / "reward.json", found)
        write_reward_report(folder.path)
    run.progress.say(f"done in {time.perf_counter() - begun:.0f} s")
    return found


def _load(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Work:
    check_named(settings, NEEDED, "reward", kept)
    own = settings.reward_learning
    if settings.data.prompts == "lab":
        raise DataError(
            "data.prompts lab: the lab has no file of preferences; make one by `alignpro lab preferences --out FILE`"
        )
    preferences = load_preferences(settings.data, settings.split_seed, own.keep_not_higher)
    if own.margin and all(pair.margin is None for pair in preferences.train):
        raise SettingsError(f"reward_learning.margin is {own.margin}, but {settings.data.prompts} gives no scores")
    device = device_of(settings.device)
    with telling(settings.day) as clock:
        base = load_base(str(own.base), settings.seed, device, settings.dtype)
    settings = with_day(settings, clock)
    check_fit(base.model, own, "reward_learning")
    model, tokenizer = base.model, base.tokenizer
    dropped = preferences.dropped
    limit = token_limit(model)
    read = partial(within, limit, tokenizer, overflow=settings.reward.overflow)
    with quiet():  # rows that are too long are counted here
        train, long, prompts = comparisons(read, preferences.train, own.margin)
        test = [pair for pair in preferences.test if _rows(read, pair)]
    dropped[TOO_LONG] += long + len(preferences.test) - len(test)
    dropped = +dropped
    for note in preferences.notes:
        say(note)
    say_dropped(say, dropped, "rows or pairs")
    if not train or not test:
        raise DataError(
            f"data.prompts {settings.data.prompts}: no pair is left to {'train on' if not train else 'test on'};"
            f" {dropped[TOO_LONG]} are longer than the base's context of {limit}"
        )
    return Work(train, test, dropped, (prompts, len({pair.prompt.text for pair in test})), base, settings)


def comparisons(read: Read, pairs: Iterable[Preference], margin: float) -> tuple[list[Comparisons], int, int]:
    """Pairs of one prompt together, each answer framed once; pairs too long; prompts left."""
    groups: list[Comparisons] = []
    prompts: set[str] = set()
    long = 0
    for prompt, several in itertools.groupby(pairs, key=lambda pair: pair.prompt):
        place: dict[tuple[int, ...], int] = {}
        group = Comparisons([], [], [])
        for pair in several:
            rows = _rows(read, pair)
            if rows is None:
                long += 1
                continue
            for row in rows:
                if tuple(row.ids) not in place:
                    place[tuple(row.ids)] = len(place)
                    group.rows.append(row)
            chosen, rejected = (place[tuple(row.ids)] for row in rows)
            group.pairs.append((chosen, rejected))
            group.margins.append(margin * (pair.margin or 0.0))
        if group.pairs:
            groups.append(group)
            prompts.add(prompt.text)
    return groups, long, len(prompts)


def _rows(read: Read, pair: Preference) -> tuple[Row, Row] | None:
    """The chosen and the rejected answer as the reward model reads them; None where one does not fit."""
    chosen, rejected = read(pair.prompt, pair.chosen), read(pair.prompt, pair.rejected)
    return (chosen, rejected) if chosen and rejected else None


def _train(run: OpenRun[Work], model: Any) -> None:
    work, folder, own = run.pieces, run.folder, run.settings.reward_learning
    seed = derive(run.settings.seed, "reward learning")
    planned = supervised.plan([len(g.pairs) for g in work.train], own.batch_size, own.epochs, seed)
    batches = [[work.train[i] for i in batch] for epoch in planned for batch in epoch]
    seen = list(itertools.accumulate(sum(len(group.pairs) for group in batch) for batch in batches))
    due = milestones(seen, [len(epoch) for epoch in planned], work.pairs, own.curve)
    of = run.settings.reward
    reward = RewardModel("learned", model, work.base.tokenizer, of.batch_size or BATCH, overflow=of.overflow)
    pad_id = model.config.pad_token_id
    tokens = tokens_of(
        own,
        model,
        [len(group.rows) * group.longest for group in work.train],
        lambda which: bradley_terry.pieces(model, [work.train[i] for i in which], pad_id),
    )
    with (
        run.progress.task("learning the reward", len(batches)) as advance,
        memory.lower("reward_learning.batch_tokens", tokens, "learning"),
    ):

        def after(step: int, loss: float) -> None:
            files.append_jsonl(folder.metrics, [{"step": step, "pairs": seen[step - 1], "loss": loss}], checked=True)
            if step in due:
                model.eval()
                values = held_out.scores(reward, work.test)
                guard.check({"the largest held-out score": float(np.nanmax(values, initial=-np.inf))})
                told = held_out.accuracy(values, work.test)
                results.append_rows(curve_of(folder), [Milestone(step=step, pairs=seen[step - 1], **told)])
                model.train()
            advance(step, f"loss {loss:.3f}")

        supervised.fit(
            model,
            lambda step: batches[step - 1],
            lambda batch: bradley_terry.pieces(
                model,
                batch,
                pad_id,
                centre=own.centre,
                smoothing=own.label_smoothing,
                tokens=tokens,
            ),
            len(batches),
            own.learning_rate or usual_rate(model) / 3,
            warmup=round(own.warmup * len(batches)),
            weight_decay=own.weight_decay,
            max_grad_norm=own.max_grad_norm,
            keeper=keeper(run, own),
            on_step=after,
        )


def milestones(seen: Sequence[int], epochs: Sequence[int], pairs: int, curve: Sequence[float]) -> set[int]:
    """Steps (from 1) after which accuracy is measured: at each share of the first pass, and at each epoch's end."""
    first = seen[: epochs[0]]
    shares = {
        next(step for step, count in enumerate(first, 1) if count >= min(share * pairs, first[-1])) for share in curve
    }
    return shares | set(itertools.accumulate(epochs))


def _summary(run: OpenRun[Work], learned: Reward) -> LearnedReward:
    work, settings = run.pieces, run.settings
    own: RewardLearningSettings = settings.reward_learning
    seed = derive(settings.seed, "reward learning", "bootstrap")
    return LearnedReward(
        base=display_name(str(own.base), "frozen"),
        preferences=str(settings.data.prompts),
        pairs=Sides(train=work.pairs, test=len(work.test)),
        prompts=Sides(train=work.prompts[0], test=work.prompts[1]),
        dropped=dict(work.dropped),
        **held_out.figures(held_out.scores(learned, work.test), work.test, own.bootstrap, seed),
        learning_curve=tuple(
            OnCurve(pairs=row.pairs, step=row.step, accuracy=row.accuracy)
            for row in results.read_rows(Milestone, curve_of(run.folder))
        ),
    )
