"""Where prompts stand in requests, and that nothing else in them changes, to the byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignpro.prompt import Prompt, Turn
from alignpro.serve import spans, wire

ODD = b"""{ "temperature" : 1.0e-2, "big": 12345678901234567890123, "top_p":0.10,"x":{"y":[ ]} , "model":"m\\u00e9",
 "messages": [ {"role":"system","content":"be brief"},
 {"role":"user", "content" : "tell me \\"this\\" \\u00fcber\\n" ,"name": "ann"} ] ,\t"stream":true, "seed": -0.0}
"""


def test_all_but_the_rewritten_text_stays_as_it_was_sent():
    asked = wire.read("chat", ODD)
    (slot,) = asked.slots
    assert slot.prompt == Prompt('tell me "this" über', "be brief")
    assert (asked.model, asked.streamed, asked.reason) == ("mé", True, None)
    made = asked.with_rewrites(["say\nwhy — 'now'"])
    before, after = ODD.split(b'"tell me \\"this\\" \\u00fcber\\n"')
    assert made.startswith(before)
    assert made.endswith(after)
    assert json.loads(made)["messages"][1] == {"role": "user", "content": "say\nwhy — 'now'", "name": "ann"}
    assert made.isascii()
    assert asked.with_rewrites([None]) == asked.with_rewrites([slot.prompt.text]) == ODD


def chat(*turns, **more):
    return json.dumps({"messages": list(turns), **more}).encode()


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def text(said, **more):
    return {"type": "text", "text": said, **more}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_what_stands_before_is_context_and_is_not_touched():
    body = chat(
        turn("system", "be brief"),
        turn("assistant", "hello, what is it?"),
        turn("user", [text("look at"), IMAGE, text("this")]),
        turn("assistant", None, tool_calls=[{"id": "1", "function": {"name": "look", "arguments": "{}"}}]),
        turn("tool", "an owl", tool_call_id="1"),
        turn("assistant", "it is an owl"),
        turn("developer", "be kind"),
        turn("user", "and why?"),
    )
    asked = wire.read("chat", body)
    told = (Turn("user", "look at\nthis"), Turn("assistant", "it is an owl"))
    assert asked.slots[0].prompt == Prompt("and why?", "be brief\n\nbe kind", told)
    before, after = json.loads(body), json.loads(asked.with_rewrites(["WHY"]))
    assert after["messages"][-1] == turn("user", "WHY")
    assert after["messages"][:-1] == before["messages"][:-1]


def test_text_parts_that_stand_together_are_one_prompt_beside_what_else_there_is():
    body = chat(turn("user", [IMAGE, text("look", cache_control={"type": "ephemeral"}), text("at this"), IMAGE]))
    asked = wire.read("chat", body)
    assert asked.slots[0].prompt.text == "look\nat this"
    (made,) = json.loads(asked.with_rewrites(["SEE"]))["messages"]
    assert made["content"] == [IMAGE, text("SEE", cache_control={"type": "ephemeral"}), IMAGE]
    assert asked.with_rewrites([None]) == body


def test_completions_and_responses():
    asked = wire.read("completion", b'{"prompt": ["a owl", "b"], "n": 1.50}')
    assert asked.with_rewrites(["A", None]) == b'{"prompt": ["A", "b"], "n": 1.50}'
    asked = wire.read("completion", b'{"prompt": "once"}')
    assert asked.with_rewrites(["twice"]) == b'{"prompt": "twice"}'
    asked = wire.read("responses", b'{"input": "once", "instructions": "be brief"}')
    assert asked.slots[0].prompt == Prompt("once", "be brief")
    parts = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "u"}]
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]},
        {"type": "reasoning", "summary": []},
        {"role": "user", "content": parts},
    ]
    asked = wire.read("responses", json.dumps({"input": items}).encode())
    assert asked.slots[0].prompt == Prompt("look", None, (Turn("user", "hi"), Turn("assistant", "ho")))
    made = json.loads(asked.with_rewrites(["SEE"]))["input"]
    assert made == [*items[:3], {"role": "user", "content": [{"type": "input_text", "text": "SEE"}, parts[1]]}]


def test_of_equal_names_the_last_counts_as_it_does_for_the_upstream():
    body = b'{"messages": [], "messages": [{"content": "a", "role": "user", "content": "owls"}]}'
    made = wire.read("chat", body).with_rewrites(["RAIN"])
    assert made == b'{"messages": [], "messages": [{"content": "a", "role": "user", "content": "RAIN"}]}'


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("chat", chat(turn("user", "x"), turn("assistant", "y")), wire.LAST_MESSAGE),
        ("chat", chat(turn("user", "x"), turn("tool", "y", tool_call_id="1")), wire.LAST_MESSAGE),
        ("chat", chat(turn("system", "x")), wire.LAST_MESSAGE),
        ("chat", chat("x"), wire.LAST_MESSAGE),
        ("chat", chat(), wire.NO_PROMPT),
        ("chat", b'{"messages": {"role": "user"}}', wire.NO_PROMPT),
        ("chat", b"{}", wire.NO_PROMPT),
        ("chat", chat(turn("user", None)), wire.EMPTY),
        ("chat", b'{"messages": [{"role": "user"}]}', wire.EMPTY),
        ("chat", chat(turn("user", 7)), wire.EMPTY),
        ("chat", chat(turn("user", " \u200b\n")), wire.EMPTY),
        ("chat", chat(turn("user", [IMAGE])), wire.EMPTY),
        ("chat", chat(turn("user", [text("a"), IMAGE, text("b")])), wire.PARTS),
        ("chat", chat(turn("user", [text("a"), text("b", cache_control={})])), wire.PARTS),
        ("chat", chat(turn("user", "a"), turn("user", "b")), wire.TURNS),
        ("chat", chat(turn("user", "half \ud800")), wire.CHARACTERS),
        ("chat", chat(turn("system", "a\0"), turn("user", "a")), wire.CHARACTERS),
        ("completion", b'{"prompt": [1, 2, 3]}', wire.TOKEN_IDS),
        ("completion", b'{"prompt": [[1, 2], [3]]}', wire.TOKEN_IDS),
        ("completion", b'{"prompt": ["a", 3]}', wire.TOKEN_IDS),
        ("completion", b'{"prompt": []}', wire.NO_PROMPT),
        ("completion", b'{"prompt": "def f(", "suffix": ")"}', wire.TEXT_BESIDE),
        ("completion", b'{"prompt": "a", "echo": true}', wire.TEXT_BESIDE),
        ("responses", b'{"input": "a", "previous_response_id": "resp_1"}', wire.PREVIOUS),
        ("responses", b'{"input": "a", "conversation": "conv_1"}', wire.PREVIOUS),
        (
            "responses",
            b'{"input": [{"type": "function_call_output", "output": "a"}]}',
            wire.LAST_MESSAGE,
        ),
        ("responses", b"{}", wire.NO_PROMPT),
        ("chat", b"", wire.NOT_JSON),
        ("chat", b"[]", wire.NOT_JSON),
        ("chat", b'"messages"', wire.NOT_JSON),
        ("chat", b'{"messages": [{"role": "user", "content": "a"}]', wire.NOT_JSON),
        ("chat", b'{"messages": [{"role": "user", "content": "a"}]} {}', wire.NOT_JSON),
        ("chat", b'{"messages": [{"role": "user", "content": "a"},]}', wire.NOT_JSON),
        ("chat", b'{"messages": [{"role": "user", "content": "\xff"}]}', wire.NOT_JSON),
        ("chat", b'{"seed": 1' + b"0" * 5000 + b"}", wire.NOT_JSON),
    ],
)
def test_what_is_not_rewritten_says_why(kind, body, reason):
    asked = wire.read(kind, body)
    assert (asked.slots, asked.reason) == ((), reason)


def test_which_paths_ask_for_an_answer():
    paths = ["/v1/chat/completions", "/chat/completions", "/openai/deployments/x/chat/completions"]
    assert {wire.kind_of(path) for path in paths} == {"chat"}
    assert wire.kind_of("/v1/completions") == "completion"
    assert wire.kind_of("/v1/responses") == "responses"
    assert {wire.kind_of(path) for path in ("/v1/responses/1", "/v1/embeddings", "/v1/models", "/")} == {None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(JSON, st.text(), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_values_stand_where_they_are_said_to(value, new, plain, indent):
    written = json.dumps({"a": [value, "x"], "b": value, 'a\u00e9"': "y"}, ensure_ascii=plain, indent=indent)
    found = spans.whole_object(written)
    assert {name: one.value for name, one in found.items()} == json.loads(written)
    inner = spans.elements(written, found["a"].start)
    assert [json.loads(written[one.start : one.end]) for one in inner] == [value, "x"]
    place = inner[1][1:]
    made = spans.spliced(written, {place: spans.spelt(new, written)})
    assert json.loads(made) == {**json.loads(written), "a": [value, new]}
    assert made[: place[0]] == written[: place[0]]
    assert made[len(made) - (len(written) - place[1]) :] == written[place[1] :]


def test_depth_counts_no_brackets_in_texts():
    assert spans.depth('{"a": [["[[[{{"], {}]}') == 3
    assert spans.depth("[" * 100_000) == 100_000
    assert spans.depth('{"a": "\\"[[[[" }') == 1
