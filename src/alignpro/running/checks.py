"""What can be told to be wrong of settings, and of the pieces loaded, before any long work starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alignpro.config import Settings
from alignpro.errors import PromptTooLong, SettingsError, UsageError
from alignpro.evaluate import arms
from alignpro.judges.by_language_model import LlmJudge
from alignpro.models.framing import Frame
from alignpro.models.language_model import LanguageModel
from alignpro.models.loading import check_held
from alignpro.models.local import LocalFrozenModel, LocalPrompter, check_room
from alignpro.models.perturb import check as check_noise
from alignpro.models.perturb import parse as parse_noise
from alignpro.remote.address import is_elsewhere
from alignpro.remote.function import FunctionModel
from alignpro.rewards.composite import check_scales
from alignpro.rewards.model import RewardModel
from alignpro.running.pieces import PieceName, Pieces
from alignpro.runtime import files
from alignpro.runtime.trackers import check as check_trackers
from alignpro.train.policy import check_trainable
from alignpro.types import FrozenModel, Prompt, Prompter, ReadsRows, Reward, columns_of

MOST_VALUES = 50
"""Groups of test prompts that are told apart at most."""
OPTIONS: dict[PieceName, tuple[str, str]] = {
    "prompter": ("prompter.model", "--prompter"),
    "frozen": ("frozen.model", "--frozen"),
    "reward": ("reward.model", "--reward"),
    "prompts": ("data.prompts", "--prompts"),
}
"""The setting that names a piece, and its command-line option."""


def check(settings: Settings, needs: Collection[PieceName], for_run: bool) -> None:
    """Everything that can be told from the settings alone of the pieces that are needed. `for_run` is as in `load`.

    Raises SettingsError, ModelNotUsable.
    """
    named = [OPTIONS[piece] for piece in OPTIONS if piece in needs]
    if missing := [(name, option) for name, option in named if name in settings.missing()]:
        raise SettingsError(
            f"{', '.join(name for name, _ in missing)} not set; give {' '.join(option for _, option in missing)}, or"
            " use the recipe lab, which has everything"
        )
    if "prompter" in needs:
        _check_prompters_are_here(settings)
    if "frozen" in needs and not is_elsewhere(str(settings.frozen.model)):
        check_held(str(settings.frozen.model), "frozen")
    if "reward" in needs and not (for_run and "prompter" in needs):
        check_scales(settings.reward)
    if for_run:
        arms.check(settings)
        check_trackers(settings.track)
        if "prompter" in needs:
            _check_noise(settings)
        if "frozen" in needs and settings.rlhf.enabled:
            _check_oracle(settings)
        if "frozen" in needs and settings.evaluate.sampling and is_elsewhere(str(settings.frozen.model)):
            raise SettingsError(
                f"evaluate.sampling is for models that are here; set that of {settings.frozen.model} in frozen.sampling"
            )


def check_named(settings: Settings, options: Mapping[str, str], command: str, reopened: Path | None) -> None:
    """Raise SettingsError where one of the settings without which `command` cannot run is not set, naming its option;
    UsageError where the folder that is reopened is another command's."""
    missing = [name for name in options if not _is_set(settings, name)]
    if missing and reopened:
        raise UsageError(
            f"--out {reopened}: the folder is not one of `alignpro {command}`: {', '.join(missing)} not set in it"
        )
    if missing:
        raise SettingsError(f"{', '.join(missing)} not set; give {' '.join(options[name] for name in missing)}")


def check_trainable_pieces(pieces: Pieces) -> None:
    """Raise SettingsError for pieces that a run is to train and cannot."""
    settings = pieces.settings
    watched = settings.train.watched or (settings.rlhf.enabled and settings.rlhf.watched)
    if watched and "prompts" in pieces and not pieces.prompts.validation:
        raise SettingsError(
            f"data.validation {settings.data.validation}: none of {len(pieces.prompts.train)} training prompts is left"
            " for validation, by which take=best and patience go; give more prompts"
        )
    if "prompter" in pieces and settings.train.steps:
        check_trainable(pieces.prompter.lm.model, settings.prompter.lora, "prompter.lora")
    oracle = settings.rlhf.enabled and settings.rlhf.steps and "frozen" in pieces
    if oracle and isinstance(pieces.frozen, LocalFrozenModel):
        check_trainable(pieces.frozen.lm.model, settings.rlhf.lora, "rlhf.lora")


def tell(pieces: Pieces, say: Callable[[str], None]) -> None:
    """Say what the user should know of the pieces. Raises PromptTooLong where a prompt fits no context."""
    if "prompts" in pieces:
        everyone = pieces.prompts.everyone
        if "prompter" in pieces:
            check_lengths(pieces.prompters[0].lm, everyone, "prompter", say)
        if "frozen" in pieces and isinstance(pieces.frozen, LocalFrozenModel):
            check_lengths(pieces.frozen.lm, everyone, "frozen", say)  # what does not fit an endpoint is a failed sample
            _check_templates(pieces.settings, pieces.frozen.lm)
            if own_sampling := pieces.settings.evaluate.sampling:
                answering = replace(pieces.frozen.lm, sampling=own_sampling)
                check_room(answering, "evaluate")
                check_lengths(answering, pieces.prompts.test, "frozen", say)
        own = sum(prompt.system is not None for prompt in everyone)
        if own and pieces.settings.frozen.system is not None:
            say(f"{own} of {len(everyone)} prompts have a system message of their own, which stands for frozen.system")
    tell_plain_turns(
        {name: piece for name, piece in pieces.loaded.items() if name in ("prompter", "frozen", "reward")}, say
    )
    judge = pieces.loaded.get("judge")
    parts = {"prompter": pieces.loaded.get("prompter"), "frozen": pieces.loaded.get("frozen")}
    tell_models(parts | {"judge": judge.model if isinstance(judge, LlmJudge) else None}, say)
    if "prompts" in pieces:
        check_column(pieces.settings.evaluate.by, pieces.prompts.test)
        for reason, count in pieces.prompts.dropped.items():
            say(f"{count} prompts left out: {reason}")
        for note in pieces.prompts.notes:
            say(note)


def check_column(by: str | None, prompts: Sequence[Prompt]) -> None:
    """Raise SettingsError for an evaluate.by that puts test prompts into no groups, or into too many."""
    values = {str(prompt.row[by]) for prompt in prompts if by in prompt.row} if by is not None else {""}
    if not values:
        there = ", ".join(columns_of(prompts)) or "none"
        raise SettingsError(f"evaluate.by {by}: no test prompt has that column; there are: {there}")
    if len(values) > MOST_VALUES:
        raise SettingsError(
            f"evaluate.by {by}: the column has {len(values)} different values in the test prompts, and {MOST_VALUES} at"
            " most are told apart; name one that puts prompts into groups"
        )


def tell_rows(pieces: Iterable[object], prompts: Sequence[Prompt], say: Callable[[str], None]) -> None:
    """Say what rewards, terms and judges lack in the rows. Raises SettingsError, DataError where it is too much."""
    readers = [piece for piece in pieces if isinstance(piece, ReadsRows)]
    for line in dict.fromkeys(line for reader in readers for line in reader.check(prompts)):
        say(line)


def tell_changed_source(pieces: Pieces, kept: Path, say: Callable[[str], None]) -> None:
    """Say where the run in `kept` goes on with a function whose source is not what it began with."""
    if "frozen" in pieces and isinstance(pieces.frozen, FunctionModel):
        began = (files.read_json(kept / "environment.json") or {}).get("frozen_weights")
        if began not in (None, pieces.frozen_weights):
            say(
                f"frozen: the source of {pieces.frozen.name}, or its arguments, changed since this run began; it is"
                " asked anew, and what was trained so far was trained on the former answers"
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


def tell_models(parts: Mapping[str, object], say: Callable[[str], None]) -> None:
    """Say what is not done that the local models among the parts ask for, and how long their rows may be."""
    for section, part in parts.items():
        if not isinstance(part, LocalPrompter | LocalFrozenModel):
            continue
        if asked := part.lm.not_applied:
            own = part.lm.sampling.model_dump()
            wanted = ", ".join(f"{name} {value} (used: {own.get(name, 'none')})" for name, value in asked.items())
            say(
                f"{section}: generation_config of {part.name} asks for {wanted}: texts are drawn as {section}.sampling"
                " says, and a server that applies it draws others"
            )
        written = getattr(part.lm.model.config.get_text_config(), "max_position_embeddings", None) or 0
        if part.lm.context < written:
            say(
                f"{section}: the context of {part.name} is {part.lm.context} tokens of {written}: LongRoPE reads longer"
                " rows otherwise, and the rows beside them with them"
            )


def check_lengths(lm: LanguageModel, prompts: tuple[Prompt, ...], section: str, say: Callable[[str], None]) -> None:
    """Say how many prompts are cut. Raises PromptTooLong where `section`.overflow does not let them be."""
    long = lm.too_long(prompts)
    if not long:
        return
    if lm.cut_long_prompts:
        say(
            f"{len(long)} of {len(prompts)} prompts exceed the context of {lm.name}; their oldest turns, then their"
            f" ends, are cut, as {section}.overflow says"
        )
        return
    try:
        lm.queries([prompts[long[0]]])
    except PromptTooLong as error:
        more = f" ({len(long)} of {len(prompts)} prompts are too long)" if len(long) > 1 else ""
        raise PromptTooLong(f"{error}{more}. The setting is {section}.overflow") from None


def _check_templates(settings: Settings, lm: LanguageModel) -> None:
    """Raise PromptTooLong for a template in which no prompt could be answered."""
    for template in arms.templates(settings):
        if lm.too_long([template.frame(Prompt(""))]) and not lm.cut_long_prompts:
            raise PromptTooLong(
                f"evaluate.templates {settings.evaluate.templates_file}, line {template.line}: this template alone"
                f" leaves no room for a prompt and an answer in the context of {lm.name}, {lm.context} tokens; shorten"
                " it"
            )


def _check_prompters_are_here(settings: Settings) -> None:
    names = [("prompter.model", settings.prompter.model), *(("prompter.before", b) for b in settings.prompter.before)]
    for setting, name in names:
        if is_elsewhere(str(name)):
            raise SettingsError(
                f"{setting} {name}: a prompter's weights must be here, not behind a URL or in a function; give a folder"
                " or a hub id"
            )
        check_held(str(name), "prompter")


def _check_noise(settings: Settings) -> None:
    for spec in settings.headroom.noise:
        check_noise(spec)
        kind, _ = parse_noise(spec)
        if kind in ("weights", "temperature") and is_elsewhere(str(settings.frozen.model)):
            raise SettingsError(
                f"headroom.noise {spec}: the frozen model is behind {settings.frozen.model}, so its {kind} cannot be"
                " changed; use drop=SHARE, swap=SHARE or model=PATH"
            )


def _check_oracle(settings: Settings) -> None:
    if is_elsewhere(str(settings.frozen.model)):
        raise SettingsError(
            f"rlhf.enabled: the oracle fine-tunes the frozen model, whose weights are behind {settings.frozen.model};"
            " set --rlhf.enabled=false and leave rlhf out of evaluate.arms"
        )


def _is_set(settings: Settings, name: str) -> bool:
    """Whether a setting has a value; a reward is given by its model or by its terms."""
    section, key = name.split(".")
    return bool(getattr(getattr(settings, section), key) or (name == "reward.model" and settings.reward.terms))
