"""Every endpoint its own key, headers, query and fields, by name and never by value; and every form of a base URL."""

import logging

import pytest
from scripted_server import Reply, ScriptedServer, completion, fault
from yarl import URL

from alignpro import config
from alignpro.config import EndpointSettings, Sampling
from alignpro.errors import EndpointUnusable, SettingsError
from alignpro.remote.access import access_to
from alignpro.remote.address import chat_url, parse_endpoint
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.opened import Endpoints
from alignpro.remote.pool import Policy
from alignpro.running.load import load
from alignpro.runtime.run_folder import MAY_CHANGE

QUICK = Policy(timeout=200, connect=200, first_wait=0.01, longest_wait=0.1, patience=200)
SECRETS = {
    "MY_KEY": "key/of+mine==0123456789",
    "GATE_PASS": "gate-pass-0123456789",
    "QUERY_CODE": "code&of?query-0123456789",
    "BODY_TOKEN": "token-of-the-body-0123456789",
}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name in ("ALIGNPRO_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://api.example.com", "http://api.example.com/chat/completions"),
        ("http://api.example.com/", "http://api.example.com/chat/completions"),
        ("http://api.example.com:8000", "http://api.example.com:8000/chat/completions"),
        ("HTTPS://API.example.com/v1", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com/v1//", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com/v1/chat/completions", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com/v1/chat/completions/", "https://api.example.com/v1/chat/completions"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/chat/completions"),
        ("http://127.0.0.1:1/a/b", "http://127.0.0.1:1/a/b/chat/completions"),
        (
            "https://me.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai/",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        ),
    ],
)
def test_every_form_of_a_base_url_asks_the_host_that_it_names(given, asked):
    endpoint = parse_endpoint(f"{given}#org/m")
    (url,) = endpoint.urls
    assert endpoint.model == "org/m" and URL(chat_url(url)) == URL(asked)
    assert URL(chat_url(url)).host == URL(given).host and "?" not in endpoint.identity
    assert parse_endpoint(f" {given} #m, http://b/v1 ").urls == (url, "http://b/v1")


def test_a_base_url_of_the_environment_is_read_alike(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", " http://h:1/v1/chat/completions/ ")
    assert parse_endpoint("openai:m").urls == ("http://h:1/v1",)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h:1/v1#m")  # a fragment would swallow the path
    with pytest.raises(EndpointUnusable, match="no URL of an endpoint"):
        parse_endpoint("openai:m")


@pytest.mark.parametrize(
    "leak", ["http://a/v1?key=s3cret#m", "http://a/v1?x=1&api_key=s3cret#m", "http://s3cret@a/v1#m"]
)
def test_a_url_holds_no_secret(leak):
    with pytest.raises(EndpointUnusable) as caught:
        parse_endpoint(leak)
    assert "s3cret" not in str(caught.value) and "endpoint." in str(caught.value)


def test_all_that_an_endpoint_is_told_is_sent_and_no_secret_is_seen_anywhere(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    settings = EndpointSettings(
        key="MY_KEY",
        key_header="X-Api-Key",
        headers={"anthropic-version": "2023-06-01", "X-Gate-Auth": "Gate ${GATE_PASS}"},
        query={"api-version": "2024-10-21", "code": "${QUERY_CODE}"},
        body={"reasoning_effort": "low", "user": {"token": "${BODY_TOKEN}"}},
    )
    heard = []

    def leaky(request):
        heard.append(request)
        told = f"{request.headers} {request.body}"
        if "bad" in request.prompt:
            return Reply(400, fault(f"no: {told}"))
        return Reply(body=completion(f"you sent {told} to {request.path}"))

    with (
        ScriptedServer(leaky) as server,
        load_endpoint(f"{server.url}#tiny", Sampling(), cache=tmp_path / "c", policy=QUICK, settings=settings) as model,
    ):
        rows = model.respond(["good", "bad"], [1, 1], 0)
        seen = [repr(rows), repr(vars(model)), repr(model._requests), repr(model._requests.client.access), caplog.text]
    sent = heard[0]
    assert sent.headers["x-api-key"] == SECRETS["MY_KEY"] and "authorization" not in sent.headers
    assert sent.headers["x-gate-auth"] == f"Gate {SECRETS['GATE_PASS']}"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert dict(URL(sent.path).query) == {"api-version": "2024-10-21", "code": SECRETS["QUERY_CODE"]}
    assert sent.body["reasoning_effort"] == "low" and sent.body["user"] == {"token": SECRETS["BODY_TOKEN"]}
    seen += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    assert "[key]" in rows[0][0].text and "[key]" in rows[1][0].failure
    for secret in SECRETS.values():
        assert not any(secret in text for text in seen)


def sent_to(spec, **settings):
    return dict(access_to(parse_endpoint(spec), EndpointSettings(**settings)).headers)


def test_the_key_goes_where_its_provider_looks_for_it(monkeypatch):
    key = SECRETS["MY_KEY"]
    assert sent_to("http://h/v1#m", key="MY_KEY")["Authorization"] == f"Bearer {key}"
    azure = "https://me.openai.azure.com/openai/v1#m"
    assert sent_to(azure, key="MY_KEY")["api-key"] == key and "Authorization" not in sent_to(azure, key="MY_KEY")
    assert sent_to(azure, key="MY_KEY", key_header="Authorization")["Authorization"] == f"Bearer {key}"
    assert sent_to("http://h/v1#m", key="none").keys() == {"User-Agent"}
    assert sent_to("openai:m", key="MY_KEY")["Authorization"] == f"Bearer {key}"
    monkeypatch.setenv("MY_KEY", "two\nlines")
    with pytest.raises(SettingsError, match="Authorization") as caught:
        sent_to("http://h/v1#m", key="MY_KEY")
    assert "two" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"key": "NOT_SET"}, "endpoint.key"), ({"headers": {"X-Key": "${NOT_SET}"}}, "endpoint.headers")],
)
def test_a_variable_that_is_not_set_is_named(settings, named):
    with pytest.raises(EndpointUnusable, match=f"{named} names the environment variable NOT_SET"):
        sent_to("http://h/v1#m", **settings)


@pytest.mark.parametrize(
    "given",
    [
        "key=sk-proj-s3cret",
        "key=0123456789abcdef0123456789abcdef",
        "headers={x-api-key: s3cret}",
        "headers={X-Mine: Bearer s3cret}",
        "query={key: s3cret}",
        "query={code: sk-s3cret}",
        "body={extra: {api_key: s3cret}}",
        "body={extra: [{auth: s3cret}]}",
    ],
)
def test_a_secret_in_the_settings_is_refused_and_not_repeated(given):
    with pytest.raises(SettingsError) as caught:
        config.load("local", [f"frozen.endpoint.{given}"])
    told = str(caught.value)
    assert "frozen.endpoint" in told and "environment variable" in told
    assert "s3cret" not in told and "0123456789" not in told


def test_fields_that_other_settings_decide_are_refused():
    for name in ("temperature", "stream", "max_tokens", "model"):
        with pytest.raises(SettingsError, match=name):
            config.load("local", [f"judge.endpoint.body={{{name}: 1}}"])
    loaded = config.load("local", ["frozen.endpoint.body={chat_template_kwargs: {enable_thinking: false}}"])
    assert loaded.frozen.endpoint.body == {"chat_template_kwargs": {"enable_thinking": False}}


def test_what_yaml_reads_as_a_date_or_a_number_is_text_and_what_is_no_secret_is_taken():
    given = ["query={api-version: 2024-10-21, v: 2}", "body={prompt_cache_key: owls, stop_token: '</s>', top_a: 0.5}"]
    endpoint = config.load("local", [f"frozen.endpoint.{one}" for one in given]).frozen.endpoint
    assert endpoint.query == {"api-version": "2024-10-21", "v": "2"}
    assert endpoint.body == {"prompt_cache_key": "owls", "stop_token": "</s>", "top_a": 0.5}


def test_one_key_is_not_sent_to_several_hosts_unless_it_is_named_for_each(monkeypatch):
    monkeypatch.setenv("ALIGNPRO_API_KEY", "key-of-one-host-alone")
    plain, own = EndpointSettings(), EndpointSettings(key="MY_KEY")

    def load(*endpoints):
        held = Endpoints()
        try:
            for spec, settings in endpoints:
                held.load(spec, Sampling(), settings)
            return [model._requests.client.access.headers.get("Authorization") for model in held.models]
        finally:
            held.close()

    with pytest.raises(SettingsError, match=r"a\.example and b\.example.*--judge\.endpoint\.key"):
        load(("http://a.example/v1#m", plain), ("http://b.example/v1#n", plain))
    mine = f"Bearer {SECRETS['MY_KEY']}"
    shared = "Bearer key-of-one-host-alone"
    assert load(("http://a.example/v1#m", plain), ("http://b.example/v1#n", own)) == [shared, mine]
    assert load(("http://a.example/v1#m", plain), ("http://b.example/v1#n", EndpointSettings(key="none"))) == [
        shared,
        None,
    ]
    assert load(("http://a.example:1/v1#m", plain), ("http://a.example:2/v1#n", plain)) == [shared] * 2
    assert load(("http://a.example/v1,http://b.example/v1#m", plain)) == [shared]
    named = EndpointSettings(key="ALIGNPRO_API_KEY")
    assert load(("http://a.example/v1#m", named), ("http://b.example/v1#n", named)) == [shared] * 2
    monkeypatch.delenv("ALIGNPRO_API_KEY")
    assert len(load(("http://a.example/v1#m", plain), ("http://b.example/v1#n", plain))) == 2


def test_further_fields_decide_answers_and_nothing_else_does(tmp_path):
    def ask(**settings):
        with load_endpoint(
            f"{server.url}#tiny",
            Sampling(),
            cache=tmp_path / "c",
            policy=QUICK,
            identity="pool",
            settings=EndpointSettings(**settings),
        ) as model:
            model.respond(["a"], [1], 0)
            return len(server.requests)

    with ScriptedServer() as server:
        assert ask() == 1
        assert ask(key="MY_KEY", headers={"X-A": "b"}, query={"api-version": "1"}) == 1
        assert ask(body={"reasoning_effort": "low"}) == 2
        assert ask(body={"reasoning_effort": "high"}) == 3
    for section in ("frozen.endpoint", "reward.endpoint", "judge.endpoint", "evaluate.second_reward_endpoint"):
        assert MAY_CHANGE.match(f"{section}.key") and MAY_CHANGE.match(f"{section}.query.api-version")
        assert not MAY_CHANGE.match(f"{section}.body.reasoning_effort")


def test_each_piece_of_a_run_is_asked_with_its_own_key(monkeypatch):
    sections = {
        "frozen": ("frozen.model", "frozen.endpoint"),
        "reward": ("reward.model", "reward.endpoint"),
        "second": ("evaluate.second_reward", "evaluate.second_reward_endpoint"),
        "judge": ("evaluate.judge", "judge.endpoint"),
    }
    with ScriptedServer() as server:
        given = []
        for name, (model, endpoint) in sections.items():
            monkeypatch.setenv(f"KEY_OF_{name.upper()}", f"key-of-the-{name}")
            given += [f"{model}={server.url}#{name}", f"{endpoint}.key=KEY_OF_{name.upper()}"]
            given += [f"{endpoint}.headers={{X-Piece: {name}}}"]
        pieces = load(config.load("local", given), {"frozen", "reward", "second_reward", "judge"})
        pieces.endpoints.close()
    sent = {r.body["model"]: (r.headers["authorization"], r.headers["x-piece"]) for r in server.requests}
    assert sent == {name: (f"Bearer key-of-the-{name}", name) for name in sections}
    dumped = config.dump(config.load("local", given))
    assert "KEY_OF_JUDGE" in dumped and "key-of-the" not in dumped
