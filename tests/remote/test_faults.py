"""Each fault of a server by its meaning, its words shown, every token booked."""

import json
from dataclasses import replace

import pytest
from scripted_server import NEVER, Reply, ScriptedServer, completion, echo, fault

from alignpro.config import Sampling
from alignpro.errors import EndpointDown, EndpointUnusable
from alignpro.remote.accounting import Usage
from alignpro.remote.answers import CUT_OFF, EMPTY, FILTERED, read, usage_of
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.pool import Host, Policy
from alignpro.remote.said import decoded, message_of, status_of

QUICK = Policy(timeout=200, connect=200, first_wait=0.01, longest_wait=0.1, patience=200)
HASTY = replace(QUICK, patience=0.5)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "alignpro_api_key"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(script, prompts=("a", "b", "c"), n=1, policy=QUICK, check=False):
    """Rows, the books, and what was asked of a server that follows a script."""
    with ScriptedServer(script) as server, load_endpoint(f"{server.url}#tiny", Sampling(), policy=policy) as model:
        if check:
            model.check()
        rows = model.respond(list(prompts), [n] * len(prompts), 0)
        return [row[0] for row in rows], model.account.report()["tiny"], server.requests


def first(replies, then=echo):
    """A script that gives these replies and then others."""
    return lambda request: replies[request.number] if request.number < len(replies) else then(request)


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
WAITED_FOR = [
    Reply(529, OVERLOADED),
    Reply(200, OVERLOADED),
    Reply(429, fault("slow down")),
    Reply(200, fault("Rate limit exceeded: free-models-per-min", code=429)),
    Reply(200, fault("too fast", type="rate_limit_exceeded")),
]


@pytest.mark.parametrize("number", range(len(WAITED_FOR)))
def test_a_crowd_is_waited_for_whatever_its_form_and_costs_no_request(number):
    answers, books, requests = ask(first([WAITED_FOR[number]] * 12), policy=replace(QUICK, attempts=2))
    assert not any(answer.failure for answer in answers) and books["throttled"] == 12 and not books["lost"]
    assert len(requests) == 15


TRIED_AGAIN = [
    Reply(200, fault("upstream broke", code=502)),
    Reply(200, fault("who knows")),
    Reply(200, {"object": "error", "message": "the engine died", "code": 500}),
    Reply(200, {"choices": []}),
    Reply(200, {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
    Reply(200, b"\xef\xbb\xbf<html>starting</html>"),
    Reply(200, b'{"choices": [{"message": {"content": "caf\xe9"}}]}'),
    Reply(504, b"<html>gateway</html>"),
]


@pytest.mark.parametrize("number", range(len(TRIED_AGAIN)))
def test_a_servers_own_fault_is_tried_again_by_the_first_probe_too(number):
    answers, books, _ = ask(first([TRIED_AGAIN[number]] * 2), check=True)
    assert not any(answer.failure for answer in answers) and books["requests"] >= 4
    assert books["lost"] == (0 if "usage" in str(TRIED_AGAIN[number].body) else 2)


def test_silence_at_the_first_probe_is_tried_again():
    answers, books, _ = ask(first([Reply(delay=NEVER)]), policy=replace(QUICK, timeout=0.3), check=True)
    assert not any(answer.failure for answer in answers) and books["lost"] == 1


def test_tokens_of_an_answer_that_cannot_be_used_are_booked():
    broken = completion("half", finish_reason="error", usage=(7, 3))
    late = {**fault("upstream broke", code=502), "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    for body in (broken, late, {"choices": "none", "usage": {"prompt_tokens": 7, "completion_tokens": 3}}):
        answers, books, requests = ask(first([Reply(body=body)] * 2), ["a"])
        assert not answers[0].failure and len(requests) == 3
        assert (books["input_tokens"], books["output_tokens"], books["lost"]) == (14 + 10, 6 + 5, 0)


def test_no_choice_that_was_paid_for_is_an_empty_answer_and_is_not_asked_for_again():
    paid = Reply(body={"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}})
    answers, books, requests = ask(lambda r: paid, ["a"], n=3)
    assert answers[0].failure == EMPTY and len(requests) == 1
    assert (books["failed"], books["input_tokens"]) == (3, 10)


@pytest.mark.parametrize(
    ("choice", "failure"),
    [
        ({"finish_reason": "length", "message": {"content": None}}, CUT_OFF),
        ({"finish_reason": "MAX_TOKENS", "message": {"content": " "}}, CUT_OFF),
        ({"finish_reason": "stop", "message": {"content": None}}, EMPTY),
        ({"finish_reason": "SAFETY", "message": {"content": "half"}}, FILTERED),
        ({"finish_reason": "content_filter", "message": {"content": ""}}, FILTERED),
    ],
)
def test_an_answer_without_text_says_why(choice, failure):
    (answer,) = read({"choices": [choice]}, 1)
    assert answer.failure == failure and "max_new_tokens" in CUT_OFF


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}, Usage(7, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 40}, Usage(7, 33)),  # thoughts in the total alone
        ({"prompt_tokens": 7, "completion_tokens": None, "total_tokens": 9}, Usage(7, 2)),
        ({"prompt_tokens": 7.0, "completion_tokens": 5.0}, Usage(7, 5)),
        ({"prompt_tokens": 7}, None),
        ({"prompt_tokens": -1, "completion_tokens": 5}, None),
        ({"prompt_tokens": "7", "completion_tokens": True}, None),
        (None, None),
    ],
)
def test_every_token_that_is_told_is_counted(told, usage):
    assert usage_of({"usage": told}) == usage


def test_a_wait_of_no_seconds_grows_by_itself():
    policy = Policy()
    waits = []
    host = Host("http://a/v1", policy, 8.0)
    now = 0.0
    for _ in range(8):
        host.throttled(now, now, 0.0)
        waits.append(host.rest_until - now)
        now = host.rest_until
    assert now > 30 and waits[-1] > 10  # of 85 requests in 3 seconds none is left
    host = Host("http://a/v1", policy, 8.0)
    now = 0.0
    for _ in range(8):
        host.failed(now, "server error 500", 0.0, rest=True)
        now = host.rest_until
    assert now > 30
    host = Host("http://a/v1", policy, 8.0)
    for now in (0.0, 5.0, 10.0):
        host.throttled(now, now, 2.0)
        assert 2.0 <= host.rest_until - now <= 2.5  # what is asked for in earnest is kept to


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_url_that_has_moved_is_named_and_the_key_does_not_follow(status, monkeypatch):
    monkeypatch.setenv("ALIGNPRO_API_KEY", "key-that-stays-here")
    with ScriptedServer() as other:
        moved = Reply(status, b"", {"location": f"{other.url}/chat/completions"})
        with pytest.raises(EndpointUnusable, match=rf"{status} to {other.url}"):
            ask(lambda r: moved, check=True)
        assert not other.requests


def test_the_servers_words_are_shown():
    html = (
        b"<html><head><style>a {}</style></head><body><h1>Sorry</h1>You have been blocked &ndash; ask us</body></html>"
    )
    with pytest.raises(EndpointUnusable, match="403: Sorry You have been blocked – ask us"):
        ask(lambda r: Reply(403, html), check=True)
    with pytest.raises(EndpointDown, match=r"server error 500 \(the disk of the server is full\)"):
        ask(lambda r: Reply(500, fault("the disk of the server is full")), check=True)
    with pytest.raises(EndpointDown, match="529, overloaded"):
        ask(lambda r: Reply(529, OVERLOADED), policy=HASTY)
    with pytest.raises(EndpointDown, match="no credit"):
        ask(lambda r: Reply(400, fault("Your credit balance is too low to access the API")))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"error": {"message": "in  one\nline"}}, "in one line"),
        ([{"error": {"code": 400, "message": "a list of one", "status": "INVALID_ARGUMENT"}}], "a list of one"),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "not permitted", "input": {"top_p": 1}}]},
            "body.seed: not permitted",
        ),
        ({"message": {"detail": [{"loc": ["body", "n"], "msg": "no"}]}}, "body.n: no"),
        ({"error": "plain", "error_type": "validation"}, "plain"),
        ({"odd": 1}, '{"odd": 1}'),
        ("a < b and c > d", "a < b and c > d"),
        (None, ""),
    ],
)
def test_words_are_found_in_every_form(tree, words):
    assert message_of(tree) == words


@pytest.mark.parametrize(
    ("tree", "status"),
    [
        ({"error": {"message": "x", "code": 429}}, 429),
        ({"error": {"message": "x", "code": "502"}}, 502),
        ({"error": {"message": "x", "type": "invalid_request_error"}}, 400),
        ({"error": {"message": "x", "type": "authentication_error"}}, 401),
        ({"error": {"message": "Rate limit reached", "code": None}}, 429),
        ([{"error": {"code": 503, "message": "x"}}], 503),
        ({"error": "something"}, 500),
        ({"object": "error", "message": "x", "code": 400}, 400),
        ({"error": None, "choices": [1]}, None),
        ({"error": {}, "choices": []}, None),
        ({"choices": [1], "error": {"code": 500}}, None),
        ([], None),
        ("text", None),
    ],
)
def test_an_error_under_status_200_means_what_it_says(tree, status):
    assert status_of(tree) == status


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("é".encode(), None, "é"),
        ("é".encode(), "iso-8859-1", "é"),  # what a web server says that does not know
        ("é".encode("latin-1"), "iso-8859-1", "é"),
        (b"\xef\xbb\xbf" + "é".encode(), "utf-8", "é"),
        ('"é"'.encode("utf-16"), None, '"é"'),
        ("日本".encode("shift_jis"), "Shift_JIS", "日本"),
        ("日本".encode("iso2022_jp"), "ISO-2022-JP", "日本"),
        ("é".encode(), "no-such-charset", "é"),
    ],
)
def test_a_body_is_read_in_its_charset(body, charset, text):
    assert decoded(body, charset) == text
    answer = json.dumps(completion("日本 é"), ensure_ascii=False).encode("utf-8-sig")
    assert ask(lambda r: Reply(body=answer), ["a"])[0][0].text == "日本 é"
    with pytest.raises(ValueError, match="charset"):
        decoded("é".encode("latin-1"), None)


def test_the_proxy_before_a_url_is_named(monkeypatch):
    def blocked(request):
        return Reply(403, b"<html>Blocked by policy</html>")

    with ScriptedServer(blocked) as server:
        with (
            load_endpoint(f"{server.url}#tiny", Sampling(), policy=HASTY) as model,
            pytest.raises(EndpointUnusable) as caught,
        ):
            model.check()
        assert "proxy" not in str(caught.value)
        gone = server.port
    monkeypatch.setenv("http_proxy", f"http://me:p4ssword@127.0.0.1:{gone}")
    with load_endpoint("http://localhost:9/v1#tiny", Sampling(), policy=HASTY) as model:
        for call in (model.check, lambda: model.respond(["a"], [1], 0)):
            with pytest.raises(EndpointDown) as down:
                call()
            said = str(down.value)
            assert f"through the proxy http://127.0.0.1:{gone} that http_proxy names; NO_PROXY=localhost" in said
            assert "p4ssword" not in said
    monkeypatch.setenv("no_proxy", "localhost,::1")
    for past in ("http://localhost:9/v1#tiny", "http://[::1]:9/v1#tiny"):
        with load_endpoint(past, Sampling(), policy=HASTY) as model, pytest.raises(EndpointDown) as down:
            model.check()
        assert "proxy" not in str(down.value)
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(EndpointUnusable, match="all_proxy names socks5"):
        load_endpoint("https://a.example/v1#tiny", Sampling())
