"""Who measures beside the reward that was trained on: the second reward, and the judge of win rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from alignpro.config import FrozenSettings, RewardSpec, Sampling, Settings, Thoughts
from alignpro.errors import AlignProError, SettingsError
from alignpro.judges.by_language_model import LlmJudge
from alignpro.judges.by_pairwise_model import PairwiseJudge
from alignpro.judges.by_reward import RewardJudge
from alignpro.models.fingerprint import fingerprint
from alignpro.models.framing import Frame
from alignpro.models.local import load_frozen
from alignpro.remote.address import is_endpoint
from alignpro.remote.opened import Endpoints
from alignpro.rewards import load_reward
from alignpro.rewards.functions import FunctionReward
from alignpro.rewards.model import RewardModel
from alignpro.rewards.pairwise import load_pairwise
from alignpro.types import Judge, Reward

LOCAL = "lm:"
"""Before the folder or hub id of a causal LM that judges on this machine."""
PAIRWISE = "pairwise:"
"""Before the folder or hub id of a classifier of (x, y1, y2)."""
T = TypeVar("T")


def load_second_reward(settings: Settings, reward: Reward, device: str, endpoints: Endpoints) -> Reward | None:
    """The second reward, under another name than the reward's; None where the settings name none.

    Raises SettingsError for a second reward that is the reward itself, and whatever loading raises.
    """
    spec = settings.evaluate.second_reward
    if spec == str(settings.reward.model):
        raise SettingsError(
            f"evaluate.second_reward is {spec}, which is reward.model itself and would measure nothing of its own; name"
            " another, or leave it out"
        )
    if not spec:
        return None
    second = _reward(settings, spec, "evaluate.second_reward", device, endpoints)
    return _renamed(second, spec) if second.name == reward.name else second


def load_judge(
    settings: Settings, device: str, endpoints: Endpoints, reward: Reward | None = None, second: Reward | None = None
) -> Judge:
    """The judge that evaluate.judge names, or else the second reward, or else the reward.

    `reward` and `second` are those of the settings where they are here already, and are not loaded twice. Raises
    SettingsError, EndpointUnusable, ModelNotUsable, HubUnreachable, each naming the setting.
    """
    evaluate, first = settings.evaluate, str(settings.reward.model)
    named = ((first, reward), (str(evaluate.second_reward), second))
    loaded = {name: here for name, here in named if here is not None}
    spec = evaluate.judge or evaluate.second_reward or first
    if spec in loaded:
        return RewardJudge(loaded[spec], evaluate.tie_margin)
    if not evaluate.judge:
        fallback = (
            _reward(settings, spec, "evaluate.second_reward", device, endpoints)
            if evaluate.second_reward
            else load_reward(settings.reward, device, settings.dtype, endpoints=endpoints)
        )
        return RewardJudge(fallback, evaluate.tie_margin)
    if is_endpoint(spec):
        return _behind_url(settings, spec, endpoints)
    if spec.startswith(PAIRWISE):
        return _pairwise(settings, spec, device)
    if spec.startswith(LOCAL):
        return _local(settings, spec, device)
    reward = _reward(settings, spec, "evaluate.judge", device, endpoints)
    taken = {known.name for known in loaded.values()}
    return RewardJudge(_renamed(reward, spec) if reward.name in taken else reward, evaluate.tie_margin)


def _behind_url(settings: Settings, spec: str, endpoints: Endpoints) -> LlmJudge:
    judge = settings.judge
    greedy = Sampling(max_new_tokens=judge.max_new_tokens).model_copy(update={"temperature": 0.0})
    frame = Frame(thoughts=judge.thoughts)
    model = _told({}, lambda: endpoints.load(spec, greedy, judge.endpoint, frame))
    return LlmJudge(model.name, model, judge.criteria, settings.evaluate.tie_margin)


def _pairwise(settings: Settings, spec: str, device: str) -> PairwiseJudge:
    judge = settings.judge
    try:
        named = RewardSpec(
            model=spec.removeprefix(PAIRWISE),
            kind="pairwise",
            template=judge.template,
            head=judge.head,
            trust_remote_code=judge.trust_remote_code,
        )
    except ValueError:
        raise SettingsError(
            f"evaluate.judge {spec}: judge.template is {judge.template!r}; give the text that the model was trained on,"
            " with {prompt}, {first} and {second}"
        ) from None
    names = {"judge.model": "evaluate.judge", "reward.model": "evaluate.judge"}
    names |= {"reward.trust_remote_code": "judge.trust_remote_code"}
    model = _told(names, lambda: load_pairwise(named, device, settings.dtype, "judge"))
    return PairwiseJudge(model, settings.evaluate.tie_margin)


def _local(settings: Settings, spec: str, device: str) -> LlmJudge:
    judge, name = settings.judge, spec.removeprefix(LOCAL)
    if not name:
        raise SettingsError(f"evaluate.judge {spec!r} names no model; write lm:FOLDER_OR_HUB_ID")
    frozen = FrozenSettings(
        model=name,
        sampling=Sampling(max_new_tokens=judge.max_new_tokens, top_k=1),
        batch_size=judge.batch_size,
        trust_remote_code=judge.trust_remote_code,
    )
    names = {"frozen.model": "evaluate.judge", "frozen.sampling.max_new_tokens": "judge.max_new_tokens"}
    names |= {"frozen.trust_remote_code": "judge.trust_remote_code"}
    model = _told(names, lambda: load_frozen(frozen, device, settings.dtype))
    frame = Frame.of("{prompt}", None, "judge", thoughts=judge.thoughts).read_by(model.lm.tokenizer, "judge")
    model = replace(model, lm=replace(model.lm, frame=frame, section="judge"))
    thinking = "" if judge.thoughts == Thoughts() else f" {judge.thoughts.model_dump_json()}"
    return LlmJudge(
        name="lab frozen model" if name == "lab" else model.name,
        model=model,
        criteria=judge.criteria,
        tie_margin=settings.evaluate.tie_margin,
        batch_size=judge.batch_size,
        special=model.lm.frame.special_tokens,
        identity=f"{fingerprint(model.lm.model)} {judge.max_new_tokens}{thinking}",
    )


def _reward(settings: Settings, spec: str, setting: str, device: str, endpoints: Endpoints) -> Reward:
    code = not spec.startswith(("python:", "verify:", "measure:")) and setting == "evaluate.judge"
    named = RewardSpec(
        model=spec,
        batch_size=settings.reward.batch_size,
        endpoint=settings.evaluate.second_reward_endpoint,
        trust_remote_code=code and settings.judge.trust_remote_code,
    )
    names = {"reward.model": setting}
    if setting == "evaluate.judge":
        names["reward.trust_remote_code"] = "judge.trust_remote_code"
    else:
        names["set reward.trust_remote_code=true if you trust it"] = (
            "name it in evaluate.judge, beside judge.trust_remote_code=true, if you trust it: no setting lets that of a"
            " second reward run"
        )
    return _told(names, lambda: load_reward(named, device, settings.dtype, endpoints=endpoints))


def _told(names: Mapping[str, str], load: Callable[[], T]) -> T:
    """What `load` gives; its faults name the settings that the user wrote."""
    try:
        return load()
    except AlignProError as error:
        text = str(error)
        for name, instead in names.items():
            text = text.replace(name, instead)
        raise type(error)(text if names else f"evaluate.judge: {text}") from error


def _renamed(reward: Reward, name: str) -> Reward:
    """Two folders may end in one name; tables tell rewards apart by theirs."""
    return replace(reward, name=name) if isinstance(reward, FunctionReward | RewardModel) else reward
