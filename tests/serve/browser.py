"""A page in a headless Chromium, driven by the DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from standing import settled

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CODES = {"Tab": 9, "Enter": 13, "Escape": 27, "a": 65}
CTRL = 2


def chromium() -> str | None:
    """Where one is installed; None where none is."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """What a person does at a page. `faults` are errors that it threw or logged."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._next = socket, 0
        self.faults: list[str] = []

    async def send(self, method: str, **given: Any) -> Any:
        """A command of the protocol, and what came of it."""
        self._next += 1
        await self._socket.send_json({"id": self._next, "method": method, "params": given})
        while True:
            told = await self._socket.receive_json()
            if told.get("method") == "Runtime.exceptionThrown":
                self.faults.append(json.dumps(told["params"]["exceptionDetails"])[:500])
            if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.faults.append(told["params"]["entry"]["text"])
            if told.get("id") == self._next:
                assert "error" not in told, told["error"]
                return told["result"]

    async def value(self, script: str) -> Any:
        """What an expression of JavaScript gives."""
        told = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, script: str, seconds: float = 20.0) -> Any:
        """Wait until an expression holds, and give its value."""
        end = asyncio.get_running_loop().time() + seconds
        while not (value := await self.value(script)):
            assert asyncio.get_running_loop().time() < end, f"it never came to {script}; the page: {await self.text()}"
            await asyncio.sleep(0.02)
        return value

    async def text(self, name: str = "") -> str:
        """The text of an element by its id, or of the whole page."""
        return str(
            await self.value(f"document.getElementById('{name}').innerText" if name else "document.body.innerText")
        )

    async def opens(self, url: str) -> None:
        """Go to an address, anew."""
        await self.send("Page.navigate", url="about:blank")
        await self.send("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState == 'complete'")

    async def types(self, text: str) -> None:
        await self.send("Input.insertText", text=text)

    async def presses(self, key: str, modifiers: int = 0) -> None:
        """A key down and up. Enter and Tab do what they do."""
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": CODES[key], "modifiers": modifiers}
        text = {"text": "\r"} if key == "Enter" else {}
        commands = {"commands": ["selectAll"]} if (key, modifiers) == ("a", CTRL) else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **pressed, **text, **commands)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def tabs_to(self, name: str) -> None:
        """Press Tab until the element with this id has the focus."""
        for _ in range(40):
            if await self.value("document.activeElement.id") == name:
                return
            await self.presses("Tab")
        raise AssertionError(f"Tab does not lead to {name}")


@asynccontextmanager
async def browsing(binary: str, folder: Path) -> AsyncIterator[Page]:
    """An empty page of a browser that keeps what it writes in a folder."""
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += ["--remote-debugging-port=0", "--disable-extensions", "--disable-background-networking", "--mute-audio"]
    process = await asyncio.create_subprocess_exec(
        binary, *words, f"--user-data-dir={folder}", "about:blank", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = folder / "DevToolsActivePort"
        await settled(lambda: port.exists() and port.read_text().count("\n"), 40)
        address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{address}/json/list") as listed:
                pages = [one for one in await listed.json() if one["type"] == "page"]
            async with client.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.send(f"{domain}.enable")
                yield page
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
