"""Rollouts with a remote frozen model: asked while rewrites are drawn, scored while answers arrive, the same result."""

import threading
from concurrent.futures import Future
from contextlib import nullcontext

import numpy as np
import pytest
from in_texts import in_texts
from scripted_server import Reply, ScriptedServer, echo
from tiny import save_model

from alignpro.config import BudgetSettings, PrompterSettings, Sampling
from alignpro.errors import BudgetSpent
from alignpro.flow.objective import score_rewrites
from alignpro.flow.prompters import Chain
from alignpro.flow.rollout import answer, rollout
from alignpro.models.local import load_prompter
from alignpro.remote.accounting import Account
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.pool import Policy
from alignpro.types import EagerPrompter, Generation, RemoteModel, RewardResult

PROMPTS = ["owls", "tell me about the rain", "a quiet town", "owls", "old"]
POLICY = Policy(timeout=200, connect=200, first_wait=0.01, longest_wait=0.1, patience=200)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def prompter(tmp_path_factory):
    folder = save_model(tmp_path_factory.mktemp("prompter"))
    sampling = Sampling(max_new_tokens=6, temperature=2.0)
    return load_prompter(PrompterSettings(model=str(folder), template="{prompt}", sampling=sampling, batch_size=7))


def at(server, cache=None, account=None):
    return load_endpoint(
        f"{server.url}#tiny", Sampling(max_new_tokens=8), cache=cache, policy=POLICY, account=account, identity="pool"
    )


class Length:
    """A reward of both texts; 'owls' with 3 in the answer fails. `seen` are its calls."""

    name = "length"

    def __init__(self, threads=1, raises_at=0):
        self.threads, self.raises_at, self.seen = threads, raises_at, []

    @in_texts
    def score(self, prompts, responses):
        self.seen.append(list(zip(prompts, responses, strict=True)))
        if len(self.seen) == self.raises_at:
            raise RuntimeError("the scorer tripped")
        values = [np.nan if x == "owls" and "3" in y else len(y) + len(x) / 7 for x, y in self.seen[-1]]
        return RewardResult(np.array(values), tuple("odd" if v != v else None for v in values))


class InTurn:
    """The same remote model, each question answered before the next thing happens."""

    def __init__(self, model):
        self.model, self.name = model, model.name

    def respond(self, prompts, counts, seed):
        return self.model.respond(prompts, counts, seed)

    def asking(self):
        return nullcontext(self)

    def ask(self, prompts, counts, seed):
        done = Future()
        done.set_result(self.model.respond(prompts, counts, seed))
        return done


class AllAtOnce:
    """The same prompter, telling nothing before everything is drawn."""

    def __init__(self, prompter):
        self.prompter, self.name = prompter, prompter.name

    def rewrite(self, prompts, n, seed):
        return self.prompter.rewrite(prompts, n, seed)


def same(a, b):
    assert (a.prompts, a.rewrites, a.responses, a.failures, a.frozen_calls) == (
        b.prompts,
        b.rewrites,
        b.responses,
        b.failures,
        b.frozen_calls,
    )
    np.testing.assert_array_equal(a.rewards, b.rewards)
    for x, y in zip((g for row in a.rewrites for g in row), (g for row in b.rewrites for g in row), strict=True):
        np.testing.assert_array_equal(x.tokens, y.tokens)
        np.testing.assert_array_equal(x.logprobs, y.logprobs)


@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_same_seed_gives_the_same_rollout_overlapped_and_in_turn(prompter, chain, threads):
    flow = Chain((prompter, prompter)) if chain else prompter
    assert isinstance(flow, EagerPrompter) and not isinstance(AllAtOnce(flow), EagerPrompter)
    made = []
    for frozen_kind, prompter_kind, n in (
        (lambda m: m, lambda p: p, threads),
        (InTurn, lambda p: p, 1),
        (InTurn, AllAtOnce, 1),
    ):
        with ScriptedServer() as server, at(server) as model:
            frozen = frozen_kind(model)
            assert isinstance(frozen, RemoteModel)
            made.append(rollout(PROMPTS * 5, prompter_kind(flow), frozen, Length(n), rewrites=3, responses=2, seed=4))
    same(made[0], made[1])
    same(made[0], made[2])
    assert made[0].failures["odd"] and np.isfinite(made[0].rewards).any()


def test_the_first_answers_come_while_later_rewrites_are_still_drawn():
    first = threading.Event()

    class Slow:
        name = "slow"

        @in_texts
        def rewrite(self, prompts, n, seed):
            return self.rewrite_each(prompts, n, seed, lambda b, g, rewrite: None)

        @in_texts
        def rewrite_each(self, prompts, n, seed, drawn):
            rows = [[Generation(f"{p} {g}") for g in range(n)] for p in prompts]
            for g in range(n):
                drawn(1, g, rows[1][g])
            assert first.wait(200)  # nothing more is drawn before the server has seen these
            return rows

    def script(request):
        first.set()
        return echo(request)

    with ScriptedServer(script) as server, at(server) as model:
        made = rollout(["a", "b"], Slow(), model, Length(), rewrites=2, seed=0)
        assert [r.prompt for r in server.requests][:2] in (["b 0", "b 1"], ["b 1", "b 0"])
        assert made.responses[0][0][0].text.startswith("a 0 /") and made.frozen_calls == 4


def test_rewards_are_computed_while_later_answers_are_under_way():
    scored = threading.Event()

    class Telling(Length):
        @in_texts
        def score(self, prompts, responses):
            scored.set()
            return super().score(prompts, responses)

    def script(request):
        return Reply(body=echo(request).body, hold=scored if request.prompt == "p99" else None)

    prompts = [f"p{i}" for i in range(100)]
    with ScriptedServer(script) as server, at(server) as model:
        made = answer(prompts, [[Generation(p)] for p in prompts], model, Telling(), seed=0)
    assert np.isfinite(made.rewards).all()


def test_an_error_of_the_reward_stops_the_rest_and_loses_nothing_paid(tmp_path):
    prompts = [f"p{i}" for i in range(300)]
    rewrites = [[Generation(p)] for p in prompts]
    with ScriptedServer() as server:
        with at(server, tmp_path / "c") as model:
            with pytest.raises(RuntimeError, match="tripped"):
                answer(prompts, rewrites, model, Length(raises_at=1), seed=0)
            assert server.together == 0 and len(model.cache) == len(server.requests) == sum(server.answered.values())
        with at(server, tmp_path / "c") as model:
            answer(prompts, rewrites, model, Length(), seed=0)
        assert max(server.answered.values()) == 1 and len(server.answered) == 300


def test_a_budget_that_is_spent_stops_the_drawing_and_keeps_what_was_paid(tmp_path):
    drawn_so_far = []

    class Endless:
        name = "endless"

        @in_texts
        def rewrite(self, prompts, n, seed):
            raise AssertionError

        @in_texts
        def rewrite_each(self, prompts, n, seed, drawn):
            for b, p in enumerate(prompts):
                drawn_so_far.append(p)
                drawn(b, 0, Generation(p))
            return [[Generation(p)] for p in prompts]

    prompts = [f"p{i}" for i in range(50)]
    with ScriptedServer() as server:
        with at(server, tmp_path / "c", Account(budget=BudgetSettings(calls=20))) as model:
            with pytest.raises(BudgetSpent, match="20 of 20 calls"):
                rollout(prompts, Endless(), model, Length(), seed=0)
            assert len(model.cache) == len(server.requests) == 20
        with at(server, tmp_path / "c") as model:
            rollout(prompts, Endless(), model, Length(), seed=0)
        assert max(server.answered.values()) == 1 and len(server.requests) == 50


def test_an_error_of_the_prompter_stops_the_rest_too(tmp_path):
    class Broken:
        name = "broken"

        @in_texts
        def rewrite(self, prompts, n, seed):
            raise AssertionError

        @in_texts
        def rewrite_each(self, prompts, n, seed, drawn):
            drawn(0, 0, Generation(prompts[0]))
            raise ValueError("no more")

    with ScriptedServer() as server, at(server, tmp_path / "c") as model:
        with pytest.raises(ValueError, match="no more"):
            rollout(["a", "b"], Broken(), model, Length(), seed=0)
        assert server.together == 0 and len(model.cache) == len(server.requests) <= 1


def test_failed_rewrites_are_not_sent_and_estimates_share_answers(tmp_path):
    broken = Generation("raw", failure="empty rewrite")
    with ScriptedServer() as server, at(server) as model:
        made = answer(["a", "b"], [[broken, Generation("s")], [broken, broken]], model, Length(), responses=2, seed=0)
        assert made.failures == {"empty rewrite": 6} and made.frozen_calls == 2 and len(server.requests) == 1
        assert np.isnan(made.rewards[1]).all() and np.isfinite(made.rewards[0, 1]).all()
        rows = [[Generation("s"), Generation("s"), Generation("t")]]
        scores = score_rewrites(["a"], rows, model, Length(), responses=3, seed=1)
        assert scores.frozen_calls.tolist() == [6]
        np.testing.assert_array_equal(scores.rewards[0, 0], scores.rewards[0, 1])
