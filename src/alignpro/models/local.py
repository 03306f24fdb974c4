"""Local Hugging Face causal LMs as prompter and as frozen model: loading, framing, context limits."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import nn

from alignpro import processes
from alignpro.config import FrozenSettings, PrompterSettings, Sampling
from alignpro.errors import HubUnreachable, ModelNotUsable, PromptTooLong, SettingsError
from alignpro.models.logprobs import score
from alignpro.models.prompting import (
    META_PROMPT,
    PLAIN_META_PROMPT,
    check_template,
    fill,
    frame,
    parse_rewrite,
)
from alignpro.models.sampler import sample
from alignpro.types import Generation

Role = Literal["prompter", "frozen", "reward"]


@dataclass(frozen=True)
class LanguageModel:
    """A causal LM with its tokenizer and the frame its prompts are put in.

    `template` holds {prompt} or {fenced}; what it gives becomes one user turn of the chat template, where there is one.
    """

    name: str
    model: Any
    tokenizer: Any
    template: str
    sampling: Sampling
    batch_size: int
    cut_long_prompts: bool

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may take together."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or 1 << 30)

    @property
    def pad_id(self) -> int:
        """A filler id; padding is masked, so any id serves."""
        return next((i for i in (self.tokenizer.pad_token_id, *self.eos_ids) if i is not None), 0)

    @property
    def eos_ids(self) -> list[int]:
        """Ids that end an answer."""
        ids: Any = getattr(self.model.generation_config, "eos_token_id", None)
        found = ids if isinstance(ids, list) else [ids]
        return sorted({int(i) for i in (*found, self.tokenizer.eos_token_id) if i is not None})

    def queries(self, prompts: Sequence[str]) -> list[list[int]]:
        """Framed token ids of each prompt; one that leaves no room for an answer is cut or refused, as settings say.

        Raises PromptTooLong, naming the prompt and by how much it is too long.
        """
        room = self.context - self.sampling.max_new_tokens
        return [self._framed(prompt, room) for prompt in prompts]

    def too_long(self, prompts: Sequence[str]) -> list[int]:
        """Indices of prompts that do not fit."""
        room = self.context - self.sampling.max_new_tokens
        return [i for i, p in enumerate(prompts) if len(frame(self.tokenizer, fill(self.template, p))) > room]

    def generate(self, queries: Sequence[Sequence[int]], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` continuations of `queries[i]`, decoded."""
        drawn = sample(
            self.model,
            queries,
            counts,
            self.sampling,
            self.eos_ids,
            self.pad_id,
            seed,
            batch_size=self.batch_size,
        )
        return [
            [replace(g, text=self._decode(g), query=query) for g in row]
            for query, row in zip(queries, drawn, strict=True)
        ]

    def continuations(
        self, prompts: Sequence[str], counts: Sequence[int], seed: int, too_long: str
    ) -> list[list[Generation]]:
        """`counts[i]` continuations of the framed `prompts[i]`; one that does not fit gives the failure `too_long`."""
        queries: list[list[int]] = []
        kept: list[int] = []
        result = [[Generation("", failure=too_long)] * count for count in counts]
        for i, prompt in enumerate(prompts):
            try:
                queries += self.queries([prompt])
            except PromptTooLong:
                continue
            kept.append(i)
        for i, row in zip(kept, self.generate(queries, [counts[i] for i in kept], seed), strict=True):
            result[i] = row
        return result

    def _decode(self, generation: Generation) -> str:
        return str(self.tokenizer.decode(generation.tokens.tolist(), skip_special_tokens=True)).strip()

    def _framed(self, prompt: str, room: int) -> list[int]:
        ids = frame(self.tokenizer, fill(self.template, prompt))
        if len(ids) <= room:
            return ids
        over = len(ids) - room
        if not self.cut_long_prompts:
            raise PromptTooLong(
                f"prompt {prompt[:40]!r}... takes {len(ids)} tokens in {self.name}'s frame and leaves no room for"
                f" {self.sampling.max_new_tokens} new ones in a context of {self.context}; shorten it by {over} tokens,"
                " lower sampling.max_new_tokens, or set overflow=cut to have its end cut off"
            )
        tokens = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        while len(ids) > room and tokens:
            tokens = tokens[: max(0, len(tokens) - max(1, len(ids) - room))]
            ids = frame(self.tokenizer, fill(self.template, self.tokenizer.decode(tokens)))
        if len(ids) > room:
            raise PromptTooLong(
                f"the frame of {self.name} alone takes {len(ids)} tokens and leaves no room for"
                f" {self.sampling.max_new_tokens} new ones in a context of {self.context}; use a shorter template"
            )
        return ids


@dataclass(frozen=True)
class LocalPrompter:
    """A causal LM that rewrites: frames x in the meta-prompt, samples, reads x' out of what came."""

    lm: LanguageModel

    @property
    def name(self) -> str:
        return self.lm.name

    def rewrite(self, prompts: Sequence[str], n: int, seed: int) -> list[list[Generation]]:
        """`n` rewrites of each prompt; `text` is x', or the raw text with a `failure` where none can be read.

        A prompt that does not fit gives rewrites with a failure; it stops nothing.
        """
        rows = self.lm.continuations(prompts, [n] * len(prompts), seed, "prompt exceeds the prompter's context")
        return [[_read(g) for g in row] for row in rows]


def _read(generation: Generation) -> Generation:
    if generation.failure:
        return generation
    text = parse_rewrite(generation.text)
    return replace(generation, text=text) if text else replace(generation, failure="empty rewrite")


@dataclass(frozen=True)
class LocalFrozenModel:
    """A causal LM that answers and is never changed."""

    lm: LanguageModel

    @property
    def name(self) -> str:
        return self.lm.name

    def respond(self, prompts: Sequence[str], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` responses to `prompts[i]`.

        A prompt that does not fit gives responses with a failure; it stops nothing.
        """
        return self.lm.continuations(prompts, counts, seed, "prompt exceeds the frozen model's context")

    @property
    def truncated(self) -> bool:
        """Whether it samples from less than its whole distribution, whose likelihoods are not those of `logprobs`."""
        return self.lm.sampling.top_p < 1 or self.lm.sampling.top_k > 0

    def logprobs(self, prompts: Sequence[str], responses: Sequence[Generation]) -> npt.NDArray[np.float64]:
        """log p(response | prompt) [N] in nats, summed over the response's tokens; nan where the prompt is too long."""
        long = set(self.lm.too_long(prompts))
        rows = [i for i in range(len(prompts)) if i not in long]
        scored = score(
            self.lm.model,
            self.lm.queries([prompts[i] for i in rows]),
            [responses[i].tokens for i in rows],
            self.lm.pad_id,
            self.lm.sampling.temperature,
            self.lm.batch_size,
        )
        found = np.full(len(prompts), np.nan)
        found[rows] = [row.sum(dtype=np.float64) for row in scored]
        return found


def load_prompter(settings: PrompterSettings, device: str = "cpu", dtype: str = "auto") -> LocalPrompter:
    """The prompter named in the settings. Raises as `load_language_model`."""
    return LocalPrompter(load_language_model("prompter", settings, device, dtype))


def load_frozen(settings: FrozenSettings, device: str = "cpu", dtype: str = "auto") -> LocalFrozenModel:
    """The frozen model named in the settings, its gradients off. Raises as `load_language_model`."""
    lm = load_language_model("frozen", settings, device, dtype)
    lm.model.requires_grad_(False)
    return LocalFrozenModel(lm)


def load_language_model(
    role: Role, settings: PrompterSettings | FrozenSettings, device: str = "cpu", dtype: str = "auto"
) -> LanguageModel:
    """A causal LM from a folder, a hub id, or `lab`.

    Raises ModelNotUsable for a folder without weights or tokenizer, HubUnreachable where the hub cannot be reached,
    SettingsError for a template that would lose the prompt.
    """
    from transformers import AutoModelForCausalLM

    if settings.template is not None and (fault := check_template(settings.template)):
        raise SettingsError(f"{role}.template: {fault}")
    model, tokenizer = load_pretrained(AutoModelForCausalLM, str(settings.model), role, device, dtype)
    chat = bool(getattr(tokenizer, "chat_template", None))
    default = (META_PROMPT if chat else PLAIN_META_PROMPT) if role == "prompter" else "{prompt}"
    lm = LanguageModel(
        name=display_name(str(settings.model), role),
        model=model,
        tokenizer=tokenizer,
        template=settings.template or default,
        sampling=settings.sampling,
        batch_size=settings.batch_size,
        cut_long_prompts=settings.overflow == "cut",
    )
    if settings.sampling.max_new_tokens >= lm.context:
        raise SettingsError(
            f"{role}.sampling.max_new_tokens is {settings.sampling.max_new_tokens}, but {lm.name}'s context is"
            f" {lm.context}; leave room for the prompt"
        )
    return lm


def load_pretrained(auto: Any, name: str, role: Role, device: str, dtype: str) -> tuple[Any, Any]:
    """Model in evaluation mode on the device, and tokenizer, with faults told in one line. Raises as above."""
    from transformers import AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()  # its bars would break into ours
    source = resolve(name, role)
    torch_dtype = _dtype(dtype, device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotUsable(f"{role}.model {name}: no tokenizer could be loaded ({_first_line(error)})") from error
    try:
        model = auto.from_pretrained(source, dtype=torch_dtype)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelNotUsable(f"{role}.model {name}: no weights could be loaded ({_first_line(error)})") from error
    return model.to(device).eval(), tokenizer


def resolve(name: str, role: Role) -> str:
    """Folder or hub id to load from: `lab` is the packaged model of the role.

    Raises ModelNotUsable for a folder that lacks something, HubUnreachable at once where a hub id is not in the local
    cache and the hub does not answer.
    """
    if name == "lab":
        return str(resources.files("alignpro.lab") / "weights" / role)
    path = Path(name).expanduser()
    if path.is_dir():
        _check_folder(path, name, role)
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.is_file():
        raise ModelNotUsable(
            f"{role}.model {name}: no such folder; give a folder with a Hugging Face model, or a hub id"
        )
    _check_hub(name, role)
    return name


def display_name(name: str, role: Role) -> str:
    """What reports call the model."""
    return f"lab {role}" if name == "lab" else name.rstrip("/").rsplit("/", 1)[-1]


def device_of(wanted: str) -> str:
    """`auto` resolved to the best device there is, and among several processes an accelerator to the process's own.

    Raises SettingsError for one that is not there.
    """
    own = processes.own_device()
    if own is not None and wanted in ("auto", own.partition(":")[0]):
        return own
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {wanted!r} cannot be used here ({_first_line(error)}); try device=cpu") from error
    return wanted


def fingerprint(model: nn.Module) -> str:
    """A digest of all weights, to show that a frozen model stayed frozen."""
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_folder(path: Path, name: str, role: Role) -> None:
    files = {entry.name for entry in path.iterdir()}
    if "config.yaml" in files:
        raise ModelNotUsable(f"{role}.model {name}: the folder is that of a run; its model is in {path / 'prompter'}")
    if not files & {"config.json", "adapter_config.json"}:
        raise ModelNotUsable(f"{role}.model {name}: the folder has no config.json, so it is not a Hugging Face model")
    if not any(f.endswith((".safetensors", ".bin")) for f in files):
        raise ModelNotUsable(f"{role}.model {name}: the folder has no weights (*.safetensors or *.bin)")
    if not files & {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json"}:
        raise ModelNotUsable(f"{role}.model {name}: the folder has no tokenizer (tokenizer.json or the like)")


def _check_hub(name: str, role: Role) -> None:
    from huggingface_hub import constants, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    hint = f"{role}.model {name} is neither a folder here nor a model in the local cache"
    if constants.HF_HUB_OFFLINE:
        raise HubUnreachable(f"{hint}, and HF_HUB_OFFLINE forbids asking the hub; give a folder, or unset it")
    url = urlsplit(constants.ENDPOINT)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((str(url.hostname), port), timeout=5).close()
    except OSError as error:
        raise HubUnreachable(
            f"{hint}, and the hub at {url.hostname} cannot be reached ({error}); check the network, or give a folder"
        ) from error


def _dtype(name: str, device: str) -> torch.dtype:
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.startswith("cuda") and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]
