"""From settings to the pieces of the flow, checked before any long work starts."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from alignpro.config import LoraSettings, Settings, TrainSettings
from alignpro.data.prompts import Prompts
from alignpro.errors import PromptTooLong, SettingsError, UsageError
from alignpro.evaluate import arms
from alignpro.evaluate.models import Models
from alignpro.flow.prompters import Chain
from alignpro.judges.loading import load_judge, load_second_reward_and_judge
from alignpro.models.checkpointing import checkpointed
from alignpro.models.fingerprint import fingerprint
from alignpro.models.framing import Frame
from alignpro.models.language_model import LanguageModel
from alignpro.models.loading import Role, device_of, is_adapter
from alignpro.models.local import (
    LocalFrozenModel,
    LocalPrompter,
    load_frozen,
    load_prompter,
    with_meta_prompt,
    without_meta_prompt,
)
from alignpro.models.lora import AdapterOff, adapted, check_targets
from alignpro.models.perturb import check as check_noise
from alignpro.models.perturb import parse as parse_noise
from alignpro.models.sharding import shard
from alignpro.remote.address import is_endpoint
from alignpro.remote.opened import Endpoints
from alignpro.rewards import load_reward
from alignpro.rewards.model import RewardModel
from alignpro.rewards.pairwise import check_comparisons
from alignpro.rewards.prompt_terms import load_prompt_terms
from alignpro.rng import derive
from alignpro.running.prompts import prompts_of
from alignpro.runtime import processes
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import FrozenModel, Judge, Prompter, Reward, RewriteTerms

SHORT = {
    "prompter.model": "--prompter",
    "frozen.model": "--frozen",
    "reward.model": "--reward",
    "data.prompts": "--prompts",
}
"""Command-line options of the settings without which nothing runs."""


@dataclass(frozen=True)
class Pieces:
    """Everything a run needs, loaded."""

    settings: Settings
    prompts: Prompts
    reference: LocalPrompter
    before: tuple[tuple[LocalPrompter, ...], ...]
    frozen: FrozenModel
    reward: Reward
    second_reward: Reward | None
    judge: Judge
    endpoints: Endpoints
    prompt_terms: RewriteTerms | None = None

    @property
    def local_frozen(self) -> LocalFrozenModel:
        """The frozen model, whose weights are here. Raises SettingsError where they are not."""
        if not isinstance(self.frozen, LocalFrozenModel):
            raise SettingsError(f"frozen.model {self.frozen.name} is an endpoint; its weights are not here")
        return self.frozen

    @property
    def frozen_weights(self) -> str | None:
        """A digest of the frozen model's weights, None where they are behind a URL."""
        return fingerprint(self.frozen.lm.model) if isinstance(self.frozen, LocalFrozenModel) else None

    def pipeline(self, last: LocalPrompter) -> Prompter:
        """The prompter with the fixed passes before it."""
        return pipeline(self.before, last)

    def models(self, trained: LocalPrompter | None, rlhf: LocalFrozenModel | None) -> Models:
        """What the arms are put together from."""
        return Models(
            reference=self.pipeline(self.reference),
            reference_lm=self.reference.lm,
            trained=self.pipeline(trained) if trained else None,
            passes=tuple(pipeline(self.before[:n], *own) for n, own in enumerate(self.before)),
            frozen=self.frozen,
            rlhf=rlhf,
            reward=self.reward,
            second_reward=self.second_reward,
            prompt_terms=self.prompt_terms,
        )


def assemble(settings: Settings, say: Callable[[str], None], kept: Path | None = None) -> Pieces:
    """Load data, rewards and models, the cheapest and likeliest to be wrong first.

    An endpoint is asked for one token before any model is loaded. `kept` is the folder of a run that goes on, whose
    answers and spending count. Raises SettingsError, DataError, ModelNotUsable, HubUnreachable, PromptTooLong,
    EndpointUnusable, EndpointDown, BudgetSpent.
    """
    check(settings)
    prompts = prompts_of(settings.data, settings.split_seed)
    endpoints = Endpoints(settings.budget, settings.frozen.cache)
    try:
        return _assemble(settings, say, prompts, endpoints, kept)
    except BaseException:
        endpoints.close()
        raise


def check(settings: Settings) -> None:
    """Everything that can be told from the settings alone. Raises SettingsError, ModelNotUsable."""
    if missing := settings.missing():
        raise SettingsError(
            f"{', '.join(missing)} not set; give {' '.join(SHORT[name] for name in missing)}, or use the"
            " recipe lab, which has everything"
        )
    arms.check(settings)
    for spec in settings.headroom.noise:
        check_noise(spec)
    _check_adapters(settings)
    for role, name in (
        ("prompter.model", settings.prompter.model),
        *(("prompter.before", b) for b in settings.prompter.before),
    ):
        if is_endpoint(str(name)):
            raise SettingsError(
                f"{role} {name}: a prompter's weights must be here, not behind a URL; give a folder or a hub id"
            )
    if not is_endpoint(str(settings.frozen.model)):
        return
    if settings.rlhf.enabled:
        raise SettingsError(
            f"rlhf.enabled: the oracle fine-tunes the frozen model, whose weights are behind {settings.frozen.model};"
            " set --rlhf.enabled=false and leave rlhf out of evaluate.arms"
        )
    for spec in settings.headroom.noise:
        kind, _ = parse_noise(spec)
        if kind in ("weights", "temperature"):
            raise SettingsError(
                f"headroom.noise {spec}: the frozen model is behind {settings.frozen.model}, so its {kind} cannot be"
                " changed; use drop=SHARE, swap=SHARE or model=PATH"
            )


def frozen_of(settings: Settings, endpoints: Endpoints) -> FrozenModel:
    """The frozen model of the settings, here or behind URLs. Raises as `load_frozen` and `Endpoints.load`."""
    frozen = settings.frozen
    if is_endpoint(str(frozen.model)):
        frame = Frame.of("{prompt}" if frozen.template is None else frozen.template, frozen.system, "frozen")
        return endpoints.load(str(frozen.model), frozen.sampling, frozen.endpoint, frame)
    return load_frozen(frozen, device_of(settings.device), settings.dtype)


def _assemble(
    settings: Settings, say: Callable[[str], None], prompts: Prompts, endpoints: Endpoints, kept: Path | None
) -> Pieces:
    device = device_of(settings.device)
    remote = is_endpoint(str(settings.frozen.model))
    frozen = frozen_of(settings, endpoints) if remote else None
    reward = load_reward(settings.reward, device, settings.dtype, endpoints=endpoints)
    check_comparisons(reward, (*prompts.train, *prompts.test))
    second, judge = load_second_reward_and_judge(settings, reward, device, endpoints)
    if kept is not None:
        endpoints.keep(kept)
    endpoints.check()
    frozen = frozen or frozen_of(settings, endpoints)
    before = load_before(settings)
    reference = load_prompter(settings.prompter, device, settings.dtype)
    if settings.train.steps:
        check_trainable(reference.lm.model, settings.prompter.lora, "prompter.lora")
    if settings.rlhf.enabled and isinstance(frozen, LocalFrozenModel):
        check_trainable(frozen.lm.model, settings.rlhf.lora, "rlhf.lora")
    everyone = (*prompts.train, *prompts.test)
    check_lengths((before[0][0] if before else reference).lm, everyone, "prompter", say)
    if isinstance(frozen, LocalFrozenModel):  # nobody tells what fits an endpoint; what does not is a failed sample
        check_lengths(frozen.lm, everyone, "frozen", say)
    tell_plain_turns({"prompter": reference, "frozen": frozen, "reward": reward}, say)
    for reason, count in prompts.dropped.items():
        say(f"{count} prompts left out: {reason}")
    terms = load_prompt_terms(settings.prompt_terms, reference.lm)
    settings = with_meta_prompt(settings, reference.lm)
    return Pieces(settings, prompts, reference, before, frozen, reward, second, judge, endpoints, terms)


def assemble_judge(settings: Settings, endpoints: Endpoints) -> Judge:
    """The judge of a run's win rates alone, nothing else loaded. Raises as `assemble`."""
    return load_judge(settings, device_of(settings.device), endpoints)


def pipeline(before: tuple[tuple[LocalPrompter, ...], ...], *last: LocalPrompter) -> Prompter:
    """Passes in sequence, or the only one."""
    passes = (*itertools.chain.from_iterable(before), *last)
    return Chain(passes) if len(passes) > 1 else passes[0]


def copy_of(lm: LanguageModel) -> LanguageModel:
    """The same model with weights of its own, free to be trained."""
    model = copy.deepcopy(lm.model)
    model.requires_grad_(True)
    return replace(lm, model=model)


@contextmanager
def trainable(
    lm: LanguageModel, lora: LoraSettings | None, settings: TrainSettings, where: str, seed: int
) -> Iterator[tuple[LanguageModel, LanguageModel]]:
    """Policy and reference: a copy and the model itself, or the model with an adapter on it and off.

    With an adapter `lm` must not be used while this is open, and is as it was afterwards. `where` names the section of
    `lora`. Raises SettingsError for weights that cannot be trained so.
    """
    check_trainable(lm.model, lora, where)
    if lora is None:
        policy = copy_of(lm)
        shard(policy.model)
        with checkpointed(policy.model, settings.gradient_checkpointing):
            yield policy, lm
        return
    fresh = adapted(lm.model, lora, where, derive(seed, "lora"))
    with fresh as model, checkpointed(model, settings.gradient_checkpointing):
        yield replace(lm, model=model), replace(lm, model=AdapterOff(model))


def load_trained(settings: Settings, folder: Path | str) -> LocalPrompter:
    """The trained prompter of a run, from its plain Hugging Face folder, framed as it was trained."""
    trained = settings.prompter.model_copy(update={"model": str(folder)})
    return load_prompter(trained, device_of(settings.device), settings.dtype)


def load_before(settings: Settings) -> tuple[tuple[LocalPrompter, ...], ...]:
    """The fixed passes before the prompter that is trained: each a model framed as the prompter is, or a run's prompter
    with the passes that came before it there.

    Raises as `load_prompter`, and UsageError for a run whose prompter is not trained yet.
    """
    return tuple(_load_pass(settings, name) for name in settings.prompter.before)


def _load_pass(settings: Settings, name: str) -> tuple[LocalPrompter, ...]:
    folder = RunFolder(Path(name))
    if not folder.config.is_file():
        return (load_trained(without_meta_prompt(settings), name),)
    if not folder.trained:
        raise UsageError(f"prompter.before {name}: the run holds no trained prompter yet; finish it first")
    own = folder.settings().model_copy(update={"device": settings.device, "dtype": settings.dtype})
    return (*itertools.chain.from_iterable(load_before(own)), load_trained(own, folder.prompter))


def load_other_frozen(settings: Settings, name: Path | str) -> LocalFrozenModel:
    """A model in the place of the frozen one, framed and sampled alike: the RLHF oracle, or another altogether."""
    other = settings.frozen.model_copy(update={"model": str(name)})
    return load_frozen(other, device_of(settings.device), settings.dtype)


def check_trainable(model: Any, lora: LoraSettings | None, where: str) -> None:
    """Raise SettingsError for weights that cannot be trained so."""
    if model.dtype == torch.float16:
        raise SettingsError(
            "dtype float16: gradients leave its range; train with dtype=bfloat16, or float32 where there is none"
        )
    if lora is not None and processes.is_sharded():
        raise SettingsError(
            f"{where}: an adapter is not split by FSDP, and what training keeps of it is small; launch with --multi_gpu"
        )
    if lora is not None:
        check_targets(model, lora, where)
    elif len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        raise SettingsError(
            f"device_map over several devices: all weights cannot be trained there; set {where}.rank=16, which trains"
            " an adapter"
        )


def _check_adapters(settings: Settings) -> None:
    """Raise SettingsError for an adapter to be trained on an adapter."""
    if settings.train.steps > 0:
        check_not_adapter(settings.prompter.model, settings.prompter.lora, "prompter", "prompter.model")
    if settings.rlhf.enabled:
        check_not_adapter(settings.frozen.model, settings.rlhf.lora, "frozen", "frozen.model")


def check_not_adapter(name: str | None, lora: LoraSettings | None, role: Role, setting: str) -> None:
    """Raise SettingsError for an adapter on an adapter: its base would exist nowhere as plain weights."""
    if lora is not None and is_adapter(str(name), role):
        raise SettingsError(
            f"{setting} {name} is an adapter, and lora would train another on top of it; give plain weights"
            " (`alignpro export RUN` merges a run's), or set lora=null to train every weight"
        )


def tell_plain_turns(parts: Mapping[str, Prompter | FrozenModel | Reward], say: Callable[[str], None]) -> None:
    """Say of which parts a prompt or an answer could spell out a turn, since their templates mark turns by words."""
    for section, part in parts.items():
        if isinstance(part, LocalPrompter | LocalFrozenModel):
            frame = part.lm.frame
        elif isinstance(part, RewardModel) and part.template is None:
            frame = Frame(tokenizer=part.tokenizer)
        else:
            continue
        if words := frame.turns_in_words:
            say(
                f"{section}: the chat template of {part.name} parts turns by {words!r}, which is no special token, so"
                " that a text which spells it out can open a turn of its own"
            )


def check_lengths(lm: LanguageModel, prompts: tuple[str, ...], section: str, say: Callable[[str], None]) -> None:
    long = lm.too_long(prompts)
    if not long:
        return
    if lm.cut_long_prompts:
        say(
            f"{len(long)} of {len(prompts)} prompts exceed the context of {lm.name}; their ends are cut, as"
            f" {section}.overflow says"
        )
        return
    try:
        lm.queries([prompts[long[0]]])
    except PromptTooLong as error:
        more = f" ({len(long)} of {len(prompts)} prompts are too long)" if len(long) > 1 else ""
        raise PromptTooLong(f"{error}{more}. The setting is {section}.overflow") from None
