"""The model card: what the prompter is, how it was made, and what evaluation.json says of it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from alignpro.config import RewardSettings, Settings, UpdateSettings
from alignpro.config.places import ENCODER
from alignpro.models.marks import usage
from alignpro.models.packaged import PREFIX
from alignpro.results import Evaluation
from alignpro.results.words import told

FORMS = {
    "merged": "a low-rank adapter, merged into the weights here",
    "adapter": "a low-rank adapter, which is what this folder holds",
    "full": "all weights",
}
USE = """\
from __future__ import annotations

import json
import re

from {library} import {auto}
from transformers import AutoTokenizer, GenerationConfig


{functions}

folder = "."  # this folder, or its name on the hub once downloaded
tokenizer, model = AutoTokenizer.from_pretrained(folder), {auto}.from_pretrained(folder)
frame = json.load(open(folder + "/alignpro.json"))
prompt = "tell me about owls"
{encode}
written = model.generate(**inputs, generation_config=GenerationConfig.from_pretrained(folder))
print(tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""


GGUF = """\
`model.gguf` holds the same prompter: `llama-server -m model.gguf`, or `ollama create prompter -f Modelfile`. It holds
the tokenizer and the chat template. What stands around a prompt is the caller's to add, as in the code above."""


def card(
    settings: Settings,
    evaluation: Evaluation | None,
    form: str,
    has_chat_template: bool = True,
    as_gguf: bool = False,
) -> str:
    """README.md of an exported prompter; `form` is merged, adapter or full. Every figure is one of evaluation.json."""
    adapter = form == "adapter"
    functions, encode = usage(has_chat_template)
    use = USE.format(
        library="peft" if adapter else "transformers",
        auto="AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM",
        functions=functions,
        encode=encode,
    )
    parts = [
        f"---\n{_metadata(settings, adapter).to_yaml()}\n---",
        f"# A prompter for {shown(settings.frozen.model)}",
        f"Given a user's prompt, it writes a better one for {shown(settings.frozen.model)} to answer, whose weights"
        " were left as they are. Made by alignpro, an implementation of Align-Pro (arXiv 2501.03486).",
        f"## Use\n\n```python\n{use}\n```" + (f"\n\n{GGUF}" if as_gguf else ""),
        "## Training\n\n" + "\n".join(f"- {name}: {value}" for name, value in _training(settings, form)),
        "## Evaluation\n\n" + (_evaluation(evaluation) if evaluation else "Not evaluated: the run has no evaluation."),
        "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(settings, evaluation)),
    ]
    return "\n\n".join(parts) + "\n"


def shown(name: str | None) -> str:
    """A model, reward or data file as a card names it: a hub id in full, of a path its last part alone."""
    text = str(name)
    if text == "lab":
        return "the packaged lab's model"
    if text.startswith(ENCODER):
        return ENCODER + shown(text.removeprefix(ENCODER))
    return text if text.startswith(("python:", PREFIX)) or is_hub_id(text) else Path(text).name


def is_hub_id(name: str) -> bool:
    """Whether a name is one on the hub, as far as can be told without asking it."""
    return name.count("/") == 1 and not name.startswith((".", "~", "/", PREFIX)) and not Path(name).exists()


def _metadata(settings: Settings, adapter: bool) -> ModelCardData:
    """What the hub reads: the card's head."""
    base: dict[str, Any] = {}
    if is_hub_id(str(settings.prompter.model)):
        base = {"base_model": settings.prompter.model, "base_model_relation": "adapter" if adapter else "finetune"}
    return ModelCardData(
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["alignpro", "prompt-optimization", settings.train.method],
        **base,
    )


def _reward(reward: RewardSettings) -> str:
    """What was maximised: a reward, or a sum of several, and what gated it."""
    terms = " + ".join(f"{term.weight:g} {term.name or shown(term.model)}" for term in reward.terms)
    gates = [gate.name or shown(gate.model) for gate in reward.gate]
    return " * ".join([*gates, f"({terms})" if gates and terms else terms or shown(reward.model)]).replace("+ -", "- ")


def _step_size(update: UpdateSettings) -> str:
    if update.learning_rate is None:
        return f"steps of {update.step_kl:g} nats"
    return f"learning rate {update.learning_rate:g}"


def _training(settings: Settings, form: str) -> Iterable[tuple[str, str]]:
    train, lora = settings.train, settings.prompter.lora
    yield "base model", shown(settings.prompter.model)
    yield "frozen model", shown(settings.frozen.model)
    yield "reward", _reward(settings.reward)
    yield "prompts", shown(settings.data.prompts)
    yield (
        "method",
        f"{train.method}, {train.steps} steps of {train.prompts_per_step} prompts, rewrites of each:"
        f" {train.rewrites}, {_step_size(train.of_method)}, seed {settings.seed}",
    )
    adaptive = f", steered towards {train.kl.target:g} nats" if train.kl.adaptive else ""
    yield "price of KL to the base model (`kl.coef`)", f"{train.kl.coef:g}{adaptive}"
    rank = f" (rank {lora.rank}, alpha {lora.alpha:g})" if lora else ""
    yield "trained", FORMS[form] + rank
    if settings.prompter.before:
        yield (
            "it was trained after other prompters, whose rewrites it was given",
            ", ".join(shown(name) for name in settings.prompter.before),
        )


def _evaluation(evaluation: Evaluation) -> str:
    n, reward, second = evaluation.prompts, evaluation.reward, evaluation.second_reward
    of_shares = " (of shares, where the figure is an accuracy)" if evaluation.shares(reward) else ""
    lines = [
        f"{n} held-out prompts, {evaluation.responses_per_prompt} samples each. Brackets are 95% intervals{of_shares}"
        f" over prompts. The reward is {shown(reward)}" + (f"; the second reward, {shown(second)}." if second else "."),
        "",
        f"| arm | n (prompts) | {'accuracy' if evaluation.shares(reward) else 'mean reward'} | KL to the base, nats |"
        " failed samples |" + (f" second {'accuracy' if evaluation.shares(second) else 'reward'} |" if second else ""),
        "| --- | --- | --- | --- | --- |" + (" --- |" if second else ""),
    ]
    for name, arm in evaluation.arms.items():
        row = f"| `{name}` | {n} | {told(arm.reward)} | {told(arm.kl)} | {arm.failed} |"
        lines.append(row + (f" {told(arm.second)} |" if second else ""))
    named = (evaluation.reward, evaluation.second_reward)
    by_accuracy = [w for w in evaluation.win_rates if w.accuracy and w.judge not in named]
    if evaluation.differences:
        lines += ["", "Paired by prompt:", "", "| difference | by | mean |", "| --- | --- | --- |"]
        lines += [f"| `{d.a}` - `{d.b}` | {shown(d.reward)} | {told(d.mean)} |" for d in evaluation.differences]
        lines += [f"| `{w.a}` - `{w.b}` | {shown(w.judge)} (accuracy) | {told(w.accuracy)} |" for w in by_accuracy]
    if won := [w for w in evaluation.win_rates if w.accuracy is None]:
        lines += [
            "",
            "Win rates, every comparison judged in both orders, a tie counted half:",
            "",
            "| comparison | judge | n (comparisons) | win rate | orders agree | unparsed | longer by, words |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| `{w.a}` over `{w.b}` | {shown(w.judge)} | {w.judged} | {told(w.rate)}"
            f" | {told(w.order_consistency)} | {w.unparsed} | {told(w.length_difference)} |"
            for w in won
        ]
    return "\n".join(lines)


def _limits(settings: Settings, evaluation: Evaluation | None) -> Iterable[str]:
    yield f"It was trained for the answers of {shown(settings.frozen.model)}; before another model it may help or harm."
    yield "It raises the reward it was trained on. What the reward does not see, it does not keep."
    yield "Rewrites can lose or change what the user meant; they are not checked."
    if evaluation is None:
        yield "Nothing was measured."
        return
    yield "The intervals cover the choice of prompts and samples, not that of the training seed: this is one run."
    yield "The held-out prompts come from the same source as the training prompts."
    if evaluation.reward in {row.judge for row in evaluation.win_rates if row.accuracy is None}:
        yield "Wins were judged by the reward that was trained on, so they say no more than the mean rewards do."
