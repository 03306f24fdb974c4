"""Make the lab's three models from one seed: `alignpro lab build`.

The frozen model learns to answer in the world's way, the prompter to rewrite at random (it is the reference, not yet
aligned), the reward model to prefer by (1) from pairs of the frozen model's own answers, labelled by the gold utility
with noise. Held-out subjects are unknown to the prompter: it learns to copy words from made-up ones.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from alignpro.config import Sampling
from alignpro.lab import gold, made_up, world
from alignpro.lab.subjects import Subject, subjects
from alignpro.models.framing import Frame
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel
from alignpro.rewards.layout import Row, pair
from alignpro.rewards.model import RewardModel
from alignpro.rng import derive
from alignpro.train import bradley_terry, sft
from alignpro.types import Response, as_prompts

PAD, END, USER, ASSISTANT, UNKNOWN = "<pad>", "<end>", "<user>", "<assistant>", "<unk>"
CHAT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<user> {{ m['content'] }} {% else %}"
    "<assistant> {{ m['content'] }} <end>{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
ANSWERS = 4
"""Answers a prompt that reward learning compares, all pairs of them."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes and lengths of the build; the defaults make what is shipped."""

    seed: int = 0
    frozen_width: int = 128
    frozen_layers: int = 3
    frozen_steps: int = 900
    prompter_width: int = 96
    prompter_layers: int = 3
    prompter_steps: int = 2500
    reward_steps: int = 900
    reward_learning_rate: float = 1e-3
    batch_size: int = 64
    preference_prompts: int = 10_000
    label_noise: float = 0.3  # in units of gold utility: temperature of the labelling sigmoid


SECOND = Recipe(prompter_width=64, frozen_width=96, frozen_layers=2)
"""Sizes of the second prompter and the second frozen model that are shipped."""


def build(out: Path, recipe: Recipe, say: Say = print) -> dict[str, Any]:
    """Write `out/{prompter,frozen,reward}` in Hugging Face layout and `out/build.json`; returns the latter."""
    started = time.perf_counter()
    frozen, frozen_loss = _frozen(recipe, say)
    _save(frozen.lm.model, frozen.lm.tokenizer, out / "frozen")
    reward, accuracy, best_possible = _reward(recipe, frozen, say)
    _save(reward.model, reward.tokenizer, out / "reward")
    prompter, tokenizer, prompter_loss = _prompter(recipe, say)
    _save(prompter, tokenizer, out / "prompter")
    figures = {
        "recipe": asdict(recipe),
        "frozen_loss": round(frozen_loss, 4),
        "prompter_loss": round(prompter_loss, 4),
        "reward_held_out_accuracy": round(accuracy, 4),
        "gold_accuracy_on_the_same_noisy_labels": round(best_possible, 4),
        "parameters": {
            name: sum(p.numel() for p in model.parameters())
            for name, model in (("prompter", prompter), ("frozen", frozen.lm.model), ("reward", reward.model))
        },
        "torch": torch.__version__,
    }
    (out / "build.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    say(f"built in {time.perf_counter() - started:.0f} s")
    return figures


def build_second(out: Path, recipe: Recipe = SECOND, say: Say = print) -> None:
    """Write `out/prompter-2` and `out/frozen-2`, models of the same kinds and other sizes: `lab:prompter-2`."""
    frozen, _ = _frozen(recipe, say)
    _save(frozen.lm.model, frozen.lm.tokenizer, out / "frozen-2")
    prompter, tokenizer, _ = _prompter(recipe, say)
    _save(prompter, tokenizer, out / "prompter-2")


def _frozen(recipe: Recipe, say: Say) -> tuple[LocalFrozenModel, float]:
    tokenizer = _word_tokenizer()
    torch.manual_seed(derive(recipe.seed, "weights", "frozen"))
    model = LlamaForCausalLM(_config(tokenizer, recipe.frozen_width, recipe.frozen_layers))
    rng, framed = random.Random(derive(recipe.seed, "frozen")), Frame(tokenizer=tokenizer)

    def pair() -> sft.Pair:
        prompt = _any_prompt(rng)
        return framed.ids(prompt), _ended(tokenizer, world.answer(rng, world.read(prompt)))

    loss = sft.fit(
        model,
        _batches(pair, recipe.batch_size, rng),
        recipe.frozen_steps,
        2e-3,
        tokenizer.pad_token_id,
        on_step=_report(say, "frozen", recipe.frozen_steps),
    )
    lm = LanguageModel("lab frozen", model, framed, Sampling(max_new_tokens=64), 256, True)
    return LocalFrozenModel(lm), loss


def _reward(recipe: Recipe, frozen: LocalFrozenModel, say: Say) -> tuple[RewardModel, float, float]:
    rng = random.Random(derive(recipe.seed, "preferences"))
    prompts = [*world.user_prompts("train", recipe.seed), *world.user_prompts("test", recipe.seed)]
    asked = [rng.choice(prompts) for _ in range(recipe.preference_prompts)]
    say(f"reward: {ANSWERS * len(asked)} answers of the frozen model")
    requests = [_asked_for(rng, p) for p in asked for _ in range(ANSWERS)]
    given = frozen.respond(as_prompts(requests), [1] * len(requests), derive(recipe.seed, "answers"))
    texts = [p.text for p in asked for _ in range(ANSWERS)]
    answers = [row[0].text for row in given]
    utilities = np.array(gold.gold_utility(texts, answers), dtype=np.float64)
    tokenizer = frozen.lm.tokenizer
    rows = [pair(tokenizer, x, y) for x, y in zip(texts, answers, strict=True)]
    groups, agreed = _labelled(rows, utilities, recipe)
    held_out = len(groups) // 12
    train, test = groups[held_out:], groups[:held_out]
    best_possible = float(np.mean([a for group in agreed[:held_out] for a in group]))

    config = _config(tokenizer, recipe.frozen_width, recipe.frozen_layers)
    config.num_labels = 1
    torch.manual_seed(derive(recipe.seed, "weights", "reward"))
    model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(frozen.lm.model.model.state_dict())
    size = recipe.batch_size // 2

    def batches() -> Iterator[list[bradley_terry.Comparisons]]:
        while True:
            shuffled = rng.sample(train, len(train))
            for start in range(0, len(train) - size + 1, size):
                yield shuffled[start : start + size]

    bradley_terry.fit(
        model,
        batches(),
        recipe.reward_steps,
        recipe.reward_learning_rate,
        tokenizer.pad_token_id,
        on_step=_report(say, "reward", recipe.reward_steps),
    )
    accuracy = bradley_terry.accuracy(model, test, tokenizer.pad_token_id)
    pairs = sum(len(group.pairs) for group in test)
    say(f"reward: held-out accuracy {accuracy:.3f} on {pairs} pairs; the gold utility itself {best_possible:.3f}")
    reward = RewardModel("lab reward", model, tokenizer, 256)
    scale = float(np.std(reward.score(as_prompts(texts[:2000]), [Response(y) for y in answers[:2000]]).values))
    with torch.no_grad():
        model.score.weight /= scale  # rewards of the frozen model's answers have deviation 1
    return reward, accuracy, best_possible


def _labelled(
    rows: list[Row], utilities: np.ndarray, recipe: Recipe
) -> tuple[list[bradley_terry.Comparisons], list[list[bool]]]:
    """All pairs of a prompt's answers, labelled by utility with noise, and whether each label agrees with the
    utility."""
    noise = np.random.default_rng(derive(recipe.seed, "labels"))
    groups, agreed = [], []
    for start in range(0, len(rows), ANSWERS):
        mine = utilities[start : start + ANSWERS]
        pairs, right = [], []
        for i, j in itertools.combinations(range(ANSWERS), 2):
            first = noise.random() < 1 / (1 + np.exp((mine[j] - mine[i]) / recipe.label_noise))
            pairs.append((i, j) if first else (j, i))
            right.append(bool((mine[i] > mine[j]) == first))
        groups.append(bradley_terry.Comparisons(rows[start : start + ANSWERS], pairs))
        agreed.append(right)
    return groups, agreed


def _prompter(recipe: Recipe, say: Say) -> tuple[Any, PreTrainedTokenizerFast, float]:
    rng = random.Random(derive(recipe.seed, "prompter"))
    known = {p.subject.phrase for p in world.user_prompts("train", recipe.seed)}
    real = [s for s in subjects() if s.phrase in known]
    users = made_up.prompts(rng, recipe.seed)

    def texts() -> tuple[str, str]:
        x = next(users)
        odds = world.taste(x.subject.kind, x.subject.hazard is not None, x.mood)
        return x.text, world.rewrite(rng, x.subject.phrase, odds)

    tokenizer = _letter_tokenizer(real)
    framed = Frame(tokenizer=tokenizer)
    torch.manual_seed(derive(recipe.seed, "weights", "prompter"))
    model = LlamaForCausalLM(_config(tokenizer, recipe.prompter_width, recipe.prompter_layers))

    def pair() -> sft.Pair:
        x, rewritten = texts()
        return framed.ids(x), _ended(tokenizer, rewritten)

    loss = sft.fit(
        model,
        _batches(pair, recipe.batch_size, rng),
        recipe.prompter_steps,
        3e-3,
        tokenizer.pad_token_id,
        on_step=_report(say, "prompter", recipe.prompter_steps),
    )
    return model, tokenizer, loss


def _batches(pair: Callable[[], sft.Pair], size: int, rng: random.Random) -> Iterator[list[sft.Pair]]:
    """Endless batches of pairs of like length, so that little is padded, in random order."""
    while True:
        drawn = sorted((pair() for _ in range(16 * size)), key=lambda p: len(p[0]) + len(p[1]))
        starts = list(range(0, len(drawn), size))
        rng.shuffle(starts)
        yield from (drawn[start : start + size] for start in starts)


def _any_prompt(rng: random.Random) -> str:
    """A prompt as the frozen model may meet it: a user's own, a rewrite, or a user's own with words added."""
    phrase = rng.choice(subjects()).phrase
    kind = rng.random()
    if kind < 0.5:
        return world.rewrite(rng, phrase)
    phrasing = rng.choice([p for mood in world.PHRASINGS.values() for p in mood])
    user = world.tidy(phrasing.format(s=phrase))
    if kind < 0.75:
        return user
    cues = [cue for cue in world.CUES if rng.random() < 0.3]
    added = world.suffix(cues, clear=rng.random() < 0.5)
    return world.tidy(f"{user} , {added}") if added else user


def _asked_for(rng: random.Random, prompt: world.UserPrompt) -> str:
    return prompt.text if rng.random() < 0.25 else world.rewrite(rng, prompt.subject.phrase)


def _word_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {PAD: 0, UNKNOWN: 1, END: 2, USER: 3, ASSISTANT: 4}
    for word in sorted(world.all_words()):
        vocabulary[word] = len(vocabulary)
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    core.decoder = decoders.WordPiece(cleanup=True)
    return _wrapped(core)


def _letter_tokenizer(known: list[Subject]) -> PreTrainedTokenizerFast:
    """Words that stand around subjects are whole, all others are spelled letter by letter, known and unknown alike."""
    around = [
        *(phrasing.replace("{s}", "") for mood in world.PHRASINGS.values() for phrasing in mood),
        *(opener.replace("{s}", "") for opener in world.OPENERS),
        *(phrase for phrases in world.CUE_PHRASES.values() for phrase in phrases),
        *(s.family for s in known if s.kind != "fact"),
    ]
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [PAD, UNKNOWN, END, USER, ASSISTANT, *characters, *(f"##{c}" for c in characters)]
    pieces += sorted({word for part in around for word in world.words(part) if len(word) > 1})
    core = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    core.decoder = decoders.WordPiece(cleanup=True)
    return _wrapped(core)


def _wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT,
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )


def _ended(tokenizer: Any, text: str) -> list[int]:
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def _config(tokenizer: Any, width: int, layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=-(-width * 8 // 3 // 32) * 32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _report(say: Say, name: str, steps: int) -> Callable[[int, float], None]:
    started = time.perf_counter()

    def on_step(step: int, loss: float) -> None:
        if step % 100 == 0 or step == steps:
            rest = (time.perf_counter() - started) / step * (steps - step)
            say(f"{name}: step {step}/{steps}, loss {loss:.3f}, {rest:.0f} s left")

    return on_step
