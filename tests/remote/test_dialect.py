"""What servers refuse to be told, in their own words, and how they are asked then."""

import pytest
from scripted_server import Reply, ScriptedServer, completion, echo, fault

from alignpro import config
from alignpro.config import Sampling
from alignpro.errors import EndpointUnusable
from alignpro.remote.dialect import NEUTRAL, Dialect
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.opened import Endpoints
from alignpro.remote.pool import Policy
from alignpro.remote.wire import Refused
from alignpro.runtime.files import read_jsonl

QUICK = Policy(timeout=200, connect=200, first_wait=0.01, longest_wait=0.1, patience=200, most_concurrency=32)
OPTIONS = Dialect().options(Sampling(temperature=0.7, top_p=0.9), 3)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ALIGNPRO_API_KEY", raising=False)


WORDS = {
    "openai": ("Unsupported parameter: 'top_p' is not supported with this model.", "top_p", "top_p"),
    "openai reasoning": (
        "Unsupported value: 'temperature' does not support 0.7. Only the default (1) value is supported.",
        "temperature",
        "temperature",
    ),
    "azure": ("Unrecognized request argument supplied: seed", "", "seed"),
    "anthropic": (
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        "",
        "top_p",
    ),
    "gemini": (
        'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.',
        "",
        "frequency_penalty",
    ),
    "gemini's own names": ("* GenerateContentRequest.generation_config.topP: must be in (0, 1)", "", "top_p"),
    "vllm": (
        "[{'type': 'extra_forbidden', 'loc': ('body', 'min_p'), 'msg': 'Extra inputs are not permitted', 'input': 0}]",
        "",
        "min_p",
    ),
    "groq": ("property 'repetition_penalty' is unsupported", "", "repetition_penalty"),
    "tgi": ("Input validation error: `temperature` must be strictly positive", "", "temperature"),
    "xai": ("Argument not supported on this model: presencePenalty", "", "presence_penalty"),
    "a list of what is known": ("seed is not supported; supported are temperature and top_k", "", "seed"),
}


@pytest.mark.parametrize("server", WORDS)
def test_the_option_that_a_refusal_names_is_left_out(server):
    message, param, named = WORDS[server]
    other = Dialect().otherwise(OPTIONS, Refused(400, message, param))
    assert other is not None and other.lacks == {named} and other.length == "max_tokens"
    assert named not in other.options(Sampling(), 3)
    assert other.otherwise(other.options(Sampling(), 3), Refused(400, f"{named} is wrong", "")) is None


def test_of_temperature_and_top_p_the_one_that_says_nothing_goes_first():
    both = Refused(400, "temperature and top_p cannot both be given", "")
    for temperature, top_p, gone in ((1.0, 0.9, "temperature"), (0.5, 1.0, "top_p"), (1.0, 1.0, "top_p")):
        options = Dialect().options(Sampling(temperature=temperature, top_p=top_p), 0)
        assert Dialect().otherwise(options, both).lacks == {gone}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 4096 tokens"),
        (400, "max_tokens is too large: 5000"),
        (400, "the prompt's topic is not allowed"),
        (413, "temperature"),
    ],
)
def test_a_refusal_of_something_else_changes_nothing(status, message):
    assert Dialect().otherwise(OPTIONS, Refused(status, message, "")) is None


def test_the_most_tokens_are_called_otherwise_once():
    refusal = Refused(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens")
    other = Dialect().otherwise(OPTIONS, refusal)
    assert other.length == "max_completion_tokens" and not other.lacks
    back = Refused(400, "Unknown name 'max_completion_tokens'", "")
    assert other.otherwise(OPTIONS, back) is None


def test_greedy_is_temperature_0_and_every_setting_is_sent():
    assert Dialect().options(Sampling(top_k=1), 5)["temperature"] == 0
    assert Dialect().options(Sampling(top_k=7), 5) == {
        **NEUTRAL,
        "top_k": 7,
        "temperature": 1.0,
        "top_p": 1.0,
        "seed": 5,
    }


def anthropic(request):
    """No option that is not known, and one of temperature and top_p."""
    sent = request.body
    if extra := sorted(sent.keys() & {*NEUTRAL, "seed"}):
        return Reply(400, fault(f"{extra[0]}: Extra inputs are not permitted", type="invalid_request_error"))
    if {"temperature", "top_p"} <= sent.keys():
        return Reply(400, fault("`temperature` and `top_p` cannot both be specified for this model."))
    return echo(request)


def reasoning(request):
    """Nothing but its own temperature, top_p and name of the most tokens."""
    for name in ("temperature", "top_p", "max_tokens"):
        if name in request.body:
            return Reply(400, fault(f"Unsupported parameter: '{name}' is not supported.", param=name))
    return echo(request)


@pytest.mark.parametrize(
    ("script", "gone"), [(anthropic, {*NEUTRAL, "seed", "top_p"}), (reasoning, {"temperature", "top_p"})]
)
def test_a_strict_server_answers_all_and_what_it_lacks_is_said_once_and_kept(script, gone, tmp_path):
    said = []
    with ScriptedServer(script) as server:
        endpoints = Endpoints(say=said.append)
        model = endpoints.load(f"{server.url}#tiny", Sampling(max_new_tokens=16), config.EndpointSettings())
        try:
            endpoints.check()  # before there is a folder
            endpoints.keep(tmp_path)
            asked = len(server.requests)
            rows = model.respond([f"prompt {i}" for i in range(20)], [2] * 20, 0)
        finally:
            endpoints.close()
        assert all(answer.failure is None for row in rows for answer in row)
        assert len(server.requests) == asked + 20  # all is learnt by the first request
        assert not gone & server.requests[-1].body.keys()
    notices = read_jsonl(tmp_path / "notices.jsonl")
    assert {row["about"] for row in notices} == {f"{server.url} without {name}" for name in gone}
    assert said == [f"note: {row['text']}" for row in notices]
    with ScriptedServer(script) as server:  # said again in another folder's run, not in the same one
        endpoints = Endpoints(say=said.append)
        endpoints.load(f"{server.url}#tiny", Sampling(), config.EndpointSettings())
        endpoints.keep(tmp_path)
        endpoints.close()
    assert read_jsonl(tmp_path / "notices.jsonl") == notices


def test_one_prompt_that_is_refused_in_an_options_words_changes_nothing_for_the_others():
    def script(request):
        if "weather" in request.prompt:
            return Reply(400, fault("the temperature of this question is too high"))
        return echo(request)

    with ScriptedServer(script) as server, load_endpoint(f"{server.url}#tiny", Sampling(), policy=QUICK) as model:
        (good,), (bad,), (later,) = model.respond(["owls", "weather", "cats"], [1, 1, 1], 0)
        assert bad.failure.startswith("refused (400): the temperature") and not (good.failure or later.failure)
        model.respond(["dogs"], [1], 0)
        assert "temperature" in server.requests[-1].body


def test_n_is_tried_before_options_are_left_out():
    def script(request):
        return Reply(400, fault("unsupported: several choices")) if "n" in request.body else echo(request)

    with ScriptedServer(script) as server, load_endpoint(f"{server.url}#tiny", Sampling(), policy=QUICK) as model:
        model.respond(["a"], [4], 0)
        assert NEUTRAL.keys() <= server.requests[-1].body.keys()


def equal(request):
    return Reply(body=completion(*["Yes."] * request.body.get("n", 1)))


def test_short_equal_samples_of_one_request_are_asked_for_one_by_one_and_said():
    told = {}
    with (
        ScriptedServer(equal) as server,
        load_endpoint(f"{server.url}#tiny", Sampling(), policy=QUICK, tell=told.setdefault) as model,
    ):
        (row,) = model.respond(["a"], [4], 0)
        assert [answer.text for answer in row] == ["Yes."] * 4
        assert [request.body.get("n") for request in server.requests] == [4, None, None, None]
        assert len({request.body["seed"] for request in server.requests[1:]}) == 3
        assert "one by one" in told[f"equal samples {server.url}"]
        books = model.account.report()["tiny"]
        assert books["output_tokens"] == 7 * 5  # what was not taken for samples was paid for all the same


def test_greedy_samples_are_equal_by_right():
    with (
        ScriptedServer(equal) as server,
        load_endpoint(f"{server.url}#tiny", Sampling(top_k=1), policy=QUICK) as model,
    ):
        model.respond(["a"], [4], 0)
        assert len(server.requests) == 1


def test_a_server_that_refuses_whatever_is_sent_is_told_of_in_its_own_words():
    with (
        ScriptedServer(lambda r: Reply(400, fault("temperature must be a poem"))) as server,
        load_endpoint(f"{server.url}#tiny", Sampling(), policy=QUICK) as model,
        pytest.raises(EndpointUnusable, match="temperature must be a poem"),
    ):
        model.check()
