"""Local Hugging Face causal LMs in their two roles: prompter and frozen model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from alignpro.config import META_PROMPTS, FrozenSettings, PrompterSettings, Settings
from alignpro.errors import SettingsError
from alignpro.models.consistency import check_consistency
from alignpro.models.framing import Frame, meta_prompt
from alignpro.models.language_model import LanguageModel
from alignpro.models.loading import OwnCode, display_name, load_tokenizer, load_weights
from alignpro.models.logprobs import score
from alignpro.models.precision import of_trained
from alignpro.models.vocabulary import check_embeddings
from alignpro.models.written import as_rewrite
from alignpro.types import Generation, OnDrawn, Prompt, Seed

TOO_LONG = "prompt exceeds the prompter's context"
"""The failure of a rewrite whose prompt leaves no room for it."""


@dataclass(frozen=True)
class LocalPrompter:
    """A causal LM that rewrites: frames x in the meta-prompt, samples, reads x' out of what came."""

    lm: LanguageModel

    @property
    def name(self) -> str:
        return self.lm.name

    def rewrite(self, prompts: Sequence[str | Prompt], n: int, seed: Seed) -> list[list[Generation]]:
        """`n` rewrites of each prompt; `text` is x', or the raw text with a `failure` where none can be read.

        A prompt that does not fit gives rewrites with a failure; it stops nothing. With a seed for each prompt its
        rewrites do not depend on the other prompts.
        """
        return self.rewrite_each(prompts, n, seed, None)

    def rewrite_each(
        self, prompts: Sequence[str | Prompt], n: int, seed: Seed, on_drawn: OnDrawn | None
    ) -> list[list[Generation]]:
        """The same, each told as soon as it is drawn."""
        told = None if on_drawn is None else lambda b, g, drawn: on_drawn(b, g, as_rewrite(drawn))
        rows = self.lm.continuations(prompts, [n] * len(prompts), seed, TOO_LONG, told)
        return [[as_rewrite(g) for g in row] for row in rows]


@dataclass(frozen=True)
class LocalFrozenModel:
    """A causal LM that answers and is never changed."""

    lm: LanguageModel

    @property
    def name(self) -> str:
        return self.lm.name

    def respond(self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` responses to `prompts[i]`.

        A prompt that does not fit gives responses with a failure; it stops nothing.
        """
        return self.lm.continuations(prompts, counts, seed, "prompt exceeds the frozen model's context")

    @property
    def truncated(self) -> bool:
        """Whether it samples from less than its whole distribution, whose likelihoods are not those of `logprobs`."""
        return self.lm.sampling.top_p < 1 or self.lm.sampling.top_k > 0

    def logprobs(self, prompts: Sequence[str | Prompt], responses: Sequence[Generation]) -> npt.NDArray[np.float64]:
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
            f"{self.lm.section}.batch_size",
        )
        sums = np.full(len(prompts), np.nan)
        sums[rows] = [row.sum(dtype=np.float64) for row in scored]
        return sums


def load_prompter(settings: PrompterSettings, device: str = "cpu", dtype: str = "auto") -> LocalPrompter:
    """The prompter named in the settings. Raises as `load_language_model`."""
    precision = of_trained(dtype, device, settings.lora is not None)
    return LocalPrompter(load_language_model("prompter", settings, device, precision))


def load_frozen(settings: FrozenSettings, device: str = "cpu", dtype: str = "auto") -> LocalFrozenModel:
    """The frozen model named in the settings, its gradients off. Raises as `load_language_model`."""
    lm = load_language_model("frozen", settings, device, dtype)
    lm.model.requires_grad_(False)
    return LocalFrozenModel(lm)


def load_language_model(
    role: Literal["prompter", "frozen"],
    settings: PrompterSettings | FrozenSettings,
    device: str = "cpu",
    dtype: str = "auto",
) -> LanguageModel:
    """A causal LM from a folder, a hub id, or `lab`; an adapter comes merged.

    Raises ModelNotUsable for a folder without weights or tokenizer and for a model that does not sample what it scores,
    HubUnreachable where the hub cannot be reached, SettingsError for a template that would lose the prompt.
    """
    from transformers import AutoModelForCausalLM

    frame = load_frame(role, settings)  # before the weights, which may take minutes
    model = load_weights(
        AutoModelForCausalLM, str(settings.model), role, device, dtype, settings.device_map, _own_code(role, settings)
    )
    lm = LanguageModel(
        name=display_name(str(settings.model), role),
        model=model,
        frame=frame,
        sampling=settings.sampling,
        batch_size=settings.batch_size,
        cut_long_prompts=settings.overflow == "cut",
        section=role,
    )
    check_room(lm, role)
    check_embeddings(model, lm.tokenizer, f"{role}.model {settings.model}", frame)
    check_consistency(model, lm.pad_id, lm.context, f"{role}.model {settings.model}")
    return lm


def check_room(lm: LanguageModel, section: str) -> None:
    """Raise SettingsError where an answer of `section`.sampling and the frame leave no token to any prompt."""
    framed, new = len(lm.frame.ids("")), lm.sampling.max_new_tokens
    if framed + new >= lm.context:
        raise SettingsError(
            f"{section}.sampling.max_new_tokens is {new}, and the frame around a prompt (template, system message,"
            f" examples) takes {framed} tokens, but {lm.name}'s context is {lm.context}; leave room for the prompt"
        )


def with_meta_prompt(settings: Settings, prompter: LanguageModel) -> Settings:
    """The settings with the meta-prompt in which their prompter was loaded, where they left it to the package."""
    own = settings.prompter.model_copy(update={"template": prompter.frame.template})
    return settings.model_copy(update={"prompter": own})


def without_meta_prompt(settings: Settings) -> Settings:
    """The settings with a meta-prompt of the package's own left open again, since another model may take another."""
    if settings.prompter.template not in META_PROMPTS:
        return settings
    return settings.model_copy(update={"prompter": settings.prompter.model_copy(update={"template": None})})


def _own_code(role: str, settings: PrompterSettings | FrozenSettings) -> OwnCode:
    return f"{role}.trust_remote_code", settings.trust_remote_code


def load_frame(role: Literal["prompter", "frozen"], settings: PrompterSettings | FrozenSettings) -> Frame:
    """The frame that the settings put around a prompt of their model, of which the tokenizer alone is loaded.

    Raises as `load_language_model`.
    """
    tokenizer = load_tokenizer(str(settings.model), role, _own_code(role, settings))
    template = settings.template
    if template is None:
        template = meta_prompt(tokenizer) if role == "prompter" else "{prompt}"
    quotes = isinstance(settings, PrompterSettings)
    examples = settings.examples if isinstance(settings, PrompterSettings) else ()
    framed = Frame.of(template, settings.system, role, quotes, examples, settings.thoughts)
    return framed.read_by(tokenizer, role)
