"""A frozen model over real HTTP on loopback, against a server that does everything servers do."""

import contextlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from scripted_server import NEVER, Reply, Request, ScriptedServer, completion, echo, fault

from alignpro.config import BudgetSettings, PriceSettings, Sampling
from alignpro.errors import BudgetSpent, EndpointDown, EndpointUnusable, SettingsError
from alignpro.models.framing import Frame
from alignpro.remote.accounting import Account
from alignpro.remote.address import is_endpoint, parse_endpoint
from alignpro.remote.dialect import NEUTRAL
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.pool import Policy
from alignpro.remote.wire import retry_after
from alignpro.types import FrozenModel

SECRET = "sk-never-to-be-seen-0123456789"
QUICK = Policy(timeout=200, connect=200, first_wait=0.01, longest_wait=0.1, patience=200, most_concurrency=32)
"""Waits of milliseconds where the server asks for none; limits in time that no stall of the machine comes near."""
HASTY = replace(QUICK, patience=0.5)
PROMPTS = [f"prompt {i}" for i in range(1000)]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ALIGNPRO_API_KEY", SECRET)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)


def model_at(*servers, cache=None, policy=QUICK, account=None, top_k=0, tokens=16, **more):
    spec = ",".join(f"{getattr(s, 'url', s)}#tiny" for s in servers)
    return load_endpoint(
        spec,
        Sampling(max_new_tokens=tokens, top_k=top_k),
        cache=cache,
        policy=policy,
        account=account,
        identity="pool",
        **more,
    )


def ask(server, prompts, counts=None, seed=0, **more):
    with model_at(server, **more) as model:
        rows = model.respond(prompts, counts or [1] * len(prompts), seed)
        return rows, model


def trouble(request: Request) -> Reply:
    """Every kind of it; prompts by their number, so that some always fail, and by chance at each arrival."""
    kind = int(request.prompt.split()[-1]) % 100
    if kind == 1:
        return Reply(400, fault("This model's maximum context length is 64 tokens", code="context_length_exceeded"))
    if kind == 2:
        return Reply(body=completion("", usage=(10, 0)))
    if kind == 3:
        return Reply(body=completion("half", finish_reason="content_filter"))
    if kind == 4:
        return Reply(body=completion("", message={"role": "assistant", "content": None, "refusal": "no"}))
    if kind == 5:
        return Reply(500, fault("poisoned"))
    luck = random.Random(request.number).random()
    if luck < 0.04:
        return Reply(429, fault("slow down"), {"retry-after": "0.02"})
    if luck < 0.06:
        return Reply(random.Random(request.number).choice([500, 502, 503, 504]), fault("oops"))
    if luck < 0.08:
        return Reply(cut="before")
    if luck < 0.10:
        return Reply(body=completion("lost"), cut="midway")
    if luck < 0.102:
        return Reply(body=completion("late"), delay=NEVER)
    if luck < 0.12:
        return Reply(body=random.Random(request.number).choice([b'{"choices": [{"mess', b"\xff\xfe", b"{}", b"[]"]))
    if luck < 0.125:
        return Reply(body=b'{"choices": [{"message": null}]}')
    good = echo(request)
    good.delay = 0.002
    return good


EXPECTED = {
    1: "refused (400): This model's maximum context length is 64 tokens",
    2: "empty answer",
    3: "content filter",
    4: "refusal",
    5: "server error 500, 6 times",
}


def test_a_thousand_requests_through_every_trouble_and_none_again(tmp_path):
    with ScriptedServer(trouble) as server:
        # a machine that stalls for longer than this timeout has requests sent again, and nothing else
        first, model = ask(server, PROMPTS, cache=tmp_path / "answers.db", policy=replace(QUICK, timeout=3))
        for i, (got,) in enumerate(first):
            assert got.failure == EXPECTED.get(i % 100), i
            assert got.failure or got.text.startswith(f"{PROMPTS[i]} /")
        books = model.account.report()["tiny"]
        assert books["failed"] == 50 and books["throttled"] > 20 and books["lost"] > 50
        assert books["requests"] == 980  # 20 never get an answer: refused, or poisoned
        assert books["output_tokens"] == 970 * 5  # the 10 empty ones took none

        sent = len(server.requests)
        again, model = ask(server, PROMPTS, cache=tmp_path / "answers.db")
        assert again == first
        assert {int(r.prompt.split()[-1]) % 100 for r in server.requests[sent:]} == {1, 5}
        assert model.account.report()["tiny"]["from_cache"] == 980


def test_it_is_a_frozen_model_and_says_how_each_text_ended():
    def script(request):
        return Reply(body=completion("cut", finish_reason="length"))

    with ScriptedServer(script) as server:
        rows, model = ask(server, ["a"])
        assert isinstance(model, FrozenModel) and model.name == "tiny"
        assert rows[0][0].finish == "length" and rows[0][0].failure is None
        sent = server.requests[0].body
        assert sent["model"] == "tiny" and sent["max_tokens"] == 16 and sent["temperature"] == 1.0
        assert "n" not in sent and {name: sent[name] for name in NEUTRAL} == NEUTRAL


STRICT = [
    (400, fault("Unrecognized request argument supplied: top_k"), NEUTRAL),
    (400, fault("property 'min_p' is unsupported"), ["min_p"]),
    (
        422,
        {"detail": "Unexpected fields in the request: {'repetition_penalty', 'min_p', 'top_k'}"},
        ["repetition_penalty", "min_p", "top_k"],
    ),
    (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]},
        ["top_k"],
    ),
    (400, fault("Argument not supported on this model: presencePenalty"), ["presence_penalty"]),
    (400, fault("top_k must be between 1 and 100"), ["top_k"]),
    (400, fault("Unrecognized request arguments supplied"), NEUTRAL),
]


@pytest.mark.parametrize(("status", "body", "refused"), STRICT)
def test_a_server_that_does_not_know_what_is_named_is_asked_without_it(status, body, refused):
    def strict(request):
        return Reply(status, body) if set(refused) & request.body.keys() else echo(request)

    with ScriptedServer(strict) as server:
        rows, _ = ask(server, PROMPTS[:20])
        assert all(row[0].failure is None for row in rows)
        sent = server.requests[-1].body.keys()
        assert {"temperature", "top_p", "max_tokens", "seed"} <= sent
        assert sent & NEUTRAL.keys() == NEUTRAL.keys() - set(refused)
    with ScriptedServer(strict) as server, model_at(server) as model:
        model.check()


def test_a_top_k_of_the_settings_is_sent():
    with ScriptedServer() as server:
        ask(server, PROMPTS[:1], top_k=7)
        assert server.requests[-1].body == {**server.requests[-1].body, **NEUTRAL, "top_k": 7}


def test_openai_is_sent_nothing_that_it_does_not_know(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    known = {"model", "messages", "temperature", "top_p", "max_completion_tokens", "max_tokens", "seed"}
    for spec in ("openai:gpt-4o-mini", "https://api.openai.com/v1#gpt-4o", "https://mine.openai.azure.com/openai/v1#m"):
        with load_endpoint(spec, Sampling()) as model:
            (dialect,) = model._requests.dialects.values()
            assert model._requests._request(dialect, [], 1, 0, 5).keys() <= known and dialect.lacks
    with load_endpoint("https://openai.com.example.org/v1#m", Sampling()) as model:
        assert not any(dialect.lacks for dialect in model._requests.dialects.values())


def test_equal_prompts_are_one_request_with_different_samples(tmp_path):
    with ScriptedServer() as server, model_at(server, cache=tmp_path / "c") as model:
        rows = model.respond(["a", "b", "a"], [2, 1, 3], seed=5)
        assert [len(row) for row in rows] == [2, 1, 3] and len(server.requests) == 2
        assert len({g.text for g in rows[0] + rows[2]}) == 5
        assert model.respond(["a"], [5], seed=5)[0] == rows[0] + rows[2]
        assert len(server.requests) == 2
        model.respond(["a"], [7], seed=5)  # only what is missing
        assert server.requests[2].body["n"] == 2
        model.respond(["a"], [1], seed=6)  # another seed draws anew
        assert len(server.requests) == 4


def test_two_calls_at_once_pay_once_for_what_is_equal(tmp_path):
    def slow(request):
        return Reply(body=echo(request).body, delay=0.1)

    with ScriptedServer(slow) as server, model_at(server, cache=tmp_path / "c") as model:
        rows = []
        calls = [threading.Thread(target=lambda: rows.append(model.respond(["a"], [3], 0))) for _ in range(4)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        assert len(server.requests) == 1 and len(rows) == 4 and all(row == rows[0] for row in rows)


def _one_only(request):
    return Reply(body=completion(f"{request.prompt} {request.body['seed']}"))


def _no_n(request):
    return Reply(400, fault("only one choice is served")) if "n" in request.body else _one_only(request)


def _same_seed_for_all(request):
    return Reply(body=completion(*[f"{request.prompt} {request.body['seed']} " + "x" * 300] * request.body.get("n", 1)))


@pytest.mark.parametrize("script", [_one_only, _no_n, _same_seed_for_all])
def test_samples_are_asked_for_one_by_one_where_n_is_not_served(script, tmp_path):
    with ScriptedServer(script) as server, model_at(server, cache=tmp_path / "c") as model:
        assert len({g.text for g in model.respond(["a"], [4], 0)[0]}) == 4
        before = len(server.requests)
        assert len({g.text for g in model.respond(["b"], [4], 0)[0]}) == 4
        later = server.requests[before:]
        assert len(later) == 4 and not any("n" in r.body for r in later)  # it is remembered
        assert len({r.body["seed"] for r in later}) == 4


def test_options_that_a_server_lacks_are_left_out_and_that_is_remembered():
    def script(request):
        if "seed" in request.body:
            return Reply(400, fault("Unrecognized request argument supplied: seed"))
        if "max_tokens" in request.body:
            return Reply(400, fault("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."))
        return echo(request)

    with ScriptedServer(script) as server:
        rows, _ = ask(server, PROMPTS[:40])
        assert all(row[0].failure is None for row in rows)
        assert len(server.requests) <= 40 + 2 * QUICK.first_concurrency
        assert server.requests[-1].body["max_completion_tokens"] == 16


def test_a_system_message_goes_before_every_prompt_and_has_answers_of_its_own(tmp_path):
    with ScriptedServer() as server:
        for system in (None, "Be brief.", "Be brief."):
            with model_at(server, cache=tmp_path / "answers", frame=Frame(system=system)) as model:
                model.respond(["hello"], [1], 0)
        user = {"role": "user", "content": "hello"}
        sent = [request.body["messages"] for request in server.requests]
        assert sent == [[user], [{"role": "system", "content": "Be brief."}, user]]


def test_a_prompt_that_is_no_text_fails_alone():
    with ScriptedServer() as server:
        rows, _ = ask(server, ["good", "bad \ud800"])
        assert rows[0][0].failure is None and rows[1][0].failure == "the prompt is no valid Unicode text"


def test_a_429_lowers_the_limit_and_loses_nothing():
    crowded = threading.Event()

    def script(request):  # the first four wait for a crowd, of which all others are turned away
        if request.number == 7:
            crowded.set()
        if 4 <= request.number < 8:
            return Reply(429, fault("slow down"), {"retry-after-ms": "10"})
        return Reply(body=echo(request).body, hold=crowded)

    with ScriptedServer(script) as server:
        rows, model = ask(server, PROMPTS[:60])
        assert all(row[0].failure is None for row in rows)
        assert model.account.report()["tiny"]["throttled"] == 4 and len(server.requests) == 64
        host = model.pool.hosts[0]
        assert host.cuts >= 1 and host.peak >= 8


def test_faults_do_not_lower_the_limit():
    def script(request):
        return Reply(500, fault("oops")) if request.number % 5 == 0 else echo(request)

    with ScriptedServer(script) as server:
        _, model = ask(server, PROMPTS[:100])
        assert model.pool.hosts[0].limit >= QUICK.first_concurrency


def test_prompts_that_break_the_server_end_as_failures_though_nothing_else_is_left():
    with ScriptedServer(lambda r: Reply(500, fault("poisoned"))) as server:
        rows, _ = ask(server, PROMPTS[:30])
        assert {row[0].failure for row in rows} == {EXPECTED[5]} and len(server.requests) == 30 * QUICK.attempts


def test_a_url_that_answers_500_to_all_loses_nothing_while_another_works():
    def broken(request):
        return Reply(500, fault("broken"))

    with ScriptedServer(broken) as bad, ScriptedServer() as good, model_at(bad, good) as model:
        rows = model.respond(PROMPTS[:200], [1] * 200, 0)
        assert all(row[0].failure is None for row in rows) and len(good.requests) == 200


def test_a_server_that_swallows_everything_is_down():
    policy = replace(QUICK, timeout=0.2, patience=0.6, attempts=50)
    with ScriptedServer(lambda r: Reply(delay=NEVER)) as server, pytest.raises(EndpointDown, match="no answer within"):
        ask(server, PROMPTS[:100], policy=policy)


def test_retry_after_is_kept_to():
    def script(request):
        return Reply(429, fault("wait"), {"retry-after": "0.5"}) if request.number == 0 else echo(request)

    with ScriptedServer(script) as server:
        began = time.monotonic()
        ask(server, ["a"])
        assert time.monotonic() - began >= 0.5 and len(server.requests) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "1.5", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-4"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date(monkeypatch):
    now = 1_800_000_000
    monkeypatch.setattr(time, "time", lambda: float(now))
    assert retry_after({"retry-after": formatdate(now + 9000, usegmt=True)}) == 9000
    assert retry_after({"retry-after": formatdate(now - 100, usegmt=True)}) == 0


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, as it does unless a test runner's worker ignores it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_sends_nothing_more_and_the_model_goes_on(tmp_path):
    ended = threading.Event()

    def interrupt(request):
        if request.number == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return Reply(body=echo(request).body, hold=ended if request.number >= 40 else None)

    with ScriptedServer(interrupt) as server, model_at(server, cache=tmp_path / "c") as model:
        with pytest.raises(KeyboardInterrupt):
            model.respond(PROMPTS[:500], [1] * 500, 0)
        time.sleep(0.2)  # for what should not be sent
        before = len(server.requests)
        assert before <= 40 + QUICK.most_concurrency
        ended.set()
        rows = model.respond(PROMPTS[:500], [1] * 500, 0)
        assert all(row[0].failure is None for row in rows)
        assert len(server.requests) <= 500 + 2 * QUICK.most_concurrency  # twice what was under way, nothing else
        sent = len(server.requests)
        model.respond(PROMPTS[:500], [1] * 500, 0)
        assert len(server.requests) == sent
    with pytest.raises(RuntimeError, match="closed"):
        model.respond(["a"], [1], 0)


def test_a_dead_url_in_a_pool_loses_nothing():
    with ScriptedServer() as dead:
        gone = dead.url
    with ScriptedServer() as server, model_at(gone, server) as model:
        rows = model.respond(PROMPTS[:200], [1] * 200, 0)
        assert all(row[0].failure is None for row in rows) and len(server.requests) == 200


def test_a_url_that_dies_and_comes_back_is_used_again():
    with ScriptedServer() as other, ScriptedServer() as first, model_at(first, other) as model:
        model.respond(PROMPTS[:50], [1] * 50, 0)
        port = first.port
        first.stop()
        rows = model.respond(PROMPTS[:50], [1] * 50, 1)
        assert all(row[0].failure is None for row in rows)
        with ScriptedServer(port=port) as back:
            for seed in range(2, 100):
                model.respond(PROMPTS[:50], [1] * 50, seed)
                if back.requests:
                    break
            assert back.requests and model.pool.hosts[0].answered > len(first.requests)


def test_the_endpoint_is_down_only_after_the_patience_and_says_how_to_go_on(tmp_path):
    with ScriptedServer() as dead:
        gone = dead.url
    began = time.monotonic()
    with pytest.raises(EndpointDown, match=r"--resume") as caught:
        ask(gone, PROMPTS[:20], policy=HASTY)
    assert gone in str(caught.value) and time.monotonic() - began > HASTY.patience


def test_a_server_that_only_throttles_is_down_too_and_one_asking_for_an_hour_at_once():
    with ScriptedServer(lambda r: Reply(429, fault("no"))) as server, pytest.raises(EndpointDown, match="429"):
        ask(server, PROMPTS[:5], policy=HASTY)
    hour = {"retry-after": "3600"}
    with ScriptedServer(lambda r: Reply(429, fault("no"), hour)) as server, pytest.raises(EndpointDown, match="429"):
        ask(server, PROMPTS[:5])
    assert len(server.requests) <= 5  # nothing was tried again


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(401, fault(f"Incorrect API key provided: {SECRET}")), "ALIGNPRO_API_KEY"),
        (Reply(403, fault("forbidden")), "ALIGNPRO_API_KEY"),
        (Reply(404, fault("The model `tiny` does not exist", code="model_not_found")), "'tiny'"),
        (Reply(400, fault("tiny is not a valid model ID: model not found")), "'tiny'"),
        (Reply(400, fault("temperature must be 0")), "temperature must be 0"),
    ],
)
def test_what_a_setting_can_mend_is_said_at_once(reply, says):
    with ScriptedServer(lambda r: reply) as server:
        with pytest.raises(EndpointUnusable, match=says) as caught:
            ask(server, PROMPTS[:50])
        assert len(server.requests) <= 3 * QUICK.first_concurrency and SECRET not in str(caught.value)


def test_no_credit_stops_at_once_and_is_no_reason_to_wait():
    reply = Reply(429, fault("You exceeded your current quota", code="insufficient_quota"))
    with ScriptedServer(lambda r: reply) as server, pytest.raises(EndpointDown, match="credit"):
        ask(server, PROMPTS[:50])
    assert len(server.requests) <= QUICK.first_concurrency


def test_the_key_is_sent_and_seen_nowhere(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)

    def leaky(request):
        told = request.headers["authorization"]
        if request.prompt == "prompt 1":
            return Reply(400, fault(f"bad request with {told}"))
        return Reply(body=completion(f"you sent {told}"))

    with ScriptedServer(leaky) as server:
        rows, model = ask(server, PROMPTS[:3], cache=tmp_path / "c")
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    with ScriptedServer(lambda r: Reply(401, fault(SECRET))) as server, pytest.raises(EndpointUnusable) as caught:
        ask(server, ["other"], cache=tmp_path / "c")
    seen = [repr(rows), repr(vars(model)), caplog.text, repr(caught.value), repr(model.account.report())]
    seen += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    assert not any(SECRET in text for text in seen) and "[key]" in rows[0][0].text


def test_the_key_of_one_provider_is_not_shown_to_another(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-alone")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-openai-alone")
    monkeypatch.delenv("ALIGNPRO_API_KEY")
    with ScriptedServer() as server:
        ask(server, ["a"])
        assert not any("openai-alone" in v or "org-mine" in v for v in server.requests[0].headers.values())
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with load_endpoint("openai:tiny", Sampling(), policy=QUICK) as model:
            model.respond(["a"], [1], 0)
        assert server.requests[1].headers["authorization"] == "Bearer sk-of-openai-alone"
        assert server.requests[1].headers["openai-organization"] == "org-mine"


def test_the_budget_is_never_passed_and_what_it_paid_for_is_kept(tmp_path):
    prices = {"tiny": PriceSettings(input=1.0, output=10.0)}

    def script(request):  # as dear as a request can be
        return Reply(body=completion("text", usage=(len(request.prompt), 16)), delay=0.01)

    with ScriptedServer(script) as server:
        account = Account(prices, BudgetSettings(money=0.01))
        with pytest.raises(BudgetSpent, match="--resume"):
            ask(server, PROMPTS, cache=tmp_path / "c", account=account)
        books = account.report()["tiny"]
        most_of_one = account.cost("tiny", _most())
        assert 0.01 - most_of_one < books["money"] <= 0.01
        assert books["requests"] == len(server.requests) == sum(server.answered.values())

        account = Account(budget=BudgetSettings(tokens=10_000))
        with pytest.raises(BudgetSpent, match="tokens"):
            ask(server, PROMPTS, cache=tmp_path / "c", account=account)
        rows, _ = ask(server, PROMPTS, cache=tmp_path / "c")
        assert len(server.requests) == len(PROMPTS) and all(row[0].failure is None for row in rows)
        with model_at(server, cache=tmp_path / "c", account=Account(budget=BudgetSettings(tokens=1))) as model:
            model.respond(PROMPTS, [1] * 1000, 0)  # the cache costs nothing


def _most():
    from alignpro.remote.accounting import Usage
    from alignpro.remote.requests import FRAME_TOKENS

    return Usage(len("prompt 999") + FRAME_TOKENS, 16)


def test_without_usage_the_most_is_booked_and_without_a_price_no_budget_in_money():
    with ScriptedServer(lambda r: Reply(body=completion("a", usage=None))) as server:
        _, model = ask(server, ["a"])
        books = model.account.report()["tiny"]
        assert books["unmetered"] == 1 and books["output_tokens"] == 16 and books["money"] is None
        with pytest.raises(SettingsError, match="price"):
            model_at(server, account=Account(budget=BudgetSettings(money=1)))


KILLED = """
import sys
from alignpro.config import Sampling
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.pool import Policy
from pathlib import Path
model = load_endpoint(sys.argv[1] + "#tiny", Sampling(max_new_tokens=16), cache=Path(sys.argv[2]),
                      policy=Policy(first_concurrency=16, most_concurrency=16), identity="pool")
model.respond([f"prompt {i}" for i in range(1000)], [1] * 1000, 0)
"""


def test_a_run_killed_in_the_middle_goes_on_and_repeats_no_answered_call(tmp_path):
    cache, killed = tmp_path / "answers.db", threading.Event()

    def script(request):
        return Reply(body=echo(request).body, hold=killed if request.number >= 300 else None)

    with ScriptedServer(script) as server:
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, server.url, str(cache)], env={**os.environ, "PYTHONPATH": _source()}
        )
        while len(server.requests) < 316:
            time.sleep(0.01)
            assert run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.wait()
        with contextlib.closing(sqlite3.connect(cache)) as file:
            assert file.execute("SELECT count(*) FROM answers").fetchone()[0] == 300
        assert len(server.requests) == 316  # only what was under way is not there
        killed.set()
        rows, _ = ask(server, PROMPTS, cache=cache)
        assert len(server.requests) == 316 + 700
        assert all(row[0].failure is None for row in rows)


def test_addresses(monkeypatch):
    pool = parse_endpoint("http://a:1/v1#org/m, http://b:2/v1/")
    assert (
        pool.model == "org/m" and pool.urls == ("http://a:1/v1", "http://b:2/v1") and pool.identity == "http://a:1/v1"
    )
    assert is_endpoint("openai:x") and is_endpoint("https://a") and not is_endpoint("org/model")
    for bad in (
        "http://a/v1",
        "openai:",
        "http://a#m,http://b#n",
        "http://#m",
        "ftp://a#m,http://b#m",
        "http://a:b/#m",
    ):
        with pytest.raises(EndpointUnusable):
            parse_endpoint(bad)
    for leak in ("http://me:s3cret@a/v1#m", "http://a/v1?key=s3cret#m"):
        with pytest.raises(EndpointUnusable) as caught:
            parse_endpoint(leak)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(EndpointUnusable, match="OPENAI_API_KEY"):
        load_endpoint("openai:m", Sampling())


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(EndpointUnusable, match=r"alignpro\[endpoints\]"):
        model_at("http://127.0.0.1:1/v1")


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, alignpro.remote.frozen; assert not {'openai', 'aiohttp', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": _source()})


def _source():
    import alignpro

    return str(Path(alignpro.__file__).parents[1])
