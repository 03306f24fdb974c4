"""`alignpro ab` on logs whose truth is known: pairing, first rows, scores from files, costs, and what it refuses."""

import json
import math

import numpy as np
import pytest

from alignpro.errors import UsageError
from alignpro.serve.ab import METRICS, compare
from alignpro.serve.audit import Row


def row(number, arm="rewritten", unit=None, **more):
    told = {"time": float(number), "id": f"r{number}", "kind": "chat", "mode": "ab", "arm": arm, "assigned": arm}
    told |= {"unit": unit or f"u{number}", "x_digest": f"x{number}", "status": 200, "answer_id": f"a{number}"}
    return Row.model_validate(told | more)


def arms(count, gain=0.0, seed=0):
    rng = np.random.default_rng(seed)
    for number in range(count):
        arm = "rewritten" if rng.random() < 0.5 else "original"
        yield row(number, arm, reward=float(rng.normal() + gain * (arm == "rewritten")))


def test_unpaired_differences_are_those_of_conversations_in_their_order():
    rows = [
        row(1, "rewritten", "a", reward=3),
        row(2, "original", "b", reward=1),
        row(3, "rewritten", "a", reward=100),  # the conversation counts already
        row(4, "original", "c"),  # no value yet
        row(5, "original", "c", reward=2),
        row(6, "rewritten", "d", reward=4, arm_sent=None),
        row(7, "original", "e", assigned="rewritten", reason="timeout", reward=6),  # counts as it was assigned
        row(8, "original", "f", assigned=None, reward=50),
        row(9, "original", "g", mode="shadow", assigned="rewritten", reward=50),
    ]
    found = compare(reversed(rows), METRICS["reward"], "reward")
    assert (found.sides["rewritten"].units, found.sides["original"].units) == (3, 2)
    assert found.pairs == 2 and found.difference.value == pytest.approx(((3 - 1) + (4 - 2)) / 2)
    assert found.sides["rewritten"].mean == pytest.approx((3 + 4 + 6) / 3)
    assert found.left_out == 1
    assert found.difference.why == "under 50 pairs" and math.isnan(found.difference.lo)
    assert (found.rewriting.rows, found.rewriting.sent) == (5, 3)
    assert found.rewriting.reasons == {"timeout": 1, "no reason": 1}


def test_pairs_are_of_one_prompt_sent_both_ways():
    rows = [
        row(1, "rewritten", "u", x_digest="p", reward=5),
        row(2, "original", "v", x_digest="p", assigned=None, mode="serve", reward=2),
        row(3, "original", "w", x_digest="q", reward=1),
        row(4, "rewritten", "w2", x_digest="q", reward=1.5),
        row(5, "rewritten", "y", x_digest="r", reward=9),
    ]
    found = compare(rows, METRICS["reward"], "reward", bounds=(0, 10), paired=True)
    assert found.pairs == 2 and found.difference.value == pytest.approx((3 + 0.5) / 2)
    assert -10 <= found.difference.lo < found.difference.value < found.difference.hi <= 10
    with pytest.raises(UsageError, match="no prompt was sent both ways"):
        compare(rows[:1], METRICS["reward"], "reward", paired=True)


def test_the_interval_finds_a_gain_and_holds_without_one():
    found = compare(arms(3000, gain=0.5), METRICS["reward"], "reward")
    assert found.difference.side() == 1 and found.difference.lo < 0.5 < found.difference.hi
    held = [compare(arms(1500, seed=seed), METRICS["reward"], "reward").looks for seed in range(1, 21)]
    assert sum(not ((low > 0) | (high < 0)).any() for low, high in held) >= 18


def test_costs_are_those_of_the_rows():
    usage = {"input_tokens": 20, "output_tokens": 100}
    rows = [
        row(1, "rewritten", reward=1, usage=usage, tokens_added=8, rewrite_ms=30, first_byte_ms=200),
        row(2, "rewritten", reward=1, usage=usage, tokens_added=4, rewrite_ms=10, status=502),
        row(3, "original", reward=1, usage={"input_tokens": 10, "output_tokens": 50}, first_byte_ms=100),
    ]
    found = compare(rows, METRICS["reward"], "reward", prices=(1.0, 2.0))
    mine, theirs = found.sides["rewritten"], found.sides["original"]
    assert (mine.money, theirs.money) == pytest.approx((220e-6, 110e-6))
    assert (mine.answered, mine.first_byte_ms, theirs.first_byte_ms) == (0.5, 200, 100)
    assert (found.rewriting.tokens_added, found.rewriting.ms_median) == (6, 20)
    assert json.loads(json.dumps(found.tree()))["sides"]["original"]["input_tokens"] == 10


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(one.model_dump_json() + "\n" for one in arms(400, gain=2)))
    return path


def test_the_command_reads_logs_and_scores(inside, log, tmp_path):
    code, printed = inside("ab", str(log), "--prices=1,2", f"--out={tmp_path / 'ab.json'}")
    assert code == 0, printed
    assert "rewriting is better or higher; the 95% interval holds at every look together" in printed
    written = json.loads((tmp_path / "ab.json").read_text())
    assert written["metric"] == "reward" and written["difference"]["ci95"][0] > 0

    rows = [json.loads(line) for line in log.read_text().splitlines()]
    thumbs = tmp_path / "thumbs.csv"
    thumbs.write_text(
        "answer_id,thumb\n" + "".join(f"{r['answer_id']},{'up' if r['reward'] > 1 else 'down'}\n" for r in rows)
    )
    code, printed = inside("ab", str(log), f"--scores={thumbs}")
    assert code == 0 and "thumb, rewritten less original: 0." in printed and "exactly, within the bounds" in printed

    stars = tmp_path / "stars.jsonl"
    stars.write_text("".join(json.dumps({"id": r["id"], "stars": r["reward"]}) + "\n" for r in rows))
    code, printed = inside("ab", str(log), f"--scores={stars}", "--low=0", "--high=1")
    assert code == 2 and "--low and --high are bounds that no value can leave" in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--low=0"], "give both --low and --high"),
        (["--metric=tokens"], "the log has reward, answered"),
        (["--metric=output_tokens"], "nothing to compare by output_tokens: 0 rewritten, 0 original"),
        (["--prices=1"], "two numbers with a comma"),
        (["--scores=none.jsonl"], "none.jsonl"),
    ],
)
def test_what_cannot_be_compared_is_told(inside, log, words, says):
    code, printed = inside("ab", str(log), *words)
    assert code == 2 and says in " ".join(printed.split())
