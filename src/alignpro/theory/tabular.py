"""Finite worlds in which every quantity of Align-Pro is exact: (3) to (10) and (B4), by enumeration.

X prompts, R rewrites (one set shared by all prompts), Y responses. Everything is a log-probability in float64, so
that point masses (-inf) and tiny lam are right. Prompters are arrays log_rho [X, R], policies log_pi [X, Y].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alignpro.errors import UsageError
from alignpro.maths import discrete, gibbs
from alignpro.types import FloatArray

_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class World:
    """One finite instance of the problem, from log-probabilities; `World.of` takes plain probabilities.

    log_prompts [X] is P; log_reference [X, R] rho_sft(x'|x); log_frozen [R, Y] pi_F(y|x') and log_frozen_raw [X, Y]
    pi_F(y|x); reward [X, Y] is r(x, y) of the original prompt; `beta` and `lam` are the KL coefficients of (2) and (9).
    Distributions are copied and normalised exactly.

    Raises UsageError where shapes disagree, a row does not sum to 1 within 1e-9, a reward is not finite, or a
    coefficient is not positive.
    """

    log_prompts: FloatArray
    log_reference: FloatArray
    log_frozen: FloatArray
    log_frozen_raw: FloatArray
    reward: FloatArray
    beta: float
    lam: float

    def __post_init__(self) -> None:
        reward = np.array(self.reward, dtype=np.float64)
        if reward.ndim != 2 or 0 in reward.shape:
            raise UsageError(f"reward has shape {reward.shape}; it must be [prompts, responses], neither of them 0")
        if not np.isfinite(reward).all():
            raise UsageError(f"reward holds {(~np.isfinite(reward)).sum()} entries that are not finite; give numbers")
        for name in ("beta", "lam"):
            value = getattr(self, name)
            if not (value > 0 and np.isfinite(value)):
                raise UsageError(f"{name} is {value}; the closed forms (4) and (10) need a finite number above 0")
        prompts, responses = reward.shape
        rewrites = np.shape(self.log_frozen)[0] if np.ndim(self.log_frozen) else 0
        shapes = {
            "log_prompts": (prompts,),
            "log_reference": (prompts, rewrites),
            "log_frozen": (rewrites, responses),
            "log_frozen_raw": (prompts, responses),
        }
        for name, shape in shapes.items():
            object.__setattr__(self, name, _distribution(name, getattr(self, name), shape))
        reward.flags.writeable = False
        object.__setattr__(self, "reward", reward)

    @classmethod
    def of(
        cls,
        *,
        prompts: npt.ArrayLike,
        reference: npt.ArrayLike,
        frozen: npt.ArrayLike,
        frozen_raw: npt.ArrayLike,
        reward: npt.ArrayLike,
        beta: float,
        lam: float,
    ) -> World:
        """A world from plain probabilities: P [X], rho_sft [X, R], pi_F of rewrites [R, Y] and of prompts [X, Y].

        Raises UsageError as the class does, and where a probability is negative or not a number.
        """
        return cls(
            log_prompts=log_probabilities(prompts, "prompts"),
            log_reference=log_probabilities(reference, "reference"),
            log_frozen=log_probabilities(frozen, "frozen"),
            log_frozen_raw=log_probabilities(frozen_raw, "frozen_raw"),
            reward=np.asarray(reward, dtype=np.float64),
            beta=beta,
            lam=lam,
        )

    @property
    def span(self) -> float:
        """max r - min r, which stands for r_max in (11) when rewards may have any sign."""
        return float(self.reward.max() - self.reward.min())

    @cached_property
    def rewards_of_rewrites(self) -> FloatArray:
        """R(x, x') = E_{y ~ pi_F(.|x')}[r(x, y)], (8). [X, R]"""
        return np.asarray(self.reward @ np.exp(self.log_frozen).T)

    @cached_property
    def rewards_of_prompts(self) -> FloatArray:
        """R(x, x) = E_{y ~ pi_F(.|x)}[r(x, y)], the frozen model on the prompt as it came. [X]"""
        return np.asarray((self.reward * np.exp(self.log_frozen_raw)).sum(1))

    @cached_property
    def log_rlhf(self) -> FloatArray:
        """log pi*(y|x), the optimum of RLHF (4). [X, Y]"""
        return _tilted(self.reward, self.beta, self.log_frozen_raw)

    @cached_property
    def log_z_rlhf(self) -> FloatArray:
        """log Z(x) of (4) [X]; beta times its mean is the optimum of (2)."""
        return _log_z(self.reward, self.beta, self.log_frozen_raw)

    @cached_property
    def log_optimum(self) -> FloatArray:
        """log rho*(x'|x), the optimal prompter (10). [X, R]"""
        return self.log_optimum_at(self.lam)

    def log_optimum_at(self, lam: float) -> FloatArray:
        """log rho* of (10) for another lam than the world's. [X, R]"""
        return _tilted(self.rewards_of_rewrites, lam, self.log_reference)

    @cached_property
    def log_z(self) -> FloatArray:
        """log Z(x) of (10) [X]; lam times its mean is the optimum of (9), by (B4)."""
        return _log_z(self.rewards_of_rewrites, self.lam, self.log_reference)

    @cached_property
    def distances_under_reference(self) -> FloatArray:
        """E_{x' ~ rho_sft(.|x)} TV(pi_F(.|x), pi_F(.|x')), how far a paraphrase moves the answer, in (11). [X]"""
        return discrete.mean_total_variation(self.log_frozen_raw, self.log_frozen, np.exp(self.log_reference))

    def over_prompts(self, values: FloatArray) -> float:
        """E_{x ~ P} of one value a prompt [X]; prompts of probability 0 count for nothing, even if infinite."""
        possible = self.log_prompts > -np.inf
        return float(np.exp(self.log_prompts[possible]) @ values[possible])

    def policy(self, log_rho: FloatArray) -> FloatArray:
        """log pi_rho(y|x) of the pipeline with this prompter, (3). [X, Y]"""
        return discrete.log_matmul(self._prompter(log_rho), self.log_frozen)

    def policy_reward(self, log_pi: FloatArray) -> float:
        """J(pi) of (5): mean reward of a policy [X, Y]."""
        pi = np.exp(_distribution("log_pi", log_pi, self.reward.shape))
        return self.over_prompts((pi * self.reward).sum(1))

    def prompter_reward(self, log_rho: FloatArray) -> float:
        """J(pi_rho), the mean of R(x, x') under a prompter, (8)."""
        return self.over_prompts((np.exp(self._prompter(log_rho)) * self.rewards_of_rewrites).sum(1))

    def kl_to_reference(self, log_rho: FloatArray) -> float:
        """E_x KL(rho || rho_sft) in nats; inf where the prompter does what its reference cannot."""
        return self.over_prompts(discrete.kl(self._prompter(log_rho), self.log_reference))

    def objective(self, log_rho: FloatArray) -> float:
        """What (9) maximises: mean reward less lam times the KL to the reference."""
        return self.prompter_reward(log_rho) - self.lam * self.kl_to_reference(log_rho)

    def distance(self, log_rho: FloatArray) -> float:
        """E_x KL(rho || rho*) in nats: times lam, what the prompter's objective falls short of the best, (B4)."""
        return self.over_prompts(discrete.kl(self._prompter(log_rho), self.log_optimum))

    def gap(self, log_rho: FloatArray) -> float:
        """J(pi*) - J(pi_rho): what RLHF has over this prompter, (5) and (6)."""
        return self.policy_reward(self.log_rlhf) - self.prompter_reward(log_rho)

    @cached_property
    def d1(self) -> float:
        """First part of the gap, (7): what fine-tuning gains over the frozen model. No prompter changes it."""
        return self.over_prompts((np.exp(self.log_rlhf) * self.reward).sum(1) - self.rewards_of_prompts)

    def d2(self, log_rho: FloatArray) -> float:
        """Second part of the gap, (7): the frozen model's reward less the prompter's; negative when it helps."""
        return self.over_prompts(self.rewards_of_prompts) - self.prompter_reward(log_rho)

    @cached_property
    def ceiling(self) -> float:
        """E_x max_y r(x, y): what knowing x is worth to one who may answer anything; `after` a pass it never rises."""
        return self.over_prompts(self.reward.max(1))

    def after(self, log_first: FloatArray, log_reference: FloatArray, log_frozen: FloatArray | None = None) -> World:
        """The world that the last prompter lives in when another, log_first [X, R], rewrites before it.

        Its prompts are the x' that arrive, with P'(x') = sum_x P(x) rho_1(x'|x); its reward is what is known of r
        then, r'(x', y) = sum_x P(x|x') r(x, y); its raw frozen rows are pi_F(.|x'). Every equation holds there, and
        a last prompter has there the mean reward that the whole sequence has here. `ceiling` falls by what the pass
        forgets of x; J(pi*) may move either way, since pi* starts from pi_F(.|x') then. x' that never arrive are
        dropped.

        log_reference [R, R'] is the last prompter's reference, log_frozen [R', Y] the frozen model on its rewrites,
        by default on the same set as before.
        """
        joint = self._prompter(log_first) + self.log_prompts[:, None]
        arriving = discrete.logsumexp(joint.T)
        kept = np.flatnonzero(arriving > -np.inf)
        posterior = np.exp(joint[:, kept] - arriving[kept])
        log_frozen = self.log_frozen if log_frozen is None else log_frozen
        shape = (len(self.log_frozen), len(log_frozen))
        return World(
            log_prompts=arriving[kept],
            log_reference=_distribution("log_reference", log_reference, shape)[kept],
            log_frozen=log_frozen,
            log_frozen_raw=self.log_frozen[kept],
            reward=posterior.T @ self.reward,
            beta=self.beta,
            lam=self.lam,
        )

    def _prompter(self, log_rho: FloatArray) -> FloatArray:
        return _distribution("log_rho", log_rho, self.log_reference.shape)


def compose(log_first: FloatArray, *log_others: FloatArray) -> FloatArray:
    """log of sum_{x'} rho_1(x'|x) rho_2(x''|x') ...: prompters in sequence, [X, R], [R, R'], ... to one [X, last]."""
    for log_next in log_others:
        if log_first.shape[-1] != len(log_next):
            raise UsageError(
                f"a prompter of shape {log_first.shape} hands {log_first.shape[-1]} rewrites to one that reads "
                f"{len(log_next)}; the second must have a row for each"
            )
        log_first = discrete.log_matmul(log_first, log_next)
    return log_first


def log_probabilities(values: npt.ArrayLike, name: str = "probabilities") -> FloatArray:
    """Logs of plain probabilities of any shape, -inf for 0; raises UsageError for a negative one or a nan."""
    array = np.asarray(values, dtype=np.float64)
    if not (array >= 0).all():
        raise UsageError(f"{name} has {array[~(array >= 0)].flat[0]} among its probabilities; give numbers from 0 to 1")
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(array))


def _distribution(name: str, log_values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """A checked copy whose rows sum to 1."""
    array = np.asarray(log_values, dtype=np.float64)
    if array.shape != shape:
        raise UsageError(f"{name} has shape {array.shape}; the other arrays ask for {shape}")
    total = discrete.logsumexp(array)
    wrong = ~(np.abs(np.expm1(total)) <= _TOLERANCE)
    if wrong.any():
        raise UsageError(
            f"{name} has {int(wrong.sum())} of {wrong.size} rows whose probabilities do not sum to 1, the first to "
            f"{np.exp(total[wrong].flat[0]):.9g}; give log-probabilities, normalised along the last axis"
        )
    array = array - total[..., None]
    array.flags.writeable = False
    return array


def _tilted(rewards: FloatArray, coefficient: float, log_base: FloatArray) -> FloatArray:
    """log of base * exp(rewards / coefficient), normalised along the last axis: (4) and (10)."""
    return gibbs.log_weights(rewards - _top(rewards, log_base), coefficient, log_base)


def _log_z(rewards: FloatArray, coefficient: float, log_base: FloatArray) -> FloatArray:
    """log E_base exp(rewards / coefficient)."""
    top = _top(rewards, log_base)
    return np.asarray(discrete.logsumexp((rewards - top) / coefficient + log_base) + top[..., 0] / coefficient)


def _top(rewards: FloatArray, log_base: FloatArray) -> FloatArray:
    """The largest reward that is possible; taken off first, it costs no digits once divided by a small number."""
    return np.asarray(np.where(log_base > -np.inf, rewards, -np.inf).max(-1, keepdims=True))
