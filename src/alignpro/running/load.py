"""The one place where settings become the pieces of the flow, checked before any long work starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from alignpro.config import OtherPrompterSettings, Settings
from alignpro.errors import UsageError
from alignpro.evaluate import arms
from alignpro.judges.loading import load_judge, load_second_reward
from alignpro.models.chat_template import Clock, telling
from alignpro.models.framing import Frame
from alignpro.models.loading import device_of
from alignpro.models.local import (
    LocalFrozenModel,
    LocalPrompter,
    load_frozen,
    load_prompter,
    with_meta_prompt,
    without_meta_prompt,
)
from alignpro.models.precision import of_trained
from alignpro.remote.address import is_elsewhere, is_function
from alignpro.remote.opened import Endpoints
from alignpro.remote.prompter import EndpointPrompter, frame_of
from alignpro.rewards import load_reward
from alignpro.rewards.guards import Guards
from alignpro.rewards.prompt_terms import load_prompt_terms, reads_reference
from alignpro.running import checks
from alignpro.running.pieces import PieceName, Pieces
from alignpro.running.prompts import prompts_of
from alignpro.runtime import ownership
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import FrozenModel

Say = Callable[[str], None]


def load(
    settings: Settings,
    needs: Collection[PieceName],
    say: Say = lambda line: None,
    *,
    kept: Path | None = None,
    for_run: bool = False,
    trains: bool = True,
) -> Pieces:
    """Load the pieces that are needed and no others, the cheapest and likeliest to be wrong first.

    An endpoint is asked for one token before any model is loaded. `kept` is the folder of a run that goes on, whose
    answers and spending count. With `for_run` what the settings train must be trainable, where anything `trains`, and
    statistics of a reward's terms may come later, since a run takes and keeps them. Raises SettingsError, DataError,
    ModelNotUsable, HubUnreachable, PromptTooLong, EndpointUnusable, EndpointDown, BudgetSpent.
    """
    wanted = set(needs)
    if "prompt_terms" in wanted and any(map(reads_reference, settings.prompt_terms)):
        wanted.add("prompter")
    if "second_reward" in wanted:  # which must be another than the reward
        wanted.add("reward")
    checks.check(settings, wanted, for_run)
    endpoints = Endpoints(settings.budget, settings.frozen.cache, say)
    try:
        with telling(settings.day) as clock:
            loaded = _load(settings, wanted, endpoints, kept, for_run, say)
        settings = with_day(settings, clock)
        if "prompter" in loaded:
            settings = with_meta_prompt(settings, loaded["prompter"].lm)
        pieces = Pieces(settings, endpoints, loaded)
        if for_run and trains:
            checks.check_trainable_pieces(pieces)
        checks.tell(pieces, say)
        if kept is not None:
            checks.tell_changed_source(pieces, kept, say)
    except BaseException:
        endpoints.close()
        raise
    return pieces


def _load(
    settings: Settings, wanted: set[PieceName], endpoints: Endpoints, kept: Path | None, for_run: bool, say: Say
) -> dict[PieceName, Any]:
    device, loaded = device_of(settings.device), dict[PieceName, Any]()
    if "prompts" in wanted:
        loaded["prompts"] = prompts_of(settings.data, settings.split_seed)
    if "frozen" in wanted and is_elsewhere(str(settings.frozen.model)):
        loaded["frozen"] = _frozen(settings, device, endpoints)
    if "reward" in wanted:
        loaded["reward"] = load_reward(settings.reward, device, settings.dtype, endpoints=endpoints)
    if "second_reward" in wanted:
        loaded["second_reward"] = load_second_reward(settings, loaded["reward"], device, endpoints)
    if "judge" in wanted:
        loaded["judge"] = load_judge(
            settings, device, endpoints, reward=loaded.get("reward"), second=loaded.get("second_reward")
        )
    if "others" in wanted:
        loaded["others"] = _others(settings, endpoints)
    if "prompts" in wanted:
        checks.tell_rows(
            (loaded.get(name) for name in ("reward", "second_reward", "judge")),
            loaded["prompts"].everyone,
            say,
        )
    if kept is not None:
        endpoints.keep(kept)
    if for_run:  # its folder will keep the answers, and is not touched yet
        endpoints.check()
    else:
        endpoints.ready()
    if "frozen" in wanted and "frozen" not in loaded:
        loaded["frozen"] = _frozen(settings, device, endpoints)
    if "passes" in wanted:
        loaded["passes"] = load_passes(settings)
    if "prompter" in wanted:
        loaded["prompter"] = load_prompter(settings.prompter, device, settings.dtype)
    if "prompt_terms" in wanted:
        reference = loaded["prompter"].lm if "prompter" in wanted else None
        template = reference.frame.template if reference else settings.prompter.template or ""
        guards = Guards(settings.guards, template)
        loaded["prompt_terms"] = load_prompt_terms(settings.prompt_terms, reference, guards)
        if "prompts" in wanted:
            checks.tell_rows([loaded["prompt_terms"]], loaded["prompts"].everyone, say)
    return loaded


def _frozen(settings: Settings, device: str, endpoints: Endpoints) -> FrozenModel:
    frozen = settings.frozen
    if is_elsewhere(str(frozen.model)):
        template = "{prompt}" if frozen.template is None else frozen.template
        frame = Frame.of(template, frozen.system, "frozen", thoughts=frozen.thoughts)
        if is_function(str(frozen.model)):
            return endpoints.load_function(frozen, frame)
        return endpoints.load(str(frozen.model), frozen.sampling, frozen.endpoint, frame)
    return load_frozen(frozen, device, _dtype_of_frozen(settings, device))


def load_asked(asked: OtherPrompterSettings, frame: Frame) -> EndpointPrompter:
    """A prompter behind URLs by itself, in a frame, asked for one token.

    Raises EndpointUnusable, EndpointDown, SettingsError.
    """
    endpoints = Endpoints()
    try:
        made = endpoints.load(asked.model, asked.sampling, asked.endpoint, frame)
        endpoints.check()
    except BaseException:
        endpoints.close()
        raise
    return EndpointPrompter(made)


def _others(settings: Settings, endpoints: Endpoints) -> dict[str, EndpointPrompter]:
    """Prompters behind URLs that arms name."""
    made = {}
    for arm in arms.compared(settings):
        if isinstance(arm, arms.OtherPrompter) and (own := arm.named(settings)):
            made[arm.name] = EndpointPrompter(endpoints.load(own.model, own.sampling, own.endpoint, frame_of(own)))
    return made


def with_day(settings: Settings, clock: Clock) -> Settings:
    """The settings with the day that was told, where a chat template asks for it and they left it open."""
    return settings.model_copy(update={"day": clock.day.isoformat()}) if clock.asked else settings


def load_trained(settings: Settings, folder: Path | str) -> LocalPrompter:
    """The trained prompter of a run, from its plain Hugging Face folder, framed as it was trained."""
    own = prompted_by(settings, folder)
    with telling(settings.day):
        return load_prompter(own.prompter, device_of(settings.device), settings.dtype)


def prompted_by(settings: Settings, folder: Path | str) -> Settings:
    """The settings with another prompter, framed and sampled alike."""
    prompter = settings.prompter.model_copy(update={"model": str(folder)})
    return settings.model_copy(update={"prompter": prompter})


def load_passes(settings: Settings) -> tuple[tuple[LocalPrompter, ...], ...]:
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
    ownership.check(folder.path, of=("prompter.",), writes=False)
    own = folder.settings().model_copy(update={"device": settings.device, "dtype": settings.dtype})
    return (*itertools.chain.from_iterable(load_passes(own)), load_trained(own, folder.prompter))


def load_other_frozen(settings: Settings, name: Path | str) -> LocalFrozenModel:
    """A model in the place of the frozen one, framed and sampled alike: the RLHF oracle, or another altogether."""
    other = settings.frozen.model_copy(update={"model": str(name)})
    with telling(settings.day):
        device = device_of(settings.device)
        return load_frozen(other, device, _dtype_of_frozen(settings, device))


def _dtype_of_frozen(settings: Settings, device: str) -> str:
    """The frozen model is the reference of the oracle, where there is one, and computes as that is trained."""
    oracle = settings.rlhf
    return of_trained(settings.dtype, device, oracle.lora is not None) if oracle.enabled else settings.dtype
