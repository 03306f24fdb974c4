"""The official `openai` client through the server and without it: the same results, and the same bytes both ways but
for the rewritten text. `python benchmarks/clients.py URL MODEL` tries a real upstream."""

import asyncio
import runpy
from pathlib import Path

import pytest
from recorded import ANSWERS, replays
from standing import running, standing

CLIENT = Path(__file__).parents[2] / "benchmarks" / "official_client.py"
KEPT = {"models", "what a tool said", "response, what a tool said", "response, going on", "embeddings"}
"""Calls with nothing to rewrite."""


def test_the_official_client_is_given_what_it_would_be_given_without_us():
    pytest.importorskip("openai", reason="the package openai is not here; pip install openai")
    official = runpy.run_path(str(CLIENT))

    async def test():
        async with standing(replays, retries=0) as s:

            async def told(url, **headers):
                s.upstream.seen.clear()
                made = await asyncio.to_thread(official["asked"], url, "m", ANSWERS, headers=headers)
                names = ("Host", "Connection", "x-alignpro")
                return made, [
                    (method, path, {k: v for k, v in sent.items() if k not in names}, body)
                    for method, path, sent, body in s.upstream.seen
                ]

            direct, arrived = await told(s.upstream.url)
            assert list(direct) == list(ANSWERS) == [*official["CALLS"], *official["RICHER"]]
            assert await told(f"{s.url}/v1", **{"x-alignpro": "off"}) == (direct, arrived)
            through, rewritten = await told(f"{s.url}/v1")
            assert through == direct
            prompt = official["PROMPT"].encode()
            for name, (*before, body), (*after, sent) in zip(ANSWERS, arrived, rewritten, strict=True):
                meant = body if name in KEPT else body.replace(prompt, prompt.upper())
                assert ((prompt in body) == (name not in KEPT), sent) == (True, meant), name
                before[2].pop("Content-Length", None), after[2].pop("Content-Length", None)
                assert after == before, name
            usage = direct["tools, streamed"][-1]["usage"]
            assert (usage["prompt_tokens"], direct["too many"]["raised"]) == (80, "RateLimitError")

    running(test)


@pytest.mark.parametrize("off", [{}, {"x-alignpro": "off"}])
def test_recorded_answers_arrive_to_the_byte(off):
    async def test():
        async with standing(replays, retries=0) as s:
            for name, told in ANSWERS.items():
                body = {"messages": [{"role": "user", "content": "What is an owl?"}]}
                status, headers, came = await s.ask(body, headers={"x-call": name, **off})
                assert (status, headers["Content-Type"], came) == (told.status, told.type, told.body), name
                assert headers["x-request-id"] == "r1"

    running(test)
