"""What the server says of itself is what it does: its description is sound, and its answers are as that says."""

import json
import re
from importlib.resources import files

import pytest
from standing import Scripted, running, standing, user

from alignpro.serve.link import Rewritten
from alignpro.serve.receiving import Refused

jsonschema = pytest.importorskip("jsonschema")
TOLD = json.loads((files("alignpro.serve") / "openapi.json").read_text(encoding="utf-8"))


def meant(tree):
    """A part of the description, references replaced by what they name."""
    if isinstance(tree, dict) and "$ref" in tree:
        found = TOLD
        for name in tree["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return meant(found)
    if isinstance(tree, dict):
        return {name: meant(one) for name, one in tree.items()}
    return [meant(one) for one in tree] if isinstance(tree, list) else tree


def schemas(tree):
    """Every schema in it."""
    if isinstance(tree, dict):
        yield from (one for name, one in tree.items() if name == "schema")
        for one in tree.values():
            yield from schemas(one)
    elif isinstance(tree, list):
        for one in tree:
            yield from schemas(one)


def test_it_is_sound():
    assert TOLD["openapi"].startswith("3.1.")
    whole, ids = meant(TOLD), set()
    for path, methods in whole["paths"].items():
        assert path.startswith("/")
        for method, one in methods.items():
            assert method in ("get", "post")
            assert one["operationId"] not in ids
            ids.add(one["operationId"])
            assert one["summary"] and all(answer["description"] for answer in one["responses"].values())
            assert all(re.fullmatch(r"[1-5]\d\d|default", status) for status in one["responses"])
    for schema in [*schemas(whole), *whole["components"]["schemas"].values()]:
        jsonschema.Draft202012Validator.check_schema(schema)
    for needed in TOLD["security"]:
        assert set(needed) <= set(TOLD["components"]["securitySchemes"])


def check(path, method, status, headers, body):
    """That an answer is one that the description has."""
    answers = meant(TOLD["paths"][path][method]["responses"])
    answer = answers[str(status)]
    content = answer["content"][headers["Content-Type"].partition(";")[0]]
    if "json" in headers["Content-Type"]:
        jsonschema.validate(json.loads(body), content["schema"])
    own = {name: value for name, value in headers.items() if name.lower().startswith("x-alignpro")}
    for name, value in own.items():
        jsonschema.validate(value, answer["headers"][name.lower()]["schema"])
    return own


def test_answers_are_as_it_says():
    async def test():
        script = Scripted(lambda x: Rewritten(None, "guard-numbers") if x.text == "7" else Rewritten(x.text.upper()))
        async with standing(prompter=script, keys=("own",), body_limit=300, turns="as-rewritten") as s:
            mine = {"Authorization": "Bearer own"}
            for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json"):
                async with s.client.get(s.url + path) as response:
                    check(path, "get", response.status, response.headers, await response.text())
            sent = [
                ("/v1/chat/completions", user("owls"), 200),
                ("/v1/chat/completions", user("rain", *user("owls")["messages"], {"role": "assistant"}), 200),
                ("/v1/chat/completions", user("7"), 200),
                ("/v1/completions", {"prompt": ["owls", "rain"]}, 200),
                ("/v1/responses", {"input": "owls"}, 200),
                ("/v1/chat/completions", [[[]] * 1] * 1, 200),
                ("/v1/chat/completions", user("owls " * 100), 413),
                ("/alignpro/rewrite", user("owls"), 200),
                ("/alignpro/rewrite", {"messages": []}, 200),
            ]
            for path, body, wanted in sent:
                status, headers, answered = await s.ask(body, path, headers=mine)
                assert status == wanted
                own = check(path, "post", status, headers, answered)
                assert ("x-alignpro" in own) == (path != "/alignpro/rewrite")
            for headers in ({}, mine):
                body = b'{"messages": ' + b"[" * 140 + b"]" * 140 + b"}"
                status, told, answered = await s.ask(body, headers=headers)
                assert status == (400 if headers else 401)
                check("/v1/chat/completions", "post", status, told, answered)
            s.service.app.draining = True
            status, told, answered = await s.ask(user("owls"), headers=mine)
            check("/v1/chat/completions", "post", status, told, answered)
            s.service.app.draining = False

    running(test)


def test_every_page_and_every_code_is_in_it():
    async def test():
        async with standing() as s:
            assert set(s.service.app._pages) <= set(TOLD["paths"])

    running(test)
    codes = set(meant(TOLD["components"]["schemas"]["Fault"])["properties"]["error"]["properties"]["code"]["enum"])
    sources = "".join(one.read_text() for one in files("alignpro.serve").iterdir() if one.name.endswith(".py"))
    said = re.findall(rf'{Refused.__name__}\(\d+, .*?, "(\w+)"\)|, "(\w+_error)", ', sources, re.DOTALL)
    assert {one for pair in said for one in pair if one} == codes
