"""From settings to the pieces of the flow, checked before any long work starts."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from alignpro.config import DataSettings, Settings
from alignpro.data.prompts import Prompts
from alignpro.data.sources import load_prompts
from alignpro.errors import PromptTooLong, SettingsError, UsageError
from alignpro.evaluate.arms import Models
from alignpro.folder import RunFolder
from alignpro.models.local import (
    LanguageModel,
    LocalFrozenModel,
    LocalPrompter,
    device_of,
    load_frozen,
    load_prompter,
)
from alignpro.models.perturb import check as check_noise
from alignpro.prompters import Chain
from alignpro.rewards import load_reward
from alignpro.rewards.functions import load_function
from alignpro.rewards.judge import RewardJudge
from alignpro.rng import derive
from alignpro.types import Judge, Prompter, Reward

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
    frozen: LocalFrozenModel
    reward: Reward
    second_reward: Reward | None

    @property
    def judge(self) -> Judge:
        """Whose verdicts make the win rates: the second reward, or the training reward where there is none."""
        return RewardJudge(self.second_reward or self.reward, self.settings.evaluate.tie_margin)

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
        )


def assemble(settings: Settings, say: Callable[[str], None]) -> Pieces:
    """Load data, rewards and models, the cheapest and likeliest to be wrong first.

    Raises SettingsError, DataError, ModelNotUsable, HubUnreachable, PromptTooLong.
    """
    if missing := settings.missing():
        raise SettingsError(
            f"{', '.join(missing)} not set; give {' '.join(SHORT[name] for name in missing)}, or use the"
            " recipe lab, which has everything"
        )
    for spec in settings.headroom.noise:
        check_noise(spec)
    prompts = prompts_of(settings.data, settings.seed)
    judge = settings.evaluate.judge
    second = load_function(judge, "evaluate.judge") if judge else None
    device = device_of(settings.device)
    reward = load_reward(settings.reward, device, settings.dtype)
    frozen = load_frozen(settings.frozen, device, settings.dtype)
    before = load_before(settings)
    reference = load_prompter(settings.prompter, device, settings.dtype)
    everyone = (*prompts.train, *prompts.test)
    check_lengths((before[0][0] if before else reference).lm, everyone, "prompter", say)
    check_lengths(frozen.lm, everyone, "frozen", say)
    for reason, count in prompts.dropped.items():
        say(f"{count} prompts left out: {reason}")
    return Pieces(settings, prompts, reference, before, frozen, reward, second)


def prompts_of(settings: DataSettings, seed: int) -> Prompts:
    """The prompts named in the settings, or the lab's own, whose test set is a fifth of its subjects."""
    if settings.prompts != "lab":
        return load_prompts(settings, seed)
    from alignpro.lab.world import user_prompts

    train, test = (
        sorted(
            (p.text for p in user_prompts(which)), key=lambda text: derive(0, "order", text)
        )  # any first n are a fair n
        for which in ("train", "test")
    )
    return Prompts(tuple(train[: settings.limit]), tuple(test), {})


def pipeline(before: tuple[tuple[LocalPrompter, ...], ...], *last: LocalPrompter) -> Prompter:
    """Passes in sequence, or the only one."""
    passes = (*itertools.chain.from_iterable(before), *last)
    return Chain(passes) if len(passes) > 1 else passes[0]


def copy_of(lm: LanguageModel) -> LanguageModel:
    """The same model with weights of its own, free to be trained."""
    model = copy.deepcopy(lm.model)
    model.requires_grad_(True)
    return replace(lm, model=model)


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
        return (load_trained(settings, name),)
    if not folder.trained:
        raise UsageError(f"prompter.before {name}: the run holds no trained prompter yet; finish it first")
    own = folder.settings().model_copy(update={"device": settings.device, "dtype": settings.dtype})
    return (*itertools.chain.from_iterable(load_before(own)), load_trained(own, folder.prompter))


def load_other_frozen(settings: Settings, name: Path | str) -> LocalFrozenModel:
    """A model in the place of the frozen one, framed and sampled alike: the RLHF oracle, or another altogether."""
    other = settings.frozen.model_copy(update={"model": str(name)})
    return load_frozen(other, device_of(settings.device), settings.dtype)


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
