"""Tiny sequence classifiers of the classes that reward models come in, with random weights, and their tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny import make_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GemmaConfig,
    GemmaForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

DECODERS: dict[str, Any] = {
    "gemma": (GemmaConfig, GemmaForSequenceClassification),
    "llama": (LlamaConfig, LlamaForSequenceClassification),
    "qwen2": (Qwen2Config, Qwen2ForSequenceClassification),
}
ENCODERS: dict[str, Any] = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "deberta": (DebertaV2Config, DebertaV2ForSequenceClassification),
}
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ 'user' if m['role'] == 'user' else 'assistant' }}|>"
    "{{ m['content'] | trim }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def classifier_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Decoders begin a text by <|system|>, by template and by tokenizer; encoders read two texts as a pair."""
    tokenizer = make_tokenizer(chat=False)
    if kind in DECODERS:
        start = "<|system|>"
        tokenizer.bos_token = start
        tokenizer.chat_template = CHAT
        single, pair = f"{start} $A", f"{start} $A {start} $B"
    else:
        start, end = "<|user|>", "<|end|>"
        tokenizer.cls_token, tokenizer.sep_token = start, end
        single, pair = f"{start} $A {end}", f"{start} $A {end} $B:1 {end}:1"
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        if kind != "roberta":
            tokenizer.model_input_names.insert(1, "token_type_ids")
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|system|>", "<|user|>", "<|end|>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=special)
    return tokenizer


def save_classifier(
    folder: Path, kind: str, labels: tuple[str, ...] = ("score",), seed: int = 0, context: int = 256, **more: Any
) -> Path:
    """A classifier of these labels and its tokenizer, as a reward model's folder holds them."""
    torch.manual_seed(seed)
    config, model = (DECODERS | ENCODERS)[kind]
    tokenizer = more.pop("tokenizer", None) or classifier_tokenizer(kind)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "pad_token_id": 0,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "initializer_range": 0.3,  # so that a wrong position or mask shows
    }
    if kind in DECODERS:
        settings |= {"num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 1}
    else:
        settings |= {"type_vocab_size": 1 if kind == "roberta" else 2, "hidden_dropout_prob": 0.0}
    if kind == "gemma":
        settings["head_dim"] = 8
    if kind == "deberta":
        settings |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16}
    model(config(**settings | more)).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
