"""`alignpro pairs --templates FILE`: pairs for sft, prompts in templates, with no model or by gain."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np

from alignpro.config import Settings
from alignpro.data.records import normalised
from alignpro.data.templates import Template, read_templates
from alignpro.errors import UsageError
from alignpro.evaluate.templates import choose
from alignpro.models import batches
from alignpro.models.framing import Frame, Message
from alignpro.results import UNKNOWN, FramedPairs, FramedTemplate, TemplateChoice, read, write
from alignpro.rng import derive
from alignpro.running.load import load
from alignpro.running.pieces import Needs
from alignpro.runtime import files, threads
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.lock import Lock
from alignpro.runtime.progress import Progress
from alignpro.types import FloatArray, Prompt


def framed_pairs(settings: Settings, out: Path, key: str) -> FramedPairs:
    """Write `pairs.per_prompt` pairs of each training prompt to `out`, in templates drawn by `pairs.weigh`, and figures
    to OUT.json; `key` stands for the settings.

    Where the same was written before, it is as it was. Raises UsageError where `out` holds something else or no
    template gains, and as `load`.
    """
    own, progress, told = settings.pairs, Progress(), out.with_name(f"{out.stem}.json")
    if (kept := read(FramedPairs, told)) and kept.key == key and out.is_file():
        return kept
    if out.exists() and out.stat().st_size:
        raise UsageError(f"--out {out} is there and holds other pairs, or something else; give another file")
    listed = read_templates(str(own.templates), "pairs.templates")
    templates = listed[1:]
    threads.use(settings.threads)
    needs: Needs = frozenset({"prompts"} if own.weigh == "evenly" else {"prompts", "frozen", "reward", "prompt_terms"})
    pieces = load(settings, needs, progress.say)
    out.parent.mkdir(parents=True, exist_ok=True)
    with Lock(out, progress.say), closing(pieces.endpoints) as urls:
        choice = None
        if own.weigh == "gain":
            urls.keep(out.with_name(f"{out.stem}.answers"))
            prompts = pieces.prompts.train[: settings.evaluate.template_prompts]
            with (
                StopRequest("stopping after these prompts; what was sampled is kept") as stop,
                batches.keeping(out.with_name(f"{out.stem}.batches")),
                progress.task("measuring templates", len(prompts)) as advance,
            ):
                choice = choose(
                    listed,
                    prompts,
                    pieces.frozen,
                    pieces.reward,
                    file=str(own.templates),
                    responses=settings.evaluate.template_responses,
                    seed=derive(settings.seed, "template"),
                    max_failed=settings.reward.max_failed,
                    prompt_terms=pieces.prompt_terms,
                    advance=advance,
                    check=stop.check,
                )
        prompts = pieces.prompts.train[: own.prompts]
        drawn = draw(prompts, templates, weights(templates, choice), own.per_prompt, settings.seed)
        files.write_text(out, "")
        rows = [
            {
                "prompt": written(x),
                "rewrite": template.frame(x),
                "template": template.number,
            }
            for x, template in drawn
        ]
        files.append_jsonl(out, rows)
        counts = Counter(template.name for _, template in drawn)
        made = FramedPairs(
            key=key,
            file=str(own.templates),
            weigh=own.weigh,
            pairs=len(rows),
            frozen_calls=choice.frozen_calls if choice else 0,
            templates=tuple(
                FramedTemplate(
                    name=template.name,
                    text=template.text,
                    pairs=counts[template.name],
                    gain=choice.gain_of(template.name) if choice else UNKNOWN,
                )
                for template in templates
            ),
        )
        write(told, made)
    return made


def weights(templates: tuple[Template, ...], choice: TemplateChoice | None) -> FloatArray:
    """How often each of J templates is drawn [J], together 1: evenly, or in proportion to its gain, if it has one.

    Raises UsageError where none has.
    """
    if choice is None:
        return np.full(len(templates), 1 / len(templates))
    gains = np.nan_to_num([choice.gain_of(template.name).value for template in templates]).clip(min=0)
    if not gains.sum():
        raise UsageError(
            f"pairs.weigh gain: on {choice.prompts} training prompts no template of {choice.file} gains over the bare"
            " prompt; give other templates, or --pairs.weigh=evenly"
        )
    return np.asarray(gains / gains.sum())


def written(prompt: Prompt) -> str | list[Message]:
    """A prompt as files of prompts hold it: a text, or a list of turns where something stands before it."""
    return prompt.text if prompt.alone else Frame().messages(prompt)


def draw(
    prompts: tuple[Prompt, ...], templates: tuple[Template, ...], shares: FloatArray, per_prompt: int, seed: int
) -> list[tuple[Prompt, Template]]:
    """So many templates for each prompt, each another, by the shares [J] of those in which it reads otherwise than
    bare; a prompt has fewer where there are fewer, and is left out where there are none."""
    drawn = []
    for prompt in prompts:
        bare = normalised(prompt.text)
        own = shares * [normalised(template.frame(prompt)) != bare for template in templates]
        luck = np.random.default_rng(derive(seed, "template", prompt.key))
        for _ in range(min(per_prompt, int(np.count_nonzero(own)))):
            taken = int(luck.choice(len(templates), p=own / own.sum()))
            drawn.append((prompt, templates[taken]))
            own[taken] = 0
    return drawn
