"""`alignpro sft`: a reference prompter from pairs of a prompt and a better prompt, framed as at inference."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from alignpro import results
from alignpro.config import Settings
from alignpro.data.rewrites import BetterPrompt, load_rewrites
from alignpro.errors import DataError
from alignpro.fits.fitting import check_fit, curve_of, fitted, keeper, say_dropped, tokens_of
from alignpro.maths import calibration
from alignpro.models.language_model import LanguageModel
from alignpro.models.logprobs import score
from alignpro.models.lora import load_trained_state, trained_state
from alignpro.report import write_sft_report
from alignpro.results import Epoch, Estimate, FittedPrompter, Sides
from alignpro.rng import derive
from alignpro.running.checks import check_named
from alignpro.running.load import load, load_trained
from alignpro.running.opening import OpenRun, open_run
from alignpro.running.stages.saving import publish, write_model
from alignpro.runtime import files, memory
from alignpro.train import guard, sft, supervised
from alignpro.train.checkpoint import tensors_in
from alignpro.train.step_size import usual_rate
from alignpro.types import FloatArray

NEEDED = {"prompter.model": "--base MODEL", "sft.pairs": "--pairs FILE"}
PROMPT_TOO_LONG = "prompt exceeds the prompter's context"
REWRITE_TOO_LONG = "rewrite longer than prompter.sampling.max_new_tokens"
READ_OTHERWISE = "rewrite would be read back otherwise"


@dataclass(frozen=True)
class Work:
    """Framed pairs: to train on, to choose the epoch by, to test on; the prompts they are of; the prompter."""

    train: list[sft.Pair]
    validation: list[sft.Pair]
    test: list[sft.Pair]
    prompts: dict[str, list[str]]
    dropped: Counter[str]
    lm: LanguageModel
    settings: Settings


def learn_prompter(settings: Settings | None, out: str | Path, *, resume: bool = False) -> FittedPrompter:
    """Fit a prompter in `out`: prompter/ (a plain Hugging Face model, or a peft adapter), report.html and
    sft.json, which is returned.

    The epoch with the least loss on validation prompts is kept; test prompts are used for nothing but the figures.
    Raises as `learn_reward`.
    """
    begun = time.perf_counter()
    with open_run(settings, Path(out), _load, resume=resume, stopping="finishing this step and saving") as run:
        work, folder, settings = run.pieces, run.folder, run.settings
        run.progress.say(
            f"{len(work.train)} training pairs, {len(work.validation)} to choose the epoch by, {len(work.test)} held"
            f" out; prompter {work.lm.name}; writing to {folder.path}"
        )
        with run.progress.task("measuring the held-out pairs", 1):
            before = _losses(work.lm, work.test)
        if not folder.trained:
            with fitted(work.lm.model, settings.sft, "sft", settings.seed) as model:
                _train(run, replace(work.lm, model=model))
            publish(folder.prompter)
        with run.progress.task("measuring the held-out pairs again", 1):
            after = _losses(load_trained(settings, folder.prompter).lm, work.test)
        found = _summary(run, before, after)
        results.write(folder.path / "sft.json", found)
        write_sft_report(folder.path)
    run.progress.say(f"done in {time.perf_counter() - begun:.0f} s")
    return found


def _load(settings: Settings, say: Callable[[str], None], kept: Path | None) -> Work:
    check_named(settings, NEEDED, "sft", kept)
    pieces = load(settings, {"prompter"}, say)
    lm = pieces.prompter.lm
    check_fit(lm.model, settings.sft, "sft")
    found = load_rewrites(settings.sft, settings.data, settings.split_seed, lambda pair: unusable(lm, pair))
    for note in found.notes:
        say(note)
    say_dropped(say, found.dropped, "pairs")
    prompts = list(dict.fromkeys(pair.prompt.text for pair in found.train))
    chosen = set(prompts[: max(1, round(settings.sft.validation * len(prompts)))])
    sides = {
        "train": [pair for pair in found.train if pair.prompt.text not in chosen],
        "validation": [pair for pair in found.train if pair.prompt.text in chosen],
        "test": list(found.test),
    }
    if not sides["train"]:
        raise DataError(
            f"sft.pairs {settings.sft.pairs}: {len(prompts)} prompts cannot be split into training and validation; give"
            " more pairs"
        )
    return Work(
        **{name: [framed(lm, pair) for pair in side] for name, side in sides.items()},
        prompts={name: [pair.prompt.text for pair in side] for name, side in sides.items()},
        dropped=found.dropped,
        lm=lm,
        settings=pieces.settings,
    )


def framed(lm: LanguageModel, pair: BetterPrompt) -> sft.Pair:
    """The query that the prompter meets at inference, and the tokens of x' with the one that ends its turn."""
    return lm.queries([pair.prompt])[0], sft.completion(lm, pair.rewrite)


def unusable(lm: LanguageModel, pair: BetterPrompt) -> str | None:
    """Why a pair would teach what cannot be sampled or read at inference; None where it would not."""
    if not lm.cut_long_prompts and lm.too_long([pair.prompt]):
        return PROMPT_TOO_LONG
    if len(sft.completion(lm, pair.rewrite)) > lm.sampling.max_new_tokens:
        return REWRITE_TOO_LONG
    read = lm.frame.read(lm.frame.closed(lm.frame.as_text(pair.rewrite)))  # a special token is not sampled as text
    return None if read == pair.rewrite else READ_OTHERWISE


def _train(run: OpenRun[Work], policy: LanguageModel) -> None:
    work, folder, own = run.pieces, run.folder, run.settings.sft
    seed = derive(run.settings.seed, "sft")
    planned = supervised.plan([1] * len(work.train), own.batch_size, own.epochs, seed)
    batches = [[work.train[i] for i in batch] for epoch in planned for batch in epoch]
    ends = {step: epoch for epoch, step in enumerate(itertools.accumulate(map(len, planned)), 1)}
    tokens = tokens_of(
        own,
        policy.model,
        [len(query) + len(completion) for query, completion in work.train],
        lambda which: sft.pieces(policy.model, [work.train[i] for i in which], policy.pad_id),
    )
    best = folder.path / "best.pt"
    stopped = stops([row["validation"] for row in files.read_jsonl(curve_of(folder))], own.patience)
    with (
        run.progress.task("fitting the prompter", len(batches)) as advance,
        memory.lower("sft.batch_tokens", tokens, "fitting"),
    ):

        def after(step: int, loss: float) -> bool:
            files.append_jsonl(folder.metrics, [{"step": step, "loss": loss}], checked=True)
            advance(step, f"loss {loss:.3f} a token")
            if step not in ends:
                return False
            policy.model.eval()
            now = _mean(_losses(policy, work.validation))
            guard.check({"the validation loss": now})
            policy.model.train()
            earlier = files.read_jsonl(curve_of(folder))
            if now < min((row["validation"] for row in earlier), default=math.inf):
                partial = best.with_suffix(".partial")
                torch.save(trained_state(policy.model), partial)
                partial.replace(best)
            row = {"step": step, "epoch": ends[step], "validation": now}
            files.append_jsonl(curve_of(folder), [row], checked=True)
            return stops([row["validation"] for row in earlier] + [now], own.patience)

        supervised.fit(
            policy.model,
            lambda step: batches[step - 1],
            lambda batch: sft.pieces(policy.model, batch, policy.pad_id, tokens),
            0 if stopped else len(batches),
            own.learning_rate or usual_rate(policy.model),
            warmup=round(own.warmup * len(batches)),
            weight_decay=own.weight_decay,
            max_grad_norm=own.max_grad_norm,
            keeper=keeper(run, own),
            on_step=after,
        )
    load_trained_state(policy.model, tensors_in(best.read_bytes()))
    write_model(policy.model, policy.tokenizer, folder.prompter)
    best.unlink()


def stops(losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought none better than the best before them."""
    return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])


def _losses(lm: LanguageModel, pairs: Sequence[sft.Pair]) -> FloatArray:
    """For each pair: -log p of its completion in nats, and its tokens. [N, 2]"""
    tokens = [np.asarray(completion) for _, completion in pairs]
    scored = score(lm.model, [query for query, _ in pairs], tokens, lm.pad_id, 1.0, lm.batch_size)
    return np.array([[-row.sum(dtype=np.float64), len(row)] for row in scored]).reshape(-1, 2)


def _mean(losses: FloatArray) -> float:
    return float(losses[:, 0].sum() / losses[:, 1].sum())


def _summary(run: OpenRun[Work], before: FloatArray, after: FloatArray) -> FittedPrompter:
    work = run.pieces
    rows = files.read_jsonl(curve_of(run.folder))
    place = {prompt: number for number, prompt in enumerate(dict.fromkeys(work.prompts["test"]))}
    cluster = np.array([place[prompt] for prompt in work.prompts["test"]], dtype=np.int64)

    def told(losses: FloatArray) -> Estimate:
        return Estimate.of(*calibration.weighted(losses[:, 0], after[:, 1], cluster))

    loss = told(after)
    return FittedPrompter(
        base=work.lm.name,
        pairs=Sides(**{name: len(prompts) for name, prompts in work.prompts.items()}),
        prompts=Sides(**{name: len(set(prompts)) for name, prompts in work.prompts.items()}),
        dropped=dict(work.dropped),
        loss_per_token=loss,
        perplexity=Estimate(math.exp(loss.value), math.exp(loss.lo), math.exp(loss.hi), loss.why),
        loss_before=told(before),
        gain=told(np.stack([before[:, 0] - after[:, 0], after[:, 1]], 1)),
        epochs=tuple(Epoch(epoch=row["epoch"], validation_loss=row["validation"]) for row in rows),
        kept_epoch=min(rows, key=lambda row: row["validation"])["epoch"] if rows else math.nan,
    )
