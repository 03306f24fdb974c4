"""A prompter behind a socket, and `alignpro serve` as a user starts it."""

import json
import shutil
import signal
import socket
import threading
import time
import urllib.request

import pytest
from cli import models, settings, start
from scripted_server import Reply, ScriptedServer, completion

import alignpro
from alignpro.config import EndpointSettings
from alignpro.prompt import Prompt
from alignpro.running import exported
from alignpro.running.load import load
from alignpro.serve.link import prompts_in, receive, send
from alignpro.serve.worker import version, work


@pytest.fixture(scope="module")
def prompter(workshop):
    """One that was not trained, which rewrites as any other."""
    chosen = settings(workshop)
    pieces = load(chosen, {"passes", "prompter"})
    return alignpro.TrainedPrompter(chosen, pieces.pipeline(), pieces.prompters)


def talk(prompter, *messages, guard=None):
    """What a prompter says when it is ready, and to each message."""
    ours, theirs = socket.socketpair()
    working = threading.Thread(target=work, args=(theirs, prompter, guard))
    working.start()
    ours.settimeout(60)
    told = [receive(ours)]
    for number, message in enumerate(messages):
        send(ours, [number, message])
        same, made = receive(ours)
        assert same == number
        told.append(made)
    ours.close()
    working.join(60)
    assert not working.is_alive()  # it ends with the server
    theirs.close()
    return told


OWLS, RAIN = ["tell me about owls", None, []], ["rain", "be brief", [["user", "hi"], ["assistant", "ho"]]]


def test_prompts_are_rewritten_as_they_are_elsewhere_whatever_else_is_in_the_batch(prompter):
    ready, both, alone, again = talk(prompter, [OWLS, RAIN], [RAIN], [OWLS])
    assert ready == [prompter.prompter.name, version(prompter), prompter.batch, 1]
    assert both == [*again, *alone]
    made = prompter.rewrite(prompts_in([RAIN])[0], seed=0)
    text, reason, added = alone[0]
    assert (text, reason) == ((made.text, None) if made.failure is None else (None, "no-rewrite"))
    if text is not None:
        tokens = prompter.first.lm.frame.tokens
        assert added == len(tokens(text)) - len(tokens("rain"))


def asked(url, *overrides):
    once = EndpointSettings(key="none", timeout=30, attempts=1, patience=0.01)
    return alignpro.AskedPrompter.load(
        f"{url}#other", ["prompter.template=Improve: {prompt}", *overrides], endpoint=once
    )


def test_a_prompter_behind_a_url_is_asked_for_prompts_beside_each_other(monkeypatch, capfd):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    all_there = threading.Event()

    def script(request):
        if request.body["max_tokens"] == 1 or "station" in request.prompt:
            return Reply(body=completion("x"))
        if request.together == 3:
            all_there.set()
        text = "" if "rain" in request.prompt else "<rewrite>Tell me about owls.</rewrite>"
        return Reply(body=completion(text), hold=all_there)

    with ScriptedServer(script) as server:
        prompter, cooler = asked(server.url), asked(server.url, "prompter.sampling.temperature=0.5")
        assert version(cooler) != version(prompter)
        ours, theirs = socket.socketpair()
        working = threading.Thread(target=work, args=(theirs, prompter, prompter.guards))
        working.start()
        ours.settimeout(60)
        assert receive(ours) == ["other", version(prompter), 1, 64]
        for number, x in enumerate((OWLS, RAIN, ["tell me about owls, $5 each", None, []])):
            send(ours, [number, [x]])
        made = dict(receive(ours) for _ in range(3))
        assert any(request.prompt == "Improve: tell me about owls" for request in server.requests)
    assert made == {
        0: [["Tell me about owls.", None, None]],
        1: [[None, "prompter-error", None]],
        2: [[None, "guard-numbers", None]],
    }
    begun = time.monotonic()
    for number in range(5):
        send(ours, [number, [OWLS]])  # the server has gone
        assert receive(ours) == [number, [[None, "prompter-error", None]]]
    assert time.monotonic() - begun < 5
    ours.close()
    working.join(60)
    theirs.close()
    assert "the prompter's URL gave no answer" in capfd.readouterr().err


def test_a_trained_prompter_served_elsewhere_is_framed_as_it_was_trained(prompter, workshop, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shutil.copytree(workshop / "prompter", tmp_path / "own")
    lm = prompter.first.lm
    told = exported.described(lm, settings(workshop, "guards.numbers=false", "prompter.sampling.max_new_tokens=7"))
    (tmp_path / "own" / exported.FILE).write_text(json.dumps(told))
    with ScriptedServer(lambda request: Reply(body=completion("<rewrite>better</rewrite>"))) as server:
        own = alignpro.AskedPrompter.load(f"{server.url}#m", (), tmp_path / "own", EndpointSettings(key="none"))
        x = prompts_in([RAIN])[0]
        assert own.rewrite(x).text == "better"
        assert server.requests[-1].body["messages"] == lm.frame.messages(x)
        assert server.requests[-1].body["max_tokens"] == 7
    lost = Prompt("rain at 7"), "rain at noon"
    assert (own.guards(*lost), prompter.guards(*lost)) == (None, "numbers")  # guards are those of the folder
    assert own.tokens_added(x, "rain") == 0


def test_a_guard_and_a_failure_take_no_other_prompt_with_them(prompter, monkeypatch, capfd):
    rewrite = prompter.rewrite

    def trips(prompts, seed):
        if not isinstance(prompts, str) and any(x.text == "trip" for x in prompts):
            raise RuntimeError("tripped")
        return rewrite(prompts, seed=seed)

    monkeypatch.setattr(prompter, "rewrite", trips)
    guard = lambda x, new: "two words" if x.text == "rain" else None  # noqa: E731
    told = talk(prompter, [OWLS, ["trip", None, []], RAIN, ["word " * 3000, None, []]], guard=guard)[1]
    plain = talk(prompter, [OWLS, RAIN])[1]
    assert told[0] == plain[0]
    assert told[1] == [None, "prompter-error", None]
    assert told[2] == ([None, "guard-two-words", None] if plain[1][0] is not None else plain[1])
    assert told[3] == [None, "too-long", None]
    assert "RuntimeError: tripped" in capfd.readouterr().err


def test_as_a_user_starts_it(workshop, tmp_path):
    own = [*models(workshop)[:2], "--reward=python:rewards:length", "--n=2", "--threads=1"]
    short = ["--prompter.sampling.max_new_tokens=6", "--frozen.sampling.max_new_tokens=6"]
    with ScriptedServer() as upstream:
        log = tmp_path / "log.jsonl"
        words = [f"--upstream={upstream.url}", "--port=0", f"--audit={log}", "--timeout=60"]
        process = start(workshop, "serve", "--method=gibbs", *own, *short, *words)
        try:
            lines = []
            while not any("ready: " in line for line in lines):
                lines.append(process.stdout.readline().decode())
                assert lines[-1], lines
            url = next(line.split()[0] for line in lines if line.startswith("http://"))
            body = {"model": "m", "messages": [{"role": "user", "content": "tell me about owls"}]}
            asked = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), method="POST")
            with urllib.request.urlopen(asked, timeout=60) as response:
                told = response.headers
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(60)
        finally:
            process.kill()
        assert process.wait() == 0, output
        assert "told to end" in output
        row = json.loads(log.read_text())
        assert row["x"] == "tell me about owls"
        assert told["x-alignpro"] == ("rewritten" if row["x_new"] else f"original; reason={row['reason']}")
        assert upstream.requests[-1].prompt == (row["x_new"] or row["x"])
        assert any(told["x-alignpro-version"] in line for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give --upstream"),
        (["--upstream=h"], "is no address"),
        (["--upstream=http://h", "--shadow", "--ab=0.5"], "give one of them"),
        (["--upstream=http://h", "--ab=2"], "is no share"),
        (["--upstream=http://h", "--hash-only"], "--hash-only is of --audit"),
        (["--upstream=http://h", "--keys=NOT_THERE"], "NOT_THERE, which is not set"),
        (["--upstream=http://h", "--as-prompter"], "give --run"),
        (["--prompter-model=m", "--as-prompter"], "are of --prompter-url"),
        (["--prompter-url=http://h/v1", "--best", "--as-prompter"], "has a prompter of its own"),
        (["--prompter-url=http://h/v1", "--as-prompter"], "names no model"),
        (["--prompter-url=http://h/v1#m", "--frozen=lab", "--as-prompter"], "--prompter.KEY and --guards.KEY alone"),
    ],
)
def test_what_does_not_go_together_is_told(inside, words, told):
    code, output = inside("serve", *words)
    assert (code, "Traceback" in output) == (2, False)
    assert told in output
