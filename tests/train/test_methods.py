"""Every method against exact truth: on an enumerable world of real language models each must reach rho* of (10)."""

import numpy as np
import pytest

from alignpro.config import OFFLINE, KlSettings, TrainSettings
from alignpro.lab.few_words import few_words
from alignpro.models.local import LocalPrompter
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.theory.enumerate import enumerate_world, log_probabilities, sequences
from alignpro.train import offline
from alignpro.train.collectors import prompter_collector
from alignpro.train.loop import Job, train
from alignpro.train.methods import learner
from alignpro.train.policy import copy_of
from alignpro.types import Generation, as_prompts

LAM = 0.3
ONLINE = {"epochs": 2, "minibatch_size": 288}
UPDATES = {
    "ppo": {"ppo": ONLINE | {"gae_lambda": 1.0, "whiten_advantages": False}},
    "rloo": {"group": ONLINE},
    "grpo": {"group": ONLINE},
    "weighted_likelihood": {"offline": {}},
    "dpo": {"offline": {}},
    "exo": {"offline": {}},
}


class Drawn:
    """The frozen model of an exact world, its answers drawn from what it gives to each rewrite without a model's pass:
    that a model samples from what it gives is tested in tests/models."""

    name = "drawn"

    def __init__(self, exact):
        shares = np.exp(exact.world.log_frozen)
        self.shares = dict(zip(exact.rewrites, shares / shares.sum(1, keepdims=True), strict=True))
        self.answers = [Generation(text) for text in exact.responses]

    def respond(self, prompts, counts, seed):
        rng = np.random.default_rng(seed)
        drawn = [rng.choice(len(self.answers), n, p=self.shares[x.text]) for x, n in zip(prompts, counts, strict=True)]
        return [[self.answers[i] for i in row] for row in drawn]


def settings_of(method, lam, steps=None, **update):
    rate = {"learning_rate": 1e-3, "anneal": True, "max_grad_norm": None}
    sections = {name: rate | own | update for name, own in UPDATES[method].items()}
    sampling = {"rewrites": 1000, "responses": 1000} if method in OFFLINE else {"rewrites": 64, "responses": 4}
    return TrainSettings(
        method=method,
        steps=steps or (150 if method in OFFLINE else 80),
        prompts_per_step=9,
        kl=KlSettings(coef=lam),
        average=0.9,
        save_every=1000,
        **sampling,
        **sections,
    )


def trained(method, seed, folder, lam=LAM, **update):
    """The exact world, log rho of what the method trained in it, and the units of rewards in which it did."""
    words, settings = few_words(seed), settings_of(method, lam, **update)
    policy = LocalPrompter(copy_of(words.prompter.lm))
    exact = enumerate_world(words.prompter, words.frozen, words.reward, words.prompts, lam=lam, beta=lam)
    frozen = Drawn(exact)
    stop, units = StopRequest(""), None
    if method in OFFLINE:
        gathered = offline.gather(
            as_prompts(words.prompts),
            words.prompter,
            frozen,
            words.reward,
            settings,
            path=folder / "rollouts.jsonl",
            seed=seed,
            max_failed=0.0,
            stop=stop,
            advance=lambda *told: None,
        )
        collect, units = offline.replay(gathered), offline.units_of(gathered)
    else:
        collect = prompter_collector(policy, frozen, words.reward, settings)
    done = train(
        policy.lm,
        words.prompter.lm,
        learner(policy.lm.model, settings),
        collect,
        as_prompts(words.prompts),
        settings,
        Job(folder, "training", seed, stop, Progress()),
        max_failed=0.0,
        units=units,
    )
    return exact.world, log_probabilities(policy.lm, words.prompts, sequences(policy.lm)), done.units


@pytest.mark.parametrize("method", UPDATES)
def test_every_method_reaches_the_closed_form_optimum(method, tmp_path):
    distances = []
    for seed in (0, 1) if method in OFFLINE else (0,):  # those that sample at every step take long
        (tmp_path / str(seed)).mkdir()
        world, log_rho, _ = trained(method, seed, tmp_path / str(seed))
        distances.append(world.distance(log_rho))
        shortfall = world.objective(world.log_optimum) - world.objective(log_rho)
        assert shortfall == pytest.approx(LAM * distances[-1], abs=1e-9)  # (B4)
        assert world.distance(world.log_reference) > 0.5  # where it began
    assert np.mean(distances) < 0.05


def test_dividing_by_the_groups_deviation_moves_the_fixed_point_to_where_the_docs_say(tmp_path):
    finely = {"steps": 100, "learning_rate": 5e-4}
    world, log_rho, units = trained("grpo", 0, tmp_path, lam=0.6, divide_by_deviation=True, **finely)
    frozen = np.exp(world.log_frozen)
    noise = (world.reward**2 @ frozen.T - world.rewards_of_rewrites**2) / 4  # of a mean over four responses
    log_fixed = world.log_reference
    lam = world.lam / units.deviation
    for _ in range(200):  # rho ~ rho_sft exp(R / (lam s)), s the deviation of measured rewards under rho itself
        rho = np.exp(log_fixed)
        mean = (rho * world.rewards_of_rewrites).sum(1, keepdims=True)
        deviation = np.sqrt((rho * ((world.rewards_of_rewrites - mean) ** 2 + noise)).sum(1, keepdims=True))
        scores = world.log_reference + world.rewards_of_rewrites / (lam * deviation)
        log_fixed = scores - np.log(np.exp(scores).sum(1, keepdims=True))

    def away(log):
        return float((np.exp(log) * (log - log_fixed)).sum(1).mean())

    assert away(log_rho) < away(world.log_optimum) / 3  # 0.07: the two points are near one another
    assert world.distance(log_rho) > 2 * away(log_rho)
