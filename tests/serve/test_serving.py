"""Requests through the server: what is rewritten, what passes, what the client is told, what is written down."""

import asyncio
import gzip
import json

import pytest
from aiohttp import web
from standing import EVENTS, Scripted, answer, rows, running, settled, standing, streams, user

from alignpro.errors import UsageError
from alignpro.serve import audit
from alignpro.serve.link import Rewritten
from alignpro.serve.options import Options, secrets_in


def test_a_prompt_is_rewritten_and_all_else_goes_there_and_back_as_it_is():
    async def test():
        async with standing() as s:
            body = json.dumps(user("tell me", {"role": "system", "content": "be brief"}, seed=1)).encode()
            headers = {"Authorization": "Bearer sk-client", "X-Other": "kept", "x-alignpro-note": "away"}
            status, told, answered = await s.ask(body, headers=headers)
            assert (status, json.loads(answered)) == (200, answer())
            assert told["x-alignpro"] == "rewritten"
            assert (told["x-alignpro-version"], len(told["x-alignpro-id"])) == ("v1", 24)
            ((method, path, sent, arrived),) = s.upstream.seen
            assert (method, path) == ("POST", "/v1/chat/completions")
            assert arrived == body.replace(b"tell me", b"TELL ME")
            assert (sent["Authorization"], sent["X-Other"]) == ("Bearer sk-client", "kept")
            assert not any(name.lower().startswith("x-alignpro") for name in sent)
            assert s.prompter.asked[0][0].system == "be brief"

    running(test)


def test_everything_else_passes_to_the_byte():
    async def echo(request, body):
        return web.Response(status=418, reason="Odd", body=body, headers={"X-Own": "1", "Content-Type": "a/b"})

    async def test():
        async with standing(echo) as s:
            packed = gzip.compress(b"whatever")
            status, headers, back = await s.ask(packed, "/v1/files?a=%2F&b=%20+", headers={"Content-Encoding": "gzip"})
            assert (status, headers["X-Own"], headers["Content-Type"], back) == (418, "1", "a/b", packed)
            assert "x-alignpro" not in headers
            assert s.upstream.seen[0][1] == "/v1/files?a=%2F&b=%20+"

            async def slowly():
                for part in (b"one", b"two", b"three"):
                    yield part
                    await asyncio.sleep(0.001)

            async with s.client.put(f"{s.url}/v1/files/1", data=slowly()) as response:
                assert await response.read() == b"onetwothree"
            async with s.client.delete(f"{s.url}/beside") as response:
                assert response.status == 418
            assert [seen[:2] for seen in s.upstream.seen[1:]] == [("PUT", "/v1/files/1"), ("DELETE", "/beside")]
            for broken in (b"no json", packed):
                assert (await s.ask(broken))[2] == broken
            _, headers, back = await s.ask(packed, "/v1/chat/completions", headers={"Content-Encoding": "gzip"})
            assert (headers["x-alignpro"], back) == ("original; reason=encoded", packed)

    running(test)


def test_headers_of_one_connection_stay_on_it():
    async def script(request, body):
        return web.Response(headers={"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=9", "X-End": "2"})

    async def test():
        async with standing(script) as s:
            _, headers, _ = await s.ask(user(), headers={"Connection": "keep-alive, X-Mine", "X-Mine": "1", "TE": "x"})
            assert ("X-Hop" in headers, "Keep-Alive" in headers, headers["X-End"]) == (False, False, "2")
            assert not {"X-Mine", "TE"} & set(s.upstream.seen[0][2])

    running(test)


def test_a_stream_is_relayed_as_it_comes():
    async def test():
        async with standing(streams) as s:
            _, headers, body = await s.ask(user(stream=True))
            assert (headers["x-alignpro"], body) == ("rewritten", b"".join(EVENTS))

    running(test)


def test_the_same_conversation_is_rewritten_the_same_way_and_once():
    async def test():
        drawn = iter(range(100))
        async with standing(prompter=Scripted(lambda x: Rewritten(f"{x.text} {next(drawn)}"))) as s:
            await asyncio.gather(*(s.ask(user("owls")) for _ in range(5)), s.ask(user("rain")))
            await s.ask(user("owls"))
            sent = {json.loads(body)["messages"][-1]["content"] for body in s.upstream.bodies}
            assert len(sent) == 2
            assert sum(len(batch) for batch in s.prompter.asked) == 2
            await s.ask(user("owls", {"role": "system", "content": "be brief"}))
            assert sum(len(batch) for batch in s.prompter.asked) == 3

    running(test)


def test_prompts_that_come_together_are_rewritten_together():
    async def test():
        async with standing(prompter=Scripted(batch=8)) as s:
            s.prompter.hold = asyncio.Event()
            first = asyncio.create_task(s.ask(user("owls")))
            while not s.prompter.asked:
                await asyncio.sleep(0.001)
            others = asyncio.gather(*(s.ask(user(f"owl {i}")) for i in range(8)))
            while s.service.prompters.waiting < 8:
                await asyncio.sleep(0.001)
            s.prompter.hold.set()
            await asyncio.gather(first, others)
            assert [len(batch) for batch in s.prompter.asked] == [1, 8]
            assert await s.metric("alignpro_batched_prompts_total ") == 9

    running(test)


def failing(reason):
    return Scripted(lambda x: Rewritten(None, reason))


def raising():
    def script(x):
        raise ConnectionResetError

    return Scripted(script)


@pytest.mark.parametrize(
    ("prompter", "reason"),
    [
        (lambda: failing("too-long"), "too-long"),
        (lambda: failing("guard-numbers"), "guard-numbers"),
        (raising, "prompter-error"),
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_what_cannot_be_rewritten_goes_on_as_it_is_unless_told_otherwise(prompter, reason, closed):
    async def test():
        async with standing(prompter=prompter(), fail_closed=closed) as s:
            body = json.dumps(user("owls"), indent=1).encode()
            status, headers, answered = await s.ask(body)
            assert headers["x-alignpro"] == f"original; reason={reason}"
            if closed:
                assert (status, s.upstream.bodies, headers["Retry-After"]) == (503, [], "1")
                assert json.loads(answered)["error"]["code"] == "not_rewritten"
            else:
                assert (status, s.upstream.bodies) == (200, [body])
            assert await s.metric(f'alignpro_prompts_total{{arm="original",reason="{reason}"}}') == 1

    running(test)


def test_a_prompter_that_stalls_or_is_asked_too_much_holds_nobody_up():
    async def test():
        async with standing(timeout=0.5, queue=2, prompter=Scripted(batch=1)) as s:
            s.prompter.hold = asyncio.Event()
            first = asyncio.create_task(s.ask(user("owl 0")))
            while not s.prompter.asked:
                await asyncio.sleep(0.001)
            told = await asyncio.gather(first, *(s.ask(user(f"owl {i}")) for i in range(1, 6)))
            reasons = sorted(headers["x-alignpro"].removeprefix("original; reason=") for _, headers, _ in told)
            assert reasons == ["queue-full"] * 3 + ["timeout"] * 3
            assert s.service.prompters.waiting == 0  # nobody waits for them any more
            s.prompter.hold.set()
            await settled(lambda: s.service.prompters.batches == 1)
            s.service.prompters.timeout = 10
            assert (await s.ask(user("owl 6")))[1]["x-alignpro"] == "rewritten"
            late = next(x for batch in s.prompter.asked for x in batch)
            assert (await s.ask(user(late.text)))[1]["x-alignpro"] == "rewritten"  # it came too late, and was kept
            assert [x.text for batch in s.prompter.asked for x in batch].count(late.text) == 1

    running(test)


def test_a_prompter_that_stalls_for_good_or_goes_is_started_again(monkeypatch):
    monkeypatch.setattr("alignpro.serve.prompters.FIRST_WAIT", 0.01)

    async def test():
        made = [Scripted() for _ in range(3)]
        made[0].hold = asyncio.Event()
        made[1].script = raising().script
        left, may_start = iter(made), asyncio.Event()
        may_start.set()

        async def start():
            await may_start.wait()
            return next(left)

        async with standing(start=start, stall=0.3) as s:
            may_start.clear()
            assert (await s.ask(user("a")))[1]["x-alignpro"] == "original; reason=prompter-error"
            while s.service.prompters.ready:
                await asyncio.sleep(0.001)
            assert (await s.ask(user("between")))[1]["x-alignpro"] == "original; reason=not-ready"
            may_start.set()
            while not s.service.prompters.ready:
                await asyncio.sleep(0.001)
            assert (await s.ask(user("b")))[1]["x-alignpro"] == "original; reason=prompter-error"
            while not made[1].ended or not s.service.prompters.ready:
                await asyncio.sleep(0.001)
            assert (await s.ask(user("a")))[1]["x-alignpro"] == "rewritten"
            assert [one.ended for one in made] == [True, True, False]
            assert await s.metric("alignpro_prompter_restarts_total ") == 2

    running(test)


def test_a_new_prompter_takes_over_without_a_lost_request():
    async def test():
        made = [Scripted() for _ in range(2)]
        made[1].version, made[1].script = "v2", lambda x: Rewritten(x.text.title(), None, 0, "v2")
        left = iter(made)

        async def start():
            return next(left)

        async with standing(start=start) as s:
            made[0].hold = asyncio.Event()
            before = asyncio.create_task(s.ask(user("owls here")))
            while not made[0].asked:
                await asyncio.sleep(0.001)
            await s.service.prompters.swap()
            assert (await s.ask(user("rain there")))[1]["x-alignpro-version"] == "v2"
            made[0].hold.set()
            assert (await before)[1]["x-alignpro-version"] == "v1"
            assert [json.loads(b)["messages"][0]["content"] for b in s.upstream.bodies] == ["Rain There", "OWLS HERE"]
            await s.ask(user("owls here"))
            assert json.loads(s.upstream.bodies[-1])["messages"][0]["content"] == "Owls Here"
            assert (made[0].ended, made[1].ended) == (True, False)

    running(test)


@pytest.mark.parametrize("logged", [False, True])
def test_clients_may_opt_out(tmp_path, logged):
    async def test():
        log = tmp_path / "log"
        async with standing(fail_closed=True, audit=log if logged else None) as s:
            _, headers, _ = await s.ask(user(), headers={"x-alignpro": "off"})
            assert headers["x-alignpro"] == "original; reason=opt-out"
            assert s.upstream.bodies == [json.dumps(user()).encode()]
            assert "x-alignpro" not in s.upstream.seen[0][2]
            assert s.prompter.asked == []
            if logged:
                (row,) = await rows(log, 1)
                assert (row.arm, row.assigned, row.reason, row.x) == ("original", None, "opt-out", "tell me about owls")

    running(test)


def test_shadow_writes_down_both_and_sends_the_original(tmp_path):
    async def test():
        async with standing(mode="shadow", audit=tmp_path / "log") as s:
            s.prompter.hold = asyncio.Event()
            status, headers, _ = await s.ask(user("owls"))  # the rewrite holds nobody up
            assert (status, headers["x-alignpro"]) == (200, "original; reason=shadow")
            s.prompter.hold.set()
            (row,) = await rows(tmp_path / "log", 1)
            assert (row.x, row.x_new, row.arm, row.assigned, row.mode) == (
                "owls",
                "OWLS",
                "original",
                "original",
                "shadow",
            )
            assert json.loads(s.upstream.bodies[0]) == user("owls")

    running(test)


def test_ab_assigns_conversations_and_writes_down_what_came_of_them(tmp_path):
    async def test():
        async with standing(mode="ab", share=0.5, audit=tmp_path / "log") as s:
            said = {"role": "assistant", "content": "yes?"}
            for i in range(40):
                await s.ask(user(f"owl {i}"))
                await s.ask(user("go on", {"role": "user", "content": f"owl {i}"}, said))
            told = await rows(tmp_path / "log", 80)
        arms = [{row.arm for row in told if row.unit == unit} for unit in {row.unit for row in told}]
        assert len(arms) == 40
        assert all(len(arm) == 1 for arm in arms)  # all of a conversation
        assert 8 < arms.count({"rewritten"}) < 32
        assert {(row.arm, row.reason) for row in told} == {("rewritten", None), ("original", "ab")}
        assert all(row.assigned == row.arm and row.x_new for row in told)

    running(test)


def test_what_is_written_down_of_a_request(tmp_path):
    async def test():
        log = tmp_path / "deep" / "log"
        async with standing(audit=log) as s:
            _, headers, _ = await s.ask(user("owls", model="m\ud800"))
            await s.ask({"prompt": ["a", "b"]}, "/v1/completions")
            await s.ask(user("x", {"role": "user", "content": "two in a row"}))
            first, *pair = await rows(log, 3)
            assert first.id == headers["x-alignpro-id"]
            assert (first.x, first.x_new, first.tokens_added, first.version) == ("owls", "OWLS", 1, "v1")
            assert (first.kind, first.status, first.ended, first.answer_id) == ("chat", 200, "whole", "chatcmpl-1")
            assert (first.usage.input_tokens, first.usage.output_tokens) == (7, 3)
            assert 0 <= first.first_byte_ms <= first.upstream_ms
            assert first.rewrite_ms >= 0
            assert first.reward is None
            assert [(row.index, row.x_new) for row in pair] == [(0, "A"), (1, "B")]
            assert pair[0].id == pair[1].id
        async with standing(audit=tmp_path / "hashes", hash_only=True) as s:
            await s.ask(user("owls"))
            (row,) = await rows(tmp_path / "hashes", 1)
            assert "owls" not in (tmp_path / "hashes").read_text().lower()
            assert (row.x, row.x_new, row.x_digest) == (None, None, first.x_digest)

    running(test)


def test_a_log_is_rotated_and_read_back_in_order(tmp_path):
    log = audit.Audit(tmp_path / "log", max_bytes=2000, keep=3)
    row = audit.Row(
        time=0, id="", kind="chat", mode="serve", arm="original", assigned=None, unit="", x_digest="", x="x" * 300
    )
    for i in range(12):
        log.write(row.model_copy(update={"time": i}))
    log.close()
    times = [row.time for row in audit.read(tmp_path / "log")]
    assert times == sorted(times)
    assert times[-1] == 11
    assert len(list(tmp_path.iterdir())) == 4
    with (tmp_path / "log").open("a") as file:
        file.write('{"torn": ')
    assert [row.time for row in audit.read(tmp_path / "log")] == times
    with pytest.raises(UsageError, match="no such log"):
        list(audit.read(tmp_path / "none"))


def test_keys_of_our_own_stand_before_the_upstreams(monkeypatch):
    monkeypatch.setenv("OURS", "one, two")
    keys = secrets_in("OURS", "--keys")

    async def test():
        async with standing(keys=keys, upstream_key="sk-up") as s:
            for wrong in ({}, {"Authorization": "Bearer on"}, {"Authorization": "Bearer sk-up"}, {"api-key": "ü"}):
                status, _, body = await s.ask(user(), headers=wrong)
                assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
                assert b"two" not in body
            assert s.upstream.seen == []
            assert (await s.ask(user(), headers={"Authorization": "Bearer two"}))[0] == 200
            assert (await s.ask(user(), headers={"api-key": "one"}))[0] == 200
            assert [seen[2]["Authorization"] for seen in s.upstream.seen] == ["Bearer sk-up"] * 2
            assert "api-key" not in s.upstream.seen[1][2]
            assert (await s.get("/healthz"))[0] == 200
        assert "sk-up" not in repr(s.service._options)

    running(test)


def test_pages_of_other_sites_do_not_spend_the_key():
    async def test():
        async with standing(upstream_key="sk-up") as s:
            port = s.service.port
            for headers in ({"Origin": "http://evil.example"}, {"Host": f"evil.example:{port}"}, {"Host": "["}):
                assert (await s.ask(user(), headers=headers))[0] == 403
            assert s.upstream.seen == []
            for headers in ({}, {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}"}):
                assert (await s.ask(user(), headers=headers))[0] == 200

    running(test)


def test_the_playground_has_what_it_asks_for():
    async def test():
        async with standing() as s:
            status, page = await s.get("/")
            assert (status, "http://" in page, "https://" in page) == (200, False, False)  # nothing from elsewhere
            _, _, body = await s.ask({"messages": user("owls")["messages"]}, "/alignpro/rewrite")
            told = json.loads(body)
            assert (told["prompt"], told["rewrite"], told["reason"], told["cached"]) == ("owls", "OWLS", None, False)
            _, _, body = await s.ask({"messages": []}, "/alignpro/rewrite")
            assert json.loads(body) == {"prompt": None, "rewrite": None, "reason": "no-prompt"}
            assert s.upstream.seen == []
        async with standing(keys=("one",)) as s:
            assert (await s.ask(user(), "/alignpro/rewrite"))[0] == 401

    running(test)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"upstream": "localhost:8000"}, "is no address"),
        ({"upstream": "http://h/v1?key=1"}, "is no address"),
        ({"upstream": "http://a:b@h/v1"}, "holds a user or a password"),
        ({"upstream": "http://h", "share": 2}, "is no share"),
        ({"upstream": "http://h", "host": "0.0.0.0", "upstream_key": "k"}, "could spend --upstream-key"),
    ],
)
def test_options_that_do_not_go_together_are_told(options, told):
    with pytest.raises(UsageError, match=told):
        Options(**options)


def test_where_paths_go():
    async def test():
        async with standing() as s:
            origin = s.upstream.url.removesuffix("/v1")
            address = s.service.app.pieces.upstream.address
            assert str(address("/v1/models")) == f"{origin}/v1/models"
            assert str(address("/tokenize")) == f"{origin}/tokenize"
        async with standing(upstream="http://h:1") as s:
            assert str(s.service.app.pieces.upstream.address("/v1/x?y=%2f")) == "http://h:1/v1/x?y=%2f"
        async with standing(upstream="https://h/v1beta/openai/") as s:
            assert str(s.service.app.pieces.upstream.address("/v1/models")) == "https://h/v1beta/openai/models"

    running(test)


def test_health_readiness_and_metrics():
    async def test():
        async with standing() as s:
            assert await s.get("/healthz") == (200, '{"status": "ok"}')
            assert await s.get("/readyz") == (200, '{"status": "ready", "version": "v1"}')
            await s.ask(user())
            assert await s.metric('alignpro_requests_total{kind="chat",status="200"}') == 1
            assert await s.metric('alignpro_rewrite_seconds_bucket{cached="false",le="+Inf"}') == 1
            assert await s.metric("alignpro_added_seconds_sum") < 0.1
            await s.service.prompters.end()
            assert (await s.get("/readyz"))[0] == 503
            assert (await s.ask(user("new")))[1]["x-alignpro"] == "original; reason=not-ready"

    running(test)
