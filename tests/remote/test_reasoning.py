"""Thoughts of a model behind a URL: in its text, or beside it."""

import pytest
from scripted_server import Reply, ScriptedServer, completion
from test_endpoint import model_at

from alignpro.config import Thoughts
from alignpro.models.framing import Frame
from alignpro.models.written import NO_ANSWER
from alignpro.remote.answers import EMPTY, read


def test_thoughts_are_told_apart_and_the_cache_keeps_what_came(tmp_path):
    def script(request):
        cut = request.prompt == "cut"
        text = "<think>hm" if cut else "hm, 4.\n</think>\n\nOwls eat mice."
        return Reply(body=completion(text, finish_reason="length" if cut else "stop"))

    with ScriptedServer(script) as server:
        for _ in range(2):
            with model_at(server, cache=tmp_path / "answers") as model:
                [[whole], [cut]] = model.respond(["whole", "cut"], [1, 1], 0)
            assert (whole.text, whole.thought, whole.failure) == ("Owls eat mice.", "hm, 4.", None)
            assert (cut.text, cut.failure) == ("", NO_ANSWER)
        with model_at(server, cache=tmp_path / "answers", frame=Frame(thoughts=Thoughts(marks=[]))) as model:
            assert model.respond(["whole"], [1], 0)[0][0].text == "hm, 4.\n</think>\n\nOwls eat mice."
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_beside_the_text_are_no_part_of_it(name):
    def told(content, finish="stop"):
        message = {"role": "assistant", "content": content, name: "hm"}
        [answer] = read({"choices": [{"finish_reason": finish, "message": message}]}, 1)
        return answer

    assert (told("Owls.").text, told("Owls.").thought, told("Owls.").failure) == ("Owls.", "hm", None)
    assert told(None, "length").failure == told("", "length").failure == NO_ANSWER
    assert told(None).failure == EMPTY
    parts = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "Owls."},
    ]
    assert told(parts).text == "Owls."


def test_arguments_of_the_chat_template_are_sent_and_have_answers_of_their_own(tmp_path):
    with ScriptedServer() as server:
        for arguments in ({}, {"enable_thinking": False}, {"enable_thinking": False}):
            frame = Frame(thoughts=Thoughts(template_arguments=arguments))
            with model_at(server, cache=tmp_path / "answers", frame=frame) as model:
                model.respond(["hello"], [1], 0)
        assert [r.body.get("chat_template_kwargs") for r in server.requests] == [None, {"enable_thinking": False}]
