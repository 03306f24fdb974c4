"""The playground in a browser, by the keyboard alone: x' with what changed marked, both answers as they stream, what a
guard said, and a link that holds the conversation."""

import asyncio
import json

import pytest
from aiohttp import web
from browser import CTRL, browsing, chromium
from standing import Scripted, running, settled, standing

from alignpro.serve.link import Rewritten


def rewrite(x):
    if "7" in x.text:
        return Rewritten(None, "guard-numbers", None, "v1")
    return Rewritten(x.text.replace("tell me", "Tell me briefly"), None, 2, "v1")


def piece(text, **more):
    choice = {"index": 0, "delta": {"content": text}}
    return f"data: {json.dumps({'choices': [choice], **more})}\n\n".encode()


class Gated:
    """An upstream that streams the beginning of an answer, and the rest once it may."""

    def __init__(self):
        self.may_end = asyncio.Event()

    async def __call__(self, request, body):
        if request.method == "GET":
            return web.json_response({"data": [{"id": "tiny"}]})
        asked = json.loads(body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(piece(f"{asked['model']} on: "))
        await self.may_end.wait()
        usage = {"prompt_tokens": 12, "completion_tokens": 5}
        await response.write(piece(asked["messages"][-1]["content"], usage=usage) + b"data: [DONE]\n\n")
        return response


WHOLE = "['original', 'rewritten'].every(id => document.getElementById(id + '-told').innerText.includes('whole'))"


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed here")
def test_the_playground_by_keyboard(tmp_path):
    async def test():
        script = Gated()
        async with standing(script, Scripted(rewrite)) as s, browsing(chromium(), tmp_path) as page:
            await page.opens(f"{s.url}/")
            await page.until("document.getElementById('state').innerText == 'ready, prompter v1'")
            await page.until("document.getElementById('model').value == 'tiny'")

            await page.tabs_to("prompt")
            await page.types("tell me about owls")
            await page.presses("Enter", CTRL)
            for one in ("original", "rewritten"):  # before the answers end
                await page.until(f"document.getElementById('{one}').innerText == 'tiny on: '")
            script.may_end.set()
            await page.until(WHOLE)
            assert await page.text("original") == "tiny on: tell me about owls"
            assert await page.text("rewritten") == "tiny on: Tell me briefly about owls"
            assert "12 tokens in, 5 out" in await page.text("rewritten-told")
            shown = "[...document.querySelectorAll('#rewrite %s')].map(one => one.textContent.trim()).filter(Boolean)"
            assert [await page.value(shown % kind) for kind in ("del", "ins")] == [["tell"], ["Tell", "briefly"]]
            assert "+2 tokens" in await page.text("rewrite-told")

            await page.tabs_to("prompt")
            await page.presses("a", CTRL)
            await page.types("tell me about 7 owls")
            await page.presses("Enter", CTRL)
            await page.until(WHOLE)
            assert "the guard numbers rejected the rewrite" in await page.text("rewrite-told")
            assert await page.text("rewritten") == "tiny on: tell me about 7 owls"

            script.may_end.clear()
            await page.presses("Enter", CTRL)
            await settled(lambda: len(s.upstream.bodies) >= 7)
            await page.until("document.getElementById('original').innerText == 'tiny on: '")
            await page.presses("Escape")
            await page.until("document.getElementById('original-told').innerText.startsWith('stopped')")
            await settled(lambda: s.upstream.cancelled == 2)

            await page.value("document.getElementById('before').open = true")
            await page.tabs_to("system")
            await page.types("be kind \U0001f989")
            await page.tabs_to("add")
            await page.presses("Enter")
            await page.types("hello")
            await page.tabs_to("share")
            await page.presses("Enter")
            link = await page.until("location.hash.length > 1 && location.href")
            await page.opens(link)
            await page.until("document.getElementById('prompt').value == 'tell me about 7 owls'")
            assert await page.value("document.getElementById('system').value") == "be kind \U0001f989"
            assert await page.value("document.querySelector('.turn textarea').value") == "hello"
            assert await page.value("document.getElementById('before').open")
            assert page.faults == []

    running(test)
