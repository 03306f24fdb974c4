"""Figures, tokens and costs through every fault are those of a quiet server."""

import contextlib
import json
import os
import signal
import sqlite3
import time

import pytest
from cli import SMALL, start
from scripted_server import ScriptedServer
from storm import FAULTS, SILENCE, Storm, told

from alignpro.config import BudgetSettings, PriceSettings, Sampling
from alignpro.errors import BudgetSpent
from alignpro.remote.accounting import Account
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.pool import Policy
from alignpro.runtime.files import read_json, read_jsonl

QUICK = Policy(timeout=200, connect=200, first_wait=0.005, longest_wait=0.02, patience=200, most_concurrency=32)
PRICE = PriceSettings(input=2.0, output=8.0)
KILLS = 5


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("ALIGNPRO_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def asked_of(storm, folder, stops=0):
    """150 answers, stopped so many times by a budget of calls: every answer, and what `spending.json` holds."""
    prompts, counts = [f"prompt {i}" for i in range(120)], [1 + (i % 4 == 0) for i in range(120)]
    folder.mkdir()
    with ScriptedServer(storm) as server:
        for stop in range(stops + 1):
            account = Account({"tiny": PRICE}, BudgetSettings(calls=20 * (stop + 1) if stop < stops else None))
            sampling, cache = Sampling(max_new_tokens=16), folder / "answers.sqlite"
            with load_endpoint(
                f"{server.url}#tiny", sampling, cache=cache, account=account, policy=QUICK, identity="pool"
            ) as model:
                account.keep(folder / "spending.json")
                ending = pytest.raises(BudgetSpent) if stop < stops else contextlib.nullcontext()
                with ending:
                    rows = model.respond(prompts, counts, 0)
    return rows, json.loads((folder / "spending.json").read_text())["tiny"]


def test_answers_and_tokens_through_every_fault_and_five_stops_are_those_of_a_quiet_server(tmp_path):
    quiet, noisy = Storm(0.0), Storm(0.32)
    rows, books = asked_of(quiet, tmp_path / "quiet")
    stormy, dear = asked_of(noisy, tmp_path / "noisy", stops=5)
    assert stormy == rows
    assert {answer.failure for row in rows for answer in row} > {None}
    assert set(noisy.played) == set(FAULTS)  # each had its turn
    assert noisy.charged == quiet.charged and told(books) == quiet.total and told(dear) == noisy.total
    for spent in (books, dear):
        assert spent["money"] == pytest.approx((2 * spent["input_tokens"] + 8 * spent["output_tokens"]) / 1e6)
        assert spent["unmetered"] == 0
    assert sum(noisy.wasted.values()) == 13 * sum(n for name, n in noisy.played.items() if "charged" in name)


WHOLE = (
    "--train.steps=12",
    "--train.prompts_per_step=32",
    "--frozen.endpoint.timeout=10",
    "--evaluate.arms=[no_prompter,reference_prompter,align_pro]",
    "--evaluate.responses=24",
    "--data.test_share=0.5",
    "--reward.max_failed=0.5",
    "--frozen.endpoint.price={input: 2, output: 8}",
)


@pytest.mark.skipif("ALIGNPRO_STORM" not in os.environ, reason="takes minutes: set ALIGNPRO_STORM=1")
@pytest.mark.timeout(3000)
def test_a_run_of_a_thousand_answers_at_30_percent_faults_killed_five_times(workshop, tmp_path):
    quiet, noisy = Storm(0.0), Storm(0.32, {**FAULTS, **SILENCE})
    finished(quiet, workshop, tmp_path / "quiet", 0)
    assert quiet.answers >= 1000
    share = finished(noisy, workshop, tmp_path / "noisy", KILLS, quiet.answers)
    a, b = (read_json(tmp_path / name / "evaluation.json") for name in ("quiet", "noisy"))
    costs = [tree.pop("cost") for tree in (a, b)]
    assert a == b and costs[0]["frozen_calls"] == costs[1]["frozen_calls"]
    assert figures(tmp_path / "quiet") == figures(tmp_path / "noisy")
    assert noisy.charged == quiet.charged and set(noisy.played) == {*FAULTS, *SILENCE}
    for storm, cost in zip((quiet, noisy), costs, strict=True):
        books = cost["endpoints"]["tiny"]
        assert told(books) == storm.total
        assert books["money"] == pytest.approx((2 * books["input_tokens"] + 8 * books["output_tokens"]) / 1e6)
    assert {row["about"].rpartition(" ")[2] for row in read_jsonl(tmp_path / "noisy" / "notices.jsonl")} >= {
        "top_p",
        "min_p",
    }
    print(f"{noisy.answers} answers, {share:.0%} faults, {sum(noisy.played.values())} played, ledger {noisy.total}")  # noqa: T201


def finished(storm, workshop, out, kills, answers=0):
    """Run in `out` to the end, killed by kill -9 so many times where all that was answered is kept; share of faults."""
    words = [
        f"--prompter={workshop / 'prompter'}",
        "--reward=python:rewards:length",
        f"--prompts={workshop / 'prompts.txt'}",
        *SMALL,
        *WHOLE,
        f"--out={out}",
    ]
    with ScriptedServer(storm) as server:
        for kill in range(kills + 1):
            storm.stop_at = answers * (kill + 1) // (kills + 1) if kill < kills else None
            storm.stopped.clear()
            storm.gone.clear()
            given = ("--resume", f"--out={out}") if kill else (f"--frozen={server.url}#tiny", *words)
            process = start(workshop, "run", *given)
            try:
                while kill < kills and not (storm.stopped.is_set() and kept(out) == (storm.total, storm.answers)):
                    time.sleep(0.1)
                    assert process.poll() is None, (process.communicate()[0], kept(out), storm.total, storm.answers)
                if kill < kills:
                    process.send_signal(signal.SIGKILL)
                output, _ = process.communicate()
            finally:
                process.kill()
            storm.gone.set()
            assert kill < kills or process.returncode == 0, output
        return sum(storm.played.values()) / len(server.requests)


def kept(out):
    """Tokens that are booked, and answers that are stored."""
    books = (read_json(out / "spending.json") or {}).get("tiny")
    if books is None or not (out / "answers.sqlite").is_file():
        return None
    with contextlib.closing(sqlite3.connect(out / "answers.sqlite")) as file:
        return told(books), file.execute("SELECT count(*) FROM answers").fetchone()[0]


def figures(out):
    """Lines of metrics.jsonl without what they took of time and memory."""
    return [
        {name: value for name, value in row.items() if "second" not in name and name != "peak_gib"}
        for row in read_jsonl(out / "metrics.jsonl")
    ]
