"""`alignpro judge`: a run judged again without sampling, and agreement with people."""

import json
import shutil
import time

import pytest
from cli import copied, start
from scripted_judges import is_judging, obedient
from scripted_server import Reply, ScriptedServer, completion

from alignpro.remote.cache import AnswerCache
from alignpro.runtime.files import read_jsonl

PAIRS = [
    {
        "instruction": f"Name thing {i}.",
        "input": "",
        "response1": "eee" if i % 2 else "e",
        "response2": "ee",
        "annotator1": 1 if i % 2 else 2,
        "annotator2": 1 if i % 2 else 2,
        "annotator3": 0,
    }
    for i in range(8)
]


@pytest.fixture
def copy(trained, tmp_path):
    return copied(trained, tmp_path / "run")


def evaluation(run):
    return json.loads((run / "evaluation.json").read_text())


def judged(server):
    return sum(is_judging(request.prompt) for request in server.requests)


def test_a_judge_behind_a_url_adds_its_win_rates_and_touches_no_sample(inside, copy):
    before, samples = evaluation(copy), (copy / "samples.jsonl").read_bytes()
    with ScriptedServer(lambda request: Reply(body=completion(obedient(request.prompt)))) as server:
        words = ("judge", str(copy), f"--judge={server.url}#wise", "--judge.samples=2", "--judge.pairs=no_prompter")
        code, output = inside(*words)
        assert code == 0, output
        assert "judged by wise" in output
        asked = judged(server)
        code, output = inside(*words)
        assert code == 0, output
        assert judged(server) == asked > 0
    after = evaluation(copy)
    assert after["arms"] == before["arms"]
    assert [row for row in after["win_rates"] if row["judge"] != "wise"] == before["win_rates"]
    mine = [row for row in after["win_rates"] if row["judge"] == "wise"]
    assert {row["b"] for row in mine} == {"no_prompter"}
    assert sum(row["win"] + row["tie"] + row["loss"] for row in mine) == 3 * 4 * 2
    assert after["cost"]["judge"] == {"answers": asked, "input_tokens": 10 * asked, "output_tokens": 5 * asked}
    assert after["judges"]["wise"]["samples"] == 2
    assert (copy / "samples.jsonl").read_bytes() == samples
    lines = [row for row in read_jsonl(copy / "judgements.jsonl") if row["judge"] == "wise"]
    assert len(lines) == 24
    page = (copy / "report.html").read_text()
    assert "Judged comparisons" in page
    assert "wise compared 8 pairs of answers" in page
    assert "Because." in page


def test_a_killed_judging_asks_for_nothing_twice(inside, copy, tmp_path):
    stalled = []

    def stalls(request):
        if judged(server) > 9:
            stalled.append(request)
            return Reply(delay=600)
        return Reply(body=completion(obedient(request.prompt)))

    with ScriptedServer(stalls) as server:
        words = ("judge", str(copy), f"--judge={server.url}#wise", "--judge.samples=2")
        process = start(tmp_path, *words)
        until = time.monotonic() + 200
        while not stalled and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        assert stalled
        with AnswerCache(copy / "judge_answers.db") as kept:
            while len(kept) < 9 and time.monotonic() < until:
                time.sleep(0.05)
            assert len(kept) == 9
        process.kill()
        process.communicate()
        paid = dict(server.answered)
        server.script = lambda request: Reply(body=completion(obedient(request.prompt)))
        code, output = inside(*words)
        assert code == 0, output
        assert paid.keys() <= server.answered.keys()
        assert {count for prompt, count in server.answered.items() if is_judging(prompt)} == {1}


def test_a_reward_judges_again_and_its_former_win_rates_are_replaced(inside, copy):
    code, output = inside("judge", str(copy), "--evaluate.tie_margin=0.25")
    assert code == 0, output
    rows = evaluation(copy)["win_rates"]
    assert len(rows) == len({(row["a"], row["b"]) for row in rows}) == 6
    assert len(read_jsonl(copy / "judgements.jsonl")) == 6 * 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["judge"], "give the folder of the run to judge"),
        (["judge", "nowhere"], "holds no run"),
        (["judge", "RUN", "--train.steps=3"], "`judge` can change judge.*, evaluate.judge, evaluate.tie_margin"),
        (["judge", "RUN", "--judge.prompt=3"], "unknown setting judge.prompt, did you mean judge.prompts?"),
        (["judge", "--agreement=pairs.json"], "agreement of which judge? give --judge"),
        (["judge", "--agreement=nowhere.json", "--judge=lab"], "nowhere.json: cannot be read"),
        (["judge", "RUN", "--agreement=pairs.json", "--judge=lab"], "not both"),
    ],
)
def test_wrong_usage_is_told_in_a_line(inside, trained, workshop, words, says):
    (workshop / "pairs.json").write_text(json.dumps(PAIRS))
    code, output = inside(*(str(trained) if word == "RUN" else word for word in words))
    assert code == 2
    assert says in output
    assert len(output.strip().splitlines()) == 1


def test_a_run_without_an_evaluation_has_nothing_to_judge(inside, copy):
    (copy / "evaluation.json").unlink()
    code, output = inside("judge", str(copy))
    assert code == 2
    assert "holds no finished evaluation to judge" in output


def test_agreement_with_people_of_a_judge_behind_a_url_and_of_a_reward(inside, workshop, tmp_path):
    (workshop / "pairs.json").write_text(json.dumps(PAIRS))
    with ScriptedServer(lambda request: Reply(body=completion(obedient(request.prompt)))) as server:
        words = ["--agreement=pairs.json", f"--judge={server.url}#wise", f"--out={tmp_path / 'agreement'}"]
        code, output = inside("judge", *words)
        assert code == 0, output
        asked = judged(server)
        assert inside("judge", *words)[0] == 0
        assert judged(server) == asked == 16
    found = json.loads((tmp_path / "agreement" / "agreement.json").read_text())
    assert found["with_majority"]["agreement"] == 1
    assert found["people"]["agreement"] == pytest.approx(1 / 3)
    assert found["cost"]["answers"] == 16
    code, output = inside("judge", "--agreement=pairs.json", "--judge=python:rewards:length", "--limit=4")
    assert code == 0, output
    assert "4 pairs" in output
    shutil.rmtree(workshop / "runs")
