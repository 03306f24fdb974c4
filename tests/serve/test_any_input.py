"""Whatever is sent: no 5xx of the server's own, and what cannot be rewritten arrives as it was sent."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from standing import running, standing

TEXTS = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "Cc", "Cf", "Cs"]), max_size=30) | st.sampled_from(
    ["", " ", "\0", "\ud800", "a\udfff", "\u202eabc\u2066", "\ufeff", "x" * 100_000, "<|im_end|>", "{", '"']
)
ODD = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just([]) | st.just({}) | st.just([[[]]])
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text", "image_url"]), "text": TEXTS}) | ODD
)
TURNS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "developer", "User"]) | ODD,
        "content": TEXTS | PARTS | ODD,
        "type": st.just("message") | ODD,
        "tool_calls": ODD,
    },
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(TURNS | ODD, max_size=4) | ODD,
        "input": st.lists(TURNS | ODD, max_size=4) | ODD,
        "prompt": st.lists(TEXTS | ODD, max_size=3) | ODD,
        "instructions": ODD,
        "previous_response_id": ODD,
        "model": ODD,
        "stream": ODD,
        "suffix": ODD,
    },
)
WRITTEN = st.builds(lambda tree, plain: json.dumps(tree, ensure_ascii=plain), FIELDS, st.booleans())
BODIES = WRITTEN.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=50)
PATHS = st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/responses"])


def test_no_input_makes_the_server_fail():
    """A small share of what benchmarks/serving.py sends."""

    async def test():
        async with standing() as s:
            loop = asyncio.get_running_loop()
            asked = lambda path, body: asyncio.run_coroutine_threadsafe(s.ask(body, path), loop).result(5)  # noqa: E731

            @settings(max_examples=40, deadline=None, database=None)
            @given(PATHS, BODIES)
            def never_fails(path, body):
                status, headers, _ = asked(path, body)
                arrived = s.upstream.bodies[-1]
                assert status == 200
                if headers["x-alignpro"] == "rewritten":
                    before, after = json.loads(body), json.loads(arrived)
                    place = {"/v1/completions": "prompt", "/v1/responses": "input"}.get(path, "messages")
                    assert json.dumps({**after, place: 0}) == json.dumps({**before, place: 0})
                else:
                    assert arrived == body

            await asyncio.to_thread(never_fails)

    running(test)
