"""Rewards of (x, y), and terms on x' alone."""

from __future__ import annotations

from alignpro.config import GateTerm, RewardSettings, RewardSpec, RewardTerm
from alignpro.errors import SettingsError
from alignpro.remote.address import is_endpoint
from alignpro.remote.opened import Endpoints
from alignpro.rewards import measures
from alignpro.rewards.composite import CompositeReward, Gate, Term, scale_of
from alignpro.rewards.functions import load_function
from alignpro.rewards.scorer import GREEDY, ModelScorer
from alignpro.rewards.verify import PREFIX, load_verifier
from alignpro.types import Reward


def load_reward(
    settings: RewardSpec,
    device: str = "cpu",
    dtype: str = "auto",
    setting: str = "reward",
    endpoints: Endpoints | None = None,
) -> Reward:
    """The reward named in the settings: a verifier, a measure of text, a Python function, a model behind URLs that
    scores, a sequence classifier, or a sum of terms; with a gate, times its factors.

    `setting` is what error messages call it; `endpoints` share one account and budget. Raises SettingsError,
    ModelNotUsable, HubUnreachable, DataError, and as `Endpoints.load`.
    """
    if isinstance(settings, RewardSettings) and (settings.terms or settings.gate):
        return _composite(settings, device, dtype, setting, endpoints)
    name = str(settings.model)
    if is_endpoint(name):
        return ModelScorer((endpoints or Endpoints()).load(name, GREEDY, settings.endpoint))
    if name.startswith(PREFIX):
        return load_verifier(name, f"{setting}.model", settings.arguments)
    if name.startswith(measures.PREFIX):
        return measures.load_measure(name, f"{setting}.model", settings.arguments, device, settings.batch_size)
    if name in measures.MEASURES:
        raise SettingsError(f"{setting}.model {name}: a measure of text is written {measures.PREFIX}{name}")
    if name.startswith("python:"):
        return load_function(name, f"{setting}.model", settings.arguments)
    if settings.kind == "pairwise":
        from alignpro.rewards.pairwise import load_pairwise_reward

        return load_pairwise_reward(settings, device, dtype, setting)
    from alignpro.rewards.model import load_reward_model

    return load_reward_model(settings, device, dtype, setting)


def _composite(
    settings: RewardSettings, device: str, dtype: str, setting: str, endpoints: Endpoints | None
) -> CompositeReward:
    def load(spec: RewardTerm | GateTerm, place: str) -> tuple[str, Reward]:
        batch = spec.model_copy(update={"batch_size": spec.batch_size or settings.batch_size})
        reward = load_reward(batch, device, dtype, place, endpoints)
        return spec.name or reward.name, reward

    terms, gates = [], []
    for number, spec in enumerate(settings.terms):
        terms.append(Term(*load(spec, f"{setting}.terms.{number}"), spec.weight, spec.clip, scale_of(spec)))
    if not terms:
        own = RewardTerm(**{name: getattr(settings, name) for name in RewardSpec.model_fields})
        terms.append(Term(*load(own, setting), 1.0, None, scale_of(own)))
    for number, gate in enumerate(settings.gate):
        place = f"{setting}.gate.{number}"
        gates.append(Gate.of(*load(gate, place), gate.at_least, gate.at_most, place))
    return CompositeReward(tuple(terms), tuple(gates))
