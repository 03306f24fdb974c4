"""Conversations with rows behind them, through whole runs: what each model is shown, and what each reward and judge
gets."""

import json
import re
import sys

import pytest
from cli import ESTIMATE, SMALL
from scripted_server import Reply, ScriptedServer, completion

from alignpro.runtime.files import read_json, read_jsonl

QUESTIONS = 24
REWARD = """
seen = []

def score(prompts, responses, conversations, answer, finish):
    seen.extend(zip(prompts, responses, conversations, answer, finish))
    return [len(response) / 10 for response in responses]

def column_that_is_not_there(prompts, responses, gold):
    return [0.0] * len(prompts)

def texts_alone(prompts, responses):
    return [float(len(response)) for response in responses]
"""


def text_of(i):
    return f"who am i {i % 8}"


def turns(i):
    return [
        {"role": "developer", "content": f"be brief {i % 2}"},
        {"role": "user", "content": f"i am person {i}"},
        {"role": "assistant", "content": [{"type": "text", "text": f"hello person {i}"}]},
        {"role": "user", "content": text_of(i)},  # the same text after several conversations
    ]


def shown(i, text=None):
    """The messages that a frozen model is to get."""
    own = turns(i)
    own[0]["role"], own[2]["content"] = "system", f"hello person {i}"
    own[-1]["content"] = text or own[-1]["content"]
    return own


@pytest.fixture
def chats(workshop, tmp_path, monkeypatch):
    """A folder with the data and the rewards, as the working folder."""
    rows = [{"messages": turns(i), "answer": f"secret {i}", "place": i} for i in range(QUESTIONS)]
    rows += [{"messages": [{"role": "tool", "content": "x"}], "answer": "", "place": 0}]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "told_rewards.py").write_text(REWARD)
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in {"NO_PROXY": "127.0.0.1", "ALIGNPRO_API_KEY": "", "OPENAI_BASE_URL": ""}.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    sys.modules.pop("told_rewards", None)


def words(workshop, chats, frozen, *more, reward="score"):
    named = [
        f"--prompter={workshop / 'prompter'}",
        f"--frozen={frozen}",
        f"--reward=python:told_rewards:{reward}",
        f"--prompts={chats / 'chats.jsonl'}",
        "--prompter.template={fenced} better:",
        "--data.test_share=0.5",
    ]
    few = ("--train.steps=2", "--evaluate.every=1", "--evaluate.arms=[no_prompter,reference_prompter,align_pro]")
    return [*SMALL, *named, *few, *(f"--{word}" for word in ESTIMATE), *more]


def said_by_server(request):
    last = request.body["messages"][-1]["content"]
    if "VERDICT" in last:
        mark = re.search(r"bear the mark (\w+)", last)[1]
        assert f"BEGIN CONVERSATION BEFORE THE REQUEST {mark}\n| System: be brief" in last
        assert "secret" not in last
        return Reply(body=completion(f"A is better.\nVERDICT {mark} A=8 B=3"))
    return Reply(body=completion(*(f"{last} {i}" for i in range(request.body.get("n", 1)))))


def test_a_conversation_reaches_everyone_whole_and_its_row_no_model(workshop, chats, inside):
    out = chats / "run"
    with ScriptedServer(said_by_server) as server:
        judge = f"--evaluate.judge={server.url}#judge"
        code, output = inside("run", *words(workshop, chats, f"{server.url}#tiny", judge), f"--out={out}")
        assert code == 0, output
        assert "1 prompts left out" in output
        code, output = inside("headroom", str(out), "--headroom.prompts=4")
        assert code == 0, output
        asked = [request.body["messages"] for request in server.requests if request.body["model"] == "tiny"]
    conversations = [messages for messages in asked if len(messages) > 1]  # one token is asked for, to see who is there
    assert len(asked) - len(conversations) <= 2 and len(conversations) > 50
    for messages in conversations:
        i = int(re.search(r"person (\d+)", messages[1]["content"])[1])
        assert messages == shown(i, messages[-1]["content"])
    assert any(messages[-1]["content"].startswith("who am i") for messages in conversations)
    assert "secret" not in json.dumps(asked)

    seen = sys.modules["told_rewards"].seen
    for prompt, response, conversation, answer, finish in seen:
        i = int(answer.removeprefix("secret "))
        assert prompt == text_of(i) and conversation == shown(i) and finish == "stop"
        assert response  # and of the rewrite there is nothing to be seen but what the answer repeats
    assert len({answer for *_, answer, _ in seen}) == QUESTIONS  # twin texts stay rows of their own

    evaluation = read_json(out / "evaluation.json")
    samples = [row for row in read_jsonl(out / "samples.jsonl") if row["stage"] == "evaluation"]
    tested = {row["row"]["answer"] for row in samples}
    assert len(tested) == evaluation["prompts"] == len({row["prompt_id"] for row in samples})
    trained = {row[3] for row in seen} - tested
    assert trained and not {row["row"]["answer"] for row in read_jsonl(out / "samples.jsonl")} & trained
    assert samples[0]["system"].startswith("be brief") and samples[0]["history"][0][0] == "user"
    assert evaluation["win_rates"][0]["judge"] == "judge" and not evaluation["win_rates"][0]["unparsed"]
    assert len({row["prompt"] for row in read_jsonl(out / "headroom_samples.jsonl")}) == 4
    page = (out / "report.html").read_text()
    assert "Said before x" in page and "hello person" in page and "secret" in page

    with ScriptedServer(said_by_server) as server:  # judged anew, from the folder alone
        code, output = inside("judge", str(out), f"--judge={server.url}#other")
        assert code == 0, output
        assert server.requests


def test_local_models_too_and_the_rollouts_of_an_offline_method(workshop, chats, inside):
    out = chats / "run"
    offline = ("--train.method=dpo", "--train.rewrites=3", "--evaluate.arms=[no_prompter,align_pro,gibbs_2]")
    code, output = inside("run", *words(workshop, chats, workshop / "frozen", *offline), f"--out={out}")
    assert code == 0, output
    gathered = read_jsonl(out / "rollouts.jsonl")
    assert len({row["prompt"] for row in gathered}) == len(gathered) > 1
    assert len({row["row"]["place"] for row in read_jsonl(out / "samples.jsonl")}) > 1


@pytest.mark.parametrize(
    ("reward", "more", "told"),
    [
        ("column_that_is_not_there", (), "names 'gold', and no row of the data has such a column; there are answer"),
        ("score", ("--reward.arguments={answer: 1}",), "the data has a column 'answer', as a parameter is called"),
    ],
)
def test_what_a_reward_lacks_is_told_before_anything_is_asked(workshop, chats, inside, reward, more, told):
    code, output = inside(
        "run", *words(workshop, chats, workshop / "frozen", *more, reward=reward), f"--out={chats / 'run'}"
    )
    assert code == 2 and told in output
    assert not (chats / "run").exists()


def test_a_reward_of_texts_alone_is_told_that_it_sees_the_last_turn(workshop, chats, inside):
    more = ("--frozen.system=be kind", "--train.steps=0", "--evaluate.arms=[no_prompter]")
    given = words(workshop, chats, workshop / "frozen", *more, reward="texts_alone")
    code, output = inside("run", *given, f"--out={chats / 'run'}")
    assert code == 0, output
    assert f"sees the last turn alone of {QUESTIONS} prompts" in " ".join(output.split())
    assert f"{QUESTIONS} of {QUESTIONS} prompts have a system message of their own" in " ".join(output.split())
