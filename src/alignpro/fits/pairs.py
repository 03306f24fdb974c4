"""`alignpro pairs`: pairs for sft by best-of-N, the winner judged again on answers that did not choose it.

The best of N noisy scores is too good by its noise (the winner's curse). So a winner is scored again, and the prompt
itself with it, by fresh answers, and is kept if it still wins; and because that chooses too, the gain that is told
comes from further answers which decided nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from alignpro import results
from alignpro.config import PairsSettings, Settings
from alignpro.data.records import normalised
from alignpro.errors import UsageError
from alignpro.fits.framed_pairs import framed_pairs, written
from alignpro.flow.failures import check_failures
from alignpro.flow.objective import score_rewrites
from alignpro.maths import stats
from alignpro.maths.rounding import difference
from alignpro.maths.stats import mean_over_responses
from alignpro.models import batches
from alignpro.results import BestOfN, Estimate, FramedPairs, KeptGains, TriedPrompt, WinnersGains
from alignpro.results.asked import told
from alignpro.rng import derive
from alignpro.running.inputs import fingerprints
from alignpro.running.load import load
from alignpro.running.pieces import Pieces
from alignpro.runtime import files, threads
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.lock import Lock
from alignpro.runtime.progress import Progress, expect
from alignpro.types import FloatArray, FrozenModel, Generation, Prompt, Prompter, Reward

SECTIONS = ("seed", "prompter", "frozen", "reward", "data", "pairs")
"""Settings on which the rows depend."""


def make_pairs(settings: Settings, out: str | Path) -> BestOfN | FramedPairs:
    """Write pairs to `out` (JSONL with prompt and rewrite), every prompt tried to OUT.tried.jsonl, figures to OUT.json;
    with `pairs.templates` prompts in templates.

    Goes on where `out` was begun with the same settings. Returns the figures. Raises UsageError where `out` holds
    something else, RewardFailure, Interrupted; what was sampled before is kept.
    """
    if settings.pairs.templates is not None:
        evaluate = settings.evaluate
        measured = (settings.pairs.prompts, evaluate.template_prompts, evaluate.template_responses)
        return framed_pairs(settings, Path(out), f"{_key(settings)} {measured}")
    begun, out, progress = time.perf_counter(), Path(out), Progress()
    tried = out.with_name(f"{out.stem}.tried.jsonl")
    key = _key(settings)
    _check(out, tried, key)
    threads.use(settings.threads)
    pieces = load(settings, {"prompts", "passes", "prompter", "frozen", "reward"}, progress.say)
    prompts = pieces.prompts.train[: settings.pairs.prompts]
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        Lock(out, progress.say),
        StopRequest("stopping after these prompts; their pairs are kept") as stop,
        closing(pieces.endpoints) as urls,
    ):
        urls.keep(out.with_name(f"{out.stem}.answers"))
        rows = {row.asked: row for row in results.read_rows(TriedPrompt, tried)}
        files.write_text(out, "")
        files.append_jsonl(out, _pairs(rows.values()))
        keep = batches.keeping(out.with_name(f"{out.stem}.batches"))
        with keep as written, progress.task("sampling pairs", len(prompts)) as advance:
            _sample_all(pieces, prompts, rows, out, tried, key, stop, advance, written)
    found = summary([rows[prompt] for prompt in prompts], settings)
    results.write(out.with_name(f"{out.stem}.json"), found)
    progress.say(f"done in {time.perf_counter() - begun:.0f} s; cost: {found.frozen_calls:,} answers")
    return found


def _sample_all(
    pieces: Pieces,
    prompts: Sequence[Prompt],
    rows: dict[Prompt, TriedPrompt],
    out: Path,
    tried: Path,
    key: str,
    stop: StopRequest,
    advance: Callable[[int, str], None],
    written: Callable[[], None],
) -> None:
    own, failures = pieces.settings.pairs, Counter[str]()
    for start in range(0, len(prompts), own.chunk):
        chunk = prompts[start : start + own.chunk]
        if all(prompt in rows for prompt in chunk):
            continue
        advance(start, f"{sum(row.kept for row in rows.values())} kept")
        expect(len(chunk), len(chunk) * (own.candidates + (own.candidates + 1) * own.responses))
        stop.check()
        seed = derive(pieces.settings.seed, "pairs", chunk[0].key)
        made, why, rewards = try_prompts(chunk, pieces.pipeline(), pieces.frozen, pieces.reward, own, seed)
        failures += why
        check_failures(rewards, failures, pieces.settings.reward.max_failed, "pairs")
        made = [row for row in made if row.asked not in rows]  # of a chunk that was torn, what is missing
        results.append_rows(tried, [row.model_copy(update={"key": key}) for row in made])
        files.append_jsonl(out, _pairs(made))
        rows |= {row.asked: row for row in made}
        written()
    advance(len(prompts), f"{sum(row.kept for row in rows.values())} kept")


def try_prompts(
    prompts: Sequence[Prompt], reference: Prompter, frozen: FrozenModel, reward: Reward, own: PairsSettings, seed: int
) -> tuple[list[TriedPrompt], Counter[str], FloatArray]:
    """A row for each prompt, the reasons of failures, and the first rewards."""
    drawn = reference.rewrite(prompts, own.candidates, derive(seed, "rewrite"))
    plain = [Generation(prompt.text, "given") for prompt in prompts]
    first = score_rewrites(
        prompts,
        [[raw, *row] for raw, row in zip(plain, drawn, strict=True)],
        frozen,
        reward,
        responses=own.responses,
        seed=derive(seed, "choose"),
    )
    means = mean_over_responses(first.rewards)
    gains = difference(means[:, 1:], means[:, :1])
    same = [[normalised(g.text) == normalised(x.text) for g in row] for x, row in zip(prompts, drawn, strict=True)]
    gains[np.array(same)] = np.nan
    best = np.where(np.isnan(gains), -np.inf, gains).argmax(1)
    chosen = gains[np.arange(len(prompts)), best]
    won = [i for i in range(len(prompts)) if chosen[i] > own.margin]
    fresh, asked, failures = np.full((len(prompts), 2), np.nan), first.frozen_calls.copy(), first.failures
    if won:
        again = score_rewrites(
            [prompts[i] for i in won],
            [[plain[i], drawn[i][best[i]]] for i in won],
            frozen,
            reward,
            responses=2 * own.fresh,
            seed=derive(seed, "fresh"),
        )
        halves = again.rewards.reshape(len(won), 2, 2, own.fresh)  # those that decide, those that measure
        plainly, rewritten = np.moveaxis(mean_over_responses(halves), 1, 0)
        fresh[won] = difference(rewritten, plainly)
        asked[won] += again.frozen_calls
        failures = failures + again.failures
    rows = [
        TriedPrompt(
            **told(prompt),
            rewrite=drawn[i][best[i]].text if np.isfinite(chosen[i]) else None,
            chosen_gain=float(chosen[i]),
            fresh_gain=float(fresh[i, 0]),
            gain=float(fresh[i, 1]),
            kept=bool(fresh[i, 0] > own.margin),
            frozen_calls=int(asked[i]),
        )
        for i, prompt in enumerate(prompts)
    ]
    return rows, failures, first.rewards


def summary(rows: Sequence[TriedPrompt], settings: Settings) -> BestOfN:
    """How many prompts were tried, won and kept, and the mean gains with intervals over prompts."""
    own = settings.pairs

    def told(gains: list[float]) -> Estimate:
        values = np.array(gains, dtype=np.float64)
        return Estimate.of(stats.mean(values[:, None]), stats.mean_interval(values))

    won = [row for row in rows if row.chosen_gain > own.margin]
    kept = [row for row in rows if row.kept]
    return BestOfN(
        candidates=own.candidates,
        margin=own.margin,
        tried=len(rows),
        won=len(won),
        kept=len(kept),
        winners=WinnersGains(chosen_gain=told([row.chosen_gain for row in won]), gain=told([row.gain for row in won])),
        kept_pairs=KeptGains(fresh_gain=told([row.fresh_gain for row in kept]), gain=told([row.gain for row in kept])),
        frozen_calls=sum(row.frozen_calls for row in rows),
    )


def _check(out: Path, tried: Path, key: str) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out}: it is a folder; give a file, e.g. {out / 'pairs.jsonl'}")
    begun = results.read_rows(TriedPrompt, tried)
    if out.exists() and not begun and out.stat().st_size:
        raise UsageError(f"--out {out} is there and was not begun by `alignpro pairs`; give another file")
    if any(row.key != key for row in begun):
        raise UsageError(
            f"--out {out} was begun with other settings, models, prompts or code; give another file, or those"
        )


def _key(settings: Settings) -> str:
    tree = settings.model_dump(mode="json", include=set(SECTIONS))
    beside = ("prompts", "bootstrap", *(("templates", "weigh") if settings.pairs.templates is None else ()))
    tree["pairs"] = {name: value for name, value in tree["pairs"].items() if name not in beside}
    tree["inputs"] = fingerprints(settings, hub=False)
    return hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=8).hexdigest()


def _pairs(rows: Iterable[TriedPrompt]) -> list[dict[str, Any]]:
    return [{"prompt": written(row.asked), "rewrite": row.rewrite, "gain": row.gain} for row in rows if row.kept]
