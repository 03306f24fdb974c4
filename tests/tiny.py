"""Tiny models of the classes people use, built here with random weights; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "phi3": (Phi3Config, Phi3ForCausalLM),
    "gemma": (GemmaConfig, GemmaForCausalLM),
}
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["tell me about owls and the rain in a quiet old town"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=special[2:],
        chat_template=CHAT if chat else None,
    )


def make_model(
    kind: str = "llama", seed: int = 0, context: int = 1024, vocabulary: int = 300, layers: int = 2
) -> torch.nn.Module:
    torch.manual_seed(seed)
    config, model = CLASSES[kind]
    return model(config(**_sizes(kind, context, vocabulary, layers))).eval()


def make_classifier(folder: Path, kind: str = "gemma", seed: int = 0, labels: int = 1, layers: int = 1) -> Path:
    """A sequence classifier with its tokenizer, saved to the folder."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = CLASSES[kind][0](**_sizes(kind, 1024, len(tokenizer), layers), num_labels=labels)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _sizes(kind: str, context: int, vocabulary: int, layers: int) -> dict[str, object]:
    settings: dict[str, object] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
        "initializer_range": 0.3,  # far from uniform, so that a wrong position or mask shows
    }
    if kind == "gemma":
        settings["head_dim"] = 8
    return settings


def save_model(
    folder: Path,
    kind: str = "llama",
    seed: int = 0,
    chat: bool = True,
    context: int = 1024,
    layers: int = 2,
    spare: int = 0,
) -> Path:
    """`spare` rows of the embedding have no token, as in most models that people use."""
    tokenizer = make_tokenizer(chat)
    make_model(kind, seed, context, len(tokenizer) + spare, layers).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
