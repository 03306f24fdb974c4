"""LiteLLM's hook, by the names with which its proxy calls it."""

import asyncio
import copy
import sys
from types import ModuleType

import pytest

from alignpro.adapters.litellm import Rewriting, hook
from alignpro.serve.link import Rewritten
from alignpro.serve.prompters import Prompters


class Shouting:
    """A prompter's process, ready, that shouts or does as `made` says."""

    name, version, batch, lanes = "shouting", "v1", 8, 1

    def __init__(self, made=lambda x: Rewritten(x.text.upper(), None, 0, "v1")):
        self.made = made

    async def rewrite(self, prompts):
        return [self.made(x) for x in prompts]

    async def gone(self):
        await asyncio.Event().wait()

    async def end(self):
        pass


def called(data, call_type="acompletion", process=None):
    """What the hook makes of a request, once its prompter is ready, and the hook."""

    async def start():
        return process or Shouting()

    async def test():
        rewriting = Rewriting(Prompters(start, timeout=2.0))
        try:
            await rewriting.async_pre_call_hook(None, None, {"messages": []}, "completion")
            while not rewriting.prompters.ready:
                await asyncio.sleep(0)
            rewriting.counts.clear()
            given = copy.deepcopy(data)
            made = await rewriting.async_pre_call_hook(None, None, given, call_type)
            headers = await rewriting.async_post_call_response_headers_hook(
                data=given, user_api_key_dict=None, response=None, request_headers={}, litellm_call_info={}
            )
            return made, headers, rewriting
        finally:
            await rewriting.prompters.end()

    return asyncio.run(test())


CHAT = {
    "model": "m",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "owls — at night"}],
    "tools": [{"type": "function", "function": {"name": "owls"}}],
    "metadata": {"user_api_key": "k"},
}


def test_the_last_message_of_the_user_is_rewritten_and_nothing_else():
    made, headers, rewriting = called(CHAT)
    wanted = copy.deepcopy(CHAT)
    wanted["messages"][-1]["content"] = "OWLS — AT NIGHT"
    wanted["metadata"]["x-alignpro"] = "rewritten"
    assert (made, headers) == (wanted, {"x-alignpro": "rewritten"})
    assert rewriting.counts == {"rewritten": 1}


@pytest.mark.parametrize(
    ("call_type", "given", "wanted"),
    [
        ("atext_completion", {"prompt": ["owls", "rain"]}, {"prompt": ["OWLS", "RAIN"]}),
        ("aresponses", {"input": "owls", "instructions": "b"}, {"input": "OWLS", "instructions": "b"}),
        (
            "completion",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "owls"}, {"type": "image_url"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "OWLS"}, {"type": "image_url"}]}]},
        ),
    ],
)
def test_every_kind_of_request_is_rewritten(call_type, given, wanted):
    assert called(given, call_type)[0] == wanted


@pytest.mark.parametrize(
    ("given", "call_type", "process", "reason"),
    [
        ({"messages": [{"role": "tool", "content": "3"}]}, "acompletion", None, "last-message"),
        ({"input": "owls", "previous_response_id": "r"}, "aresponses", None, "previous-response"),
        ({**CHAT, "proxy_server_request": {"headers": {"x-alignpro": "Off"}}}, "acompletion", None, "opt-out"),
        ({"messages": [{"role": "user", "content": {1, 2}}]}, "acompletion", None, "not-json"),
        (CHAT, "acompletion", Shouting(lambda x: Rewritten(None, "guard-numbers")), "guard-numbers"),
        (CHAT, "acompletion", Shouting(lambda x: 1 / 0), "prompter-error"),
    ],
)
def test_what_cannot_be_rewritten_goes_on_as_it_came(given, call_type, process, reason):
    made, _, rewriting = called({**given, "metadata": {}}, call_type, process)
    assert made == {**given, "metadata": {"x-alignpro": f"original; reason={reason}"}}
    assert rewriting.counts == {reason: 1}


def test_other_calls_are_none_of_its_business():
    for call_type in ("aembedding", "moderation", "aimage_generation"):
        made, headers, rewriting = called({"input": "owls", "prompt": "owls"}, call_type)
        assert (made, headers, rewriting.counts) == (None, None, {})


def test_the_hook_is_of_a_class_that_litellm_calls(monkeypatch):
    names = ("litellm", "litellm.integrations", "litellm.integrations.custom_logger")
    modules = {name: ModuleType(name) for name in names}
    modules[names[-1]].CustomLogger = type("CustomLogger", (), {"async_pre_call_hook": None})
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    made = hook("runs/none")
    assert isinstance(made, modules[names[-1]].CustomLogger)
    assert "async_pre_call_hook" in vars(type(made))  # which its proxy asks for
