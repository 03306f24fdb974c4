"""A prompter behind a URL: how it is asked, what is read, and its arm in a comparison."""

import json
import math
from urllib.parse import quote

import pytest
from cli import settings
from scripted_server import Reply, ScriptedServer, completion

from alignpro.config import META_PROMPT, OtherPrompterSettings, Sampling
from alignpro.config.naming import named
from alignpro.errors import SettingsError
from alignpro.evaluate import arms
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.prompter import EndpointPrompter, frame_of
from alignpro.running import job
from alignpro.running.plan import plan_lines
from alignpro.types import Prompt, Turn

PROMPTS = [
    Prompt("tell me about owls"),
    Prompt("and rain?", "be brief", (Turn("user", "hi"), Turn("assistant", "yes"))),
]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ALIGNPRO_API_KEY", raising=False)


def rewriting(request):
    texts = [f"Sure!\n<rewrite>better {request.body['seed']} {i}</rewrite>" for i in range(request.body.get("n", 1))]
    return Reply(body=completion(*texts))


def prompter_at(server, **own):
    told = OtherPrompterSettings(name="other", model=f"{server.url}#tiny", **own)
    return EndpointPrompter(load_endpoint(told.model, told.sampling, frame=frame_of(told)))


def test_it_is_asked_as_a_prompter_here_is_and_read_alike():
    with ScriptedServer(rewriting) as server:
        prompter = prompter_at(server, system="You rewrite.")
        ((first, second), (third, _)) = prompter.rewrite(PROMPTS, 2, 0)
    assert all(g.text.startswith("better ") and g.failure is None for g in (first, second, third))
    assert first.text != second.text
    asked = {request.body["messages"][-1]["content"]: request.body["messages"] for request in server.requests}
    alone = next(text for text in asked if "owls" in text)
    assert alone == META_PROMPT.replace("{fenced}", "<request>\ntell me about owls\n</request>")
    (talk,) = (text for text in asked if "rain" in text)
    assert "System: be brief" in talk and "User: hi" in talk and "Assistant: yes" in talk
    assert [turn["role"] for turn in asked[talk]] == ["system", "user"]


def test_with_a_seed_for_each_prompt_it_draws_what_it_would_draw_alone():
    with ScriptedServer(rewriting) as server:
        prompter = prompter_at(server)
        together = prompter.rewrite(PROMPTS, 1, [7, 8])
        assert [prompter.rewrite([x], 1, seed)[0] for x, seed in zip(PROMPTS, (7, 8), strict=True)] == together


def test_what_cannot_be_read_is_a_failure_and_the_whole_text_is_x_new_without_marks():
    texts = iter(("<think>hm", "Tell me of owls.", "<rewrite></rewrite>"))
    with ScriptedServer(lambda request: Reply(body=completion(next(texts)))) as server:
        prompter = prompter_at(server, template="Improve: {prompt}")
        thought, plain, empty = (prompter.rewrite([Prompt(x)], 1, 0)[0][0] for x in "abc")
        assert server.requests[1].prompt == "Improve: b"
    assert (plain.text, plain.failure, empty.failure) == ("Tell me of owls.", None, "empty rewrite")
    assert "no answer after its thought" in thought.failure


def test_its_arm_is_compared_counted_and_planned(workshop, spy, tmp_path):
    with ScriptedServer(rewriting) as server:
        bpo = {
            "name": "bpo",
            "model": f"{server.url}#bpo",
            "template": "Improve: {prompt}",
            "endpoint": {"key": "none"},
        }
        own = [bpo | {"sampling": {"max_new_tokens": 9, "temperature": 0.7}}]
        listed = json.dumps(["no_prompter", "prompter:bpo", f"prompter:{server.url}#tiny"])
        asked = settings(
            workshop,
            "reward.model=python:rewards:spy",
            f"evaluate.arms={listed}",
            "train.steps=0",
            f"evaluate.prompters={json.dumps(own)}",
        )
        planned = "\n".join(plan_lines(asked, ["evaluation"]))
        summary = job.run(asked, tmp_path)
    named_arms = ["prompter:bpo", f"prompter:{server.url}#tiny"]
    assert list(summary.arms) == ["no_prompter", *named_arms]
    samples = summary.prompts * summary.responses_per_prompt
    for name, model in zip(named_arms, ("bpo", "tiny"), strict=True):
        assert math.isnan(summary.arms[name].kl.value)
        assert summary.arms[name].frozen_calls == samples
        assert summary.cost.endpoints[model]["output_tokens"] == 5 * (samples + 1)  # and one before it began
        assert f"rewrites that it will ask of {server.url}#{model}" in planned
        assert (tmp_path / "arms" / f"{quote(name, safe='')}.json").is_file()
    own = [request.body for request in server.requests if request.body["model"] == "bpo"]
    assert {(body["max_tokens"], body["temperature"]) for body in own if body["max_tokens"] > 1} == {(9, 0.7)}
    assert all(body["messages"][0]["content"].startswith("Improve: ") for body in own if body["max_tokens"] > 1)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert all(row["rewrite"].startswith("better ") for row in rows if row["arm"] in named_arms)
    assert "By bpo" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["evaluate.arms=[prompter:bpo]"], "names prompter:bpo, but evaluate.prompters names no model"),
        (["evaluate.arms=['prompter:']"], "unknown arm 'prompter:'"),
        (
            ["evaluate.arms=[prompter:bpo]", "evaluate.prompters=[{name: bpo, model: some/folder}]"],
            "its model, some/folder, is behind no URL",
        ),
        (["evaluate.prompters=[{name: a, model: b}, {name: a, model: c}]"], "two of prompters have one name"),
        (["evaluate.prompters=[{name: 'a/b', model: b}]"], "evaluate.prompters"),
    ],
)
def test_wrong_names_are_told_before_anything_is_loaded(given, message, workshop):
    with pytest.raises(SettingsError, match=message):
        arms.check(settings(workshop, *given))


def test_a_template_that_loses_the_prompt_is_refused_and_hosts_are_named(workshop):
    with pytest.raises(SettingsError, match=r"evaluate\.prompters bpo\.template"):
        frame_of(OtherPrompterSettings(name="bpo", model="openai:m", template="Improve it", sampling=Sampling()))
    listed = named(settings(workshop, "evaluate.arms=[no_prompter, 'prompter:http://a/v1#m']"))
    assert listed["evaluate.arms.1"] == "prompter:http://a/v1#m"
