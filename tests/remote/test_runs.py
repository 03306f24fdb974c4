"""Whole runs with a frozen model behind a URL, by the command line."""

import contextlib
import json
import re
import signal
import sqlite3
import threading
import time
from collections import Counter

import pytest
from cli import ESTIMATE, SMALL, start
from scripted_server import Reply, ScriptedServer, completion, fault

from alignpro.runtime.files import read_json, read_jsonl

SECRET = "sk-never-to-be-seen-in-a-run-0123456789"
ENV = {"NO_PROXY": "127.0.0.1", "ALIGNPRO_API_KEY": SECRET, "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
FEW = ("--train.steps=2", "--evaluate.every=0", "--evaluate.arms=[no_prompter,align_pro]")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


def words(folder, frozen, out, reward="python:rewards:length"):
    return [
        f"--prompter={folder / 'prompter'}",
        f"--frozen={frozen}",
        f"--reward={reward}",
        f"--prompts={folder / 'prompts.txt'}",
        *SMALL,
        f"--out={out}",
    ]


def frozen_at(server):
    return f"{server.url}#tiny"


def good(request):
    """A server whose answers hold nothing of its own port or time; it repeats the key, as some do."""
    told = request.headers["authorization"] if "thing 7" in request.prompt else ""
    texts = [f"{request.prompt[:30]} {request.body['seed']} {i} {told}" for i in range(request.body.get("n", 1))]
    return Reply(body=completion(*texts))


def test_a_run_counts_what_it_cost_and_no_key_is_in_its_folder(workshop, tmp_path, inside):
    out = tmp_path / "run"
    price = "--frozen.endpoint.price={input: 1, output: 10}"
    with ScriptedServer(good) as server:
        code, output = inside("run", *words(workshop, frozen_at(server), out), price)
        assert code == 0, output
        assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {SECRET}"}
        sent = len(server.requests)
    evaluation = read_json(out / "evaluation.json")
    books = evaluation["cost"]["endpoints"]["tiny"]
    assert books == read_json(out / "spending.json")["tiny"]
    assert books["requests"] == sent and books["input_tokens"] == 10 * sent
    assert books["money"] == pytest.approx((books["input_tokens"] + 10 * books["output_tokens"]) / 1e6)
    assert f"tiny: {sent:,} requests" in output and "in money" in output
    assert f"tiny: {sent:,} requests" in re.sub(r"\s+", " ", (out / "report.html").read_text())
    assert read_json(out / "environment.json")["frozen_weights"] is None
    assert list(evaluation["arms"]) == ["no_prompter", "reference_prompter", "align_pro", "gibbs_2"]
    assert all(arm["mean_reward"] is not None for arm in evaluation["arms"].values())
    for path in out.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in output

    code, output = inside("rewrite", "tell me about owls", "--run", str(out), "--answer")
    assert code == 1 and "Traceback" not in output and "cannot be reached" in output  # the server has gone


def test_a_run_killed_by_kill_9_and_resumed_pays_for_nothing_twice(workshop, tmp_path, inside):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with ScriptedServer(good) as server:
        code, output = inside("run", *words(workshop, frozen_at(server), whole), *FEW)
        assert code == 0, output
        total = len(server.requests)
    gone = threading.Event()
    stop_at = total * 2 // 3

    def script(request):
        reply = good(request)
        reply.hold = gone if request.number >= stop_at else None
        return reply

    with ScriptedServer(script) as server:
        process = start(workshop, "run", *words(workshop, frozen_at(server), killed), *FEW, **ENV)
        try:
            while len(server.requests) <= stop_at or _saved(killed) < _samples(server.requests[1:stop_at]):
                time.sleep(0.05)
                assert process.poll() is None, process.communicate()[0]
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        under_way = Counter(r.prompt for r in server.requests[stop_at:])
        assert read_json(killed / "evaluation.json") is None
        gone.set()
        code, output = inside("run", "--resume", f"--out={killed}")
        assert code == 0, output
        # what stood under way at the kill is asked for again, the token that checks the server too; nothing else is
        assert len(server.requests) == total + sum(under_way.values()) + 1
    a, b = read_json(whole / "evaluation.json"), read_json(killed / "evaluation.json")
    assert a.pop("cost")["frozen_calls"] == b.pop("cost")["frozen_calls"]
    assert a == b
    assert read_json(killed / "spending.json")["tiny"]["requests"] == total + 1


def _saved(folder):
    with contextlib.closing(sqlite3.connect(folder / "answers.sqlite")) as file:
        return file.execute("SELECT count(*) FROM answers").fetchone()[0]


def _samples(requests):
    return sum(r.body.get("n", 1) for r in requests)


def test_a_budget_stops_the_run_with_the_command_that_goes_on(workshop, tmp_path, inside):
    out = tmp_path / "run"
    with ScriptedServer(good) as server:
        code, output = inside("run", *words(workshop, frozen_at(server), out), *FEW, "--budget=20calls")
        assert code == 1 and "20 of 20 calls spent" in output and "Traceback" not in output
        assert f"Go on with: alignpro run --resume --out {out}" in output
        assert len(server.requests) == 20
        code, output = inside("run", "--resume", f"--out={out}")
        assert code == 1 and "20 of 20 calls spent" in output and len(server.requests) == 20  # it still counts
        code, output = inside("run", "--resume", f"--out={out}", "--budget=1000calls")
        assert code == 0, output
        assert len(server.requests) == read_json(out / "spending.json")["tiny"]["requests"]
        assert "calls: 1000" in (out / "config.yaml").read_text()


def test_a_server_that_goes_down_in_mid_run_is_waited_for_then_the_run_stops_and_goes_on(workshop, tmp_path, inside):
    out, down = tmp_path / "run", threading.Event()

    def script(request):
        if request.number >= 20:
            down.set()
        return Reply(503, fault("loading")) if down.is_set() else good(request)

    patience = "--frozen.endpoint.patience=0.5"
    with ScriptedServer(script) as server:
        code, output = inside("run", *words(workshop, frozen_at(server), out), patience, *FEW)
        assert code == 1 and "no URL has answered" in output, output
        assert f"Go on with: alignpro run --resume --out {out}" in output
        server.script = good
        code, output = inside("run", "--resume", f"--out={out}")
        assert code == 0, output


def refused(inside, server, workshop, out, *more, code=2):
    at = server if isinstance(server, str) else frozen_at(server)
    got, output = inside("run", *words(workshop, at, out), *more)
    assert got == code, output
    assert not out.exists() and "Traceback" not in output
    last = [line for line in output.split("\n") if line.strip()][-1]
    assert last.startswith("alignpro: ")
    return last


def test_wrong_keys_models_and_urls_show_before_any_work(workshop, tmp_path, inside):
    out = tmp_path / "run"
    with ScriptedServer(lambda r: Reply(401, fault(f"bad key {SECRET}"))) as server:
        said = refused(inside, server, workshop, out)
        assert "ALIGNPRO_API_KEY" in said and SECRET not in said and len(server.requests) == 1
        assert server.requests[0].body["max_tokens"] == 1
        server.script = lambda r: Reply(404, fault("no such model"))
        assert "no model 'tiny'" in refused(inside, server, workshop, out)
        server.script = lambda r: Reply(400, {"detail": "Server is pinned to 'other'; requested 'tiny'."})
        assert "pinned to" in refused(inside, server, workshop, out)
        server.script = lambda r: Reply(body=b"<html>welcome</html>")
        assert "does not speak" in refused(inside, server, workshop, out)
        url = frozen_at(server)
    assert "cannot be reached" in refused(inside, url, workshop, out, code=1)
    assert "OPENAI_API_KEY" in refused(inside, "openai:gpt", workshop, out)


def test_what_needs_the_weights_is_refused_before_any_work(workshop, tmp_path, inside):
    out, url = tmp_path / "run", "http://127.0.0.1:9/v1#tiny"
    assert "rlhf.enabled=false" in refused(inside, url, workshop, out, "--rlhf.enabled=true")
    assert "its weights cannot be changed" in refused(inside, url, workshop, out, "--headroom.noise=[weights=0.1]")
    assert "must be here" in refused(inside, url, workshop, out, f"--prompter={url}")
    assert "has no price" in refused(inside, url, workshop, out, "--budget=5")
    assert "is not an amount" in refused(inside, url, workshop, out, "--budget=5euros")


def test_headroom_and_the_sampled_prompter_take_endpoints(workshop, tmp_path, inside):
    out = tmp_path / "run"
    more = [f"--{setting}" for setting in ESTIMATE]
    with ScriptedServer(good) as server:
        url = frozen_at(server)
        noise = "--headroom.noise=[drop=0.2]"
        code, output = inside("headroom", *words(workshop, url, out), *more, noise)
        assert code == 0, output
        found = read_json(out / "headroom.json")
        assert found["cost"]["endpoints"]["tiny"]["requests"] == len(server.requests)
        assert "tiny:" in output
        named = [w for w in words(workshop, url, out) if w.startswith(("--prompter=", "--frozen=", "--reward="))]
        asked = ["rewrite", "tell me about owls", "--method=gibbs", "--n=2", *named, "--answer"]
        code, output = inside(*asked)
        assert code == 0, output
        assert "answered:" in output


def test_a_reward_behind_a_url_and_a_cache_that_runs_share(workshop, tmp_path, inside):
    graded = threading.Lock()
    grades = Counter()

    def script(request):
        verdict = re.findall(r"GRADE-\d+", request.prompt)
        if not verdict:
            return good(request)
        with graded:
            grades[request.prompt] += 1
        if "thing 3" in request.prompt:
            return Reply(body=completion("I cannot say."))
        return Reply(body=completion(f"fine\n{verdict[-1]}: {len(request.prompt) % 10 + 1}"))

    shared = f"--frozen.cache={tmp_path / 'shared.sqlite'}"
    with ScriptedServer(script) as server:
        url = frozen_at(server)
        for name in ("a", "b"):
            given = words(workshop, url, tmp_path / name, reward=f"{server.url}#grader")
            code, output = inside("run", *given, *FEW, shared, "--reward.max_failed=0.5")
            assert code == 0, output
        assert max(grades.values()) == 1
        assert all(r.body["temperature"] == 0 for r in server.requests if r.body["model"] == "grader")
        spent = read_json(tmp_path / "b" / "spending.json")
        assert spent["tiny"]["requests"] == 1 and spent["grader"]["requests"] == 1  # the checks alone
        assert not (tmp_path / "b" / "answers.sqlite").exists()
    a, b = (read_json(tmp_path / name / "evaluation.json") for name in ("a", "b"))
    assert a["arms"] == b["arms"] and a["reward"] == "grade by grader"
    reasons = sum((Counter(arm.get("failures", {})) for arm in a["arms"].values()), Counter())
    rows = [r for r in read_jsonl(tmp_path / "a" / "samples.jsonl") if "thing 3" in r["prompt"]]
    assert all(r["reward"] is None for r in rows)
    assert not rows or reasons["the scorer gave no grade that can be read"] >= len(rows)


def test_a_dry_run_says_what_a_run_then_asks(workshop, tmp_path, inside):
    out = tmp_path / "run"
    with ScriptedServer(good) as server:
        given = words(workshop, frozen_at(server), out)
        code, output = inside("run", *given, "--dry-run")
        assert code == 0, output
        assert not server.requests and not out.exists()
        code, told = inside("run", *given)
        assert code == 0, told
    rows = dict(re.findall(r"^#   (\w+) +([\d,]+)", output, re.MULTILINE))
    evaluation = read_json(out / "evaluation.json")
    assert int(rows["evaluation"].replace(",", "")) == evaluation["cost"]["frozen_calls"]
    monitored = sum(r["stage"] == "monitor" for r in read_jsonl(out / "samples.jsonl"))
    trained = read_jsonl(out / "metrics.jsonl")[-1]["frozen_calls"] + monitored
    assert int(rows["training"].replace(",", "")) == trained


def test_a_server_that_filters_everything_stops_the_run_and_says_so(workshop, tmp_path, inside):
    with ScriptedServer(lambda r: Reply(body=completion("", finish_reason="content_filter"))) as server:
        code, output = inside("run", *words(workshop, frozen_at(server), tmp_path / "run"), *FEW)
        assert code == 1 and "content filter" in output
        assert json.loads((tmp_path / "run" / "spending.json").read_text())["tiny"]["failed"] > 0
