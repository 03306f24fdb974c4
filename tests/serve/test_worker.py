"""A prompter behind a socket, and `alignpro serve` as a user starts it."""

import json
import signal
import socket
import threading
import urllib.request

import pytest
from cli import models, settings, start
from scripted_server import ScriptedServer

import alignpro
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
    for message in messages:
        send(ours, message)
        told.append(receive(ours))
    ours.close()
    working.join(60)
    assert not working.is_alive()  # it ends with the server
    theirs.close()
    return told


OWLS, RAIN = ["tell me about owls", None, []], ["rain", "be brief", [["user", "hi"], ["assistant", "ho"]]]


def test_prompts_are_rewritten_as_they_are_elsewhere_whatever_else_is_in_the_batch(prompter):
    ready, both, alone, again = talk(prompter, [OWLS, RAIN], [RAIN], [OWLS])
    assert ready == [prompter.prompter.name, version(prompter), prompter.batch]
    assert both == [*again, *alone]
    made = prompter.rewrite(prompts_in([RAIN])[0], seed=0)
    text, reason, added = alone[0]
    assert (text, reason) == ((made.text, None) if made.failure is None else (None, "no-rewrite"))
    if text is not None:
        tokens = prompter.first.lm.frame.tokens
        assert added == len(tokens(text)) - len(tokens("rain"))


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
        lines = []
        while not any("ready: " in line for line in lines):
            lines.append(process.stdout.readline().decode())
            assert lines[-1], lines
        url = next(line.split()[0] for line in lines if line.startswith("http://"))
        body = {"model": "m", "messages": [{"role": "user", "content": "tell me about owls"}]}
        asked = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(asked, timeout=60) as response:
            told = response.headers
        row = json.loads(log.read_text())
        assert row["x"] == "tell me about owls"
        assert told["x-alignpro"] == ("rewritten" if row["x_new"] else f"original; reason={row['reason']}")
        assert upstream.requests[-1].prompt == (row["x_new"] or row["x"])
        assert any(told["x-alignpro-version"] in line for line in lines)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(60)
        assert process.wait() == 0, output
        assert "told to end" in output


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
    ],
)
def test_what_does_not_go_together_is_told(inside, words, told):
    code, output = inside("serve", *words)
    assert (code, "Traceback" in output) == (2, False)
    assert told in output
