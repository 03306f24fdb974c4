"""Earlier turns of the user's, as they were rewritten: the upstream reads again what it has read."""

import json

import pytest
from standing import Scripted, running, standing

from alignpro.serve.link import Rewritten
from alignpro.serve.wire import users_turns

SYSTEM = {"role": "system", "content": "be brief"}


def said(*contents):
    """The user's and the assistant's turns in turn."""
    return [{"role": ("user", "assistant")[i % 2], "content": one} for i, one in enumerate(contents)]


def chat(*turns, **more):
    return {"model": "m", "messages": [SYSTEM, *turns], **more}


def contents(body):
    fields = json.loads(body)
    turns = fields.get("messages", fields.get("input"))
    return [turn.get("content") for turn in turns if turn.get("role") in ("user", "tool")]


def test_turns_go_on_as_they_were_rewritten_when_they_were_the_last():
    async def test():
        async with standing(turns="as-rewritten") as s:
            await s.ask(chat(*said("owls")))
            _, told, _ = await s.ask(chat(*said("owls", "yes", "rain"), seed=7))
            assert (told["x-alignpro"], told["x-alignpro-turns"]) == ("rewritten", "1")
            await s.ask(chat(*said("owls", "yes", "rain", "no", "why?")))
            assert [contents(body) for body in s.upstream.bodies] == [
                ["OWLS"],
                ["OWLS", "RAIN"],
                ["OWLS", "RAIN", "WHY?"],
            ]
            asked = [x for batch in s.prompter.asked for x in batch]
            assert [turn.content for turn in asked[-1].history] == ["owls", "yes", "rain", "no"]  # as in training
            other = chat(*said("owls", "another answer", "rain", "no", "why?"))
            await s.ask(other)  # turns of which one was not sent by us
            assert contents(s.upstream.bodies[-1]) == ["OWLS", "rain", "WHY?"]

    running(test)


def test_without_the_setting_and_with_the_header_they_go_as_they_came():
    async def test(turns, headers, sent):
        async with standing(turns=turns) as s:
            await s.ask(chat(*said("owls")))
            body = json.dumps(chat(*said("owls", "yes", "rain")), indent=1).encode()
            _, told, _ = await s.ask(body, headers=headers)
            assert "x-alignpro-turns" not in told
            assert s.upstream.bodies[-1] == body.replace(*sent)

    running(lambda: test("as-sent", {}, (b'"rain"', b'"RAIN"')))
    running(lambda: test("as-rewritten", {"x-alignpro": "off"}, (b"", b"")))


def test_a_turn_before_tools_were_asked_stays_as_it_was_rewritten():
    async def test():
        async with standing(turns="as-rewritten") as s:
            await s.ask(chat(*said("owls")))
            called = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
            gave = {"role": "tool", "tool_call_id": "1", "content": "owls: 7"}
            body = json.dumps(chat(*said("owls"), called, gave, b=1.50), ensure_ascii=False).encode()
            _, told, _ = await s.ask(body)
            assert told["x-alignpro"] == "original; reason=last-message"
            assert told["x-alignpro-turns"] == "1"
            assert s.upstream.bodies[-1] == body.replace(b'"content": "owls"', b'"content": "OWLS"')
            await s.ask(chat(*said("owls"), called, gave, *said("", "seven", "why?")[1:]))
            assert contents(s.upstream.bodies[-1]) == ["OWLS", "owls: 7", "WHY?"]

    running(test)


def test_what_went_as_it_was_or_is_no_longer_known_goes_as_it_is():
    async def test():
        script = Scripted(lambda x: Rewritten(None, "timeout") if x.text == "owls" else Rewritten(x.text.upper()))
        async with standing(prompter=script, turns="as-rewritten", cache=2) as s:
            await s.ask(chat(*said("owls")))
            await s.ask(chat(*said("owls", "yes", "rain")))
            await s.ask(chat(*said("owls", "yes", "rain", "no", "why?")))
            assert contents(s.upstream.bodies[-1]) == ["owls", "RAIN", "WHY?"]
            for other in ("a", "b"):
                await s.ask(chat(*said(other)))
            _, told, _ = await s.ask(chat(*said("owls", "yes", "rain", "no", "why?", "so", "and?")))
            assert contents(s.upstream.bodies[-1]) == ["owls", "rain", "why?", "AND?"]
            assert "x-alignpro-turns" not in told

    running(test)


@pytest.mark.parametrize("mode", ["shadow", "ab"])
def test_nothing_is_changed_of_conversations_whose_originals_are_sent(mode):
    async def test():
        async with standing(turns="as-rewritten", mode=mode, share=0.0) as s:
            await s.ask(chat(*said("owls")))
            body = json.dumps(chat(*said("owls", "yes", "rain"))).encode()
            await s.ask(body)
            assert s.upstream.bodies[-1] == body

    running(test)


def test_responses_and_parts_are_read_alike():
    async def test():
        async with standing(turns="as-rewritten") as s:
            await s.ask({"instructions": "be brief", "input": "owls"}, "/v1/responses")
            parts = [{"type": "input_text", "text": "ra"}, {"type": "input_text", "text": "in"}]
            turns = [*said("owls", [{"type": "output_text", "text": "yes"}]), {"role": "user", "content": parts}]
            await s.ask({"instructions": "be brief", "input": turns}, "/v1/responses")
            turns = [*turns, *said("", "no", "why?")[1:]]
            await s.ask({"instructions": "be brief", "input": turns}, "/v1/responses")
            await s.ask({"instructions": "be long", "input": turns}, "/v1/responses")  # another conversation
        joined = [{"type": "input_text", "text": "RA\nIN"}]
        assert [contents(body) for body in s.upstream.bodies[1:]] == [
            ["OWLS", joined],
            ["OWLS", joined, "WHY?"],
            ["owls", parts, "WHY?"],
        ]

    running(test)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"messages": 7}', '{"messages": [7, null, {"role": "user"}, {"role": "user", "content": [7]}]}', "[]"],
)
def test_what_holds_no_conversation_has_no_turns(text):
    assert users_turns("chat", text) == []
    assert users_turns("completion", '{"prompt": "owls", "messages": [{"role": "user", "content": "x"}]}') == []
