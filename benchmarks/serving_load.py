"""Load for `benchmarks/serving.py`: an open loop at a fixed rate, clients that ask one by one, and `wrk`."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field

import numpy as np
from serving_peers import PATH

SPIN = 1.5e-3
"""Seconds before a request is due in which its sender no longer sleeps, since a loop wakes to the millisecond alone."""
WRK = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["x-alignpro"] = "off"
wrk.body = [[%s]]
"""
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks a word up. " * 25}}
"""What gives a request its length, and is no context of the prompter's."""


def body(case: str) -> bytes:
    """A chat's, which differs from others in its system message: no guard has to do with it, and no cache knows it."""
    turns = [{"role": "system", "content": f"be brief, {case}"}, {"role": "user", "content": "tell me about owls"}]
    return json.dumps({"model": "m", "messages": turns, "tools": [TOOL]}).encode()


@dataclass
class Took:
    """Seconds of each request, how many were rewritten, and answers that were no 200."""

    seconds: list[float] = field(default_factory=list)
    rewritten: int = 0
    failed: int = 0

    def add(self, seconds: float, head: bytes) -> None:
        self.seconds.append(seconds)
        self.rewritten += b"\r\nx-alignpro: rewritten" in head.lower()
        self.failed += not head.startswith(b"HTTP/1.1 200")

    @property
    def milliseconds(self) -> dict[str, float]:
        """Percentiles."""
        return {f"p{q}": round(1e3 * float(np.percentile(self.seconds, q)), 3) for q in (50, 90, 99)}


class _Connection(asyncio.Protocol):
    """Asks one thing at a time; the head of its answer, when all of it is there."""

    def __init__(self) -> None:
        self._had = b""
        self._asked: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self._asked = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._asked

    def data_received(self, data: bytes) -> None:
        self._had += data
        head, mark, answer = self._had.partition(b"\r\n\r\n")
        found = re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.IGNORECASE)
        whole = len(answer) >= int(found[1]) if found else answer.endswith(b"0\r\n\r\n")
        if mark and whole and self._asked is not None:
            self._had = b""
            self._asked.set_result(head)

    def connection_lost(self, error: Exception | None) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error or ConnectionError("closed without an answer"))


class Client:
    """Connections to one server, kept and opened as they are wanted."""

    def __init__(self, port: int, off: bool) -> None:
        self._port, self._idle = port, list[_Connection]()
        self._head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        self._head += "x-alignpro: off\r\n" if off else ""

    async def ask(self, asked: bytes) -> bytes:
        """The head of the answer."""
        loop = asyncio.get_running_loop()
        if not self._idle or self._idle[-1].transport.is_closing():
            self._idle.append((await loop.create_connection(_Connection, "127.0.0.1", self._port))[1])
        one = self._idle.pop()
        head = await one.ask(f"{self._head}Content-Length: {len(asked)}\r\n\r\n".encode() + asked)
        self._idle.append(one)
        return head

    def close(self) -> None:
        """End the connections."""
        for one in self._idle:
            one.transport.close()


async def open_loop(port: int, rate: float, seconds: float, off: bool, took: Took) -> None:
    """Requests that leave at a fixed rate, whenever others come back, timed from when they were to leave."""
    loop, client = asyncio.get_running_loop(), Client(port, off)
    made = [body(f"case {number} of {loop.time()}") for number in range(int(rate * seconds))]
    await asyncio.gather(*(client.ask(made[0]) for _ in range(8)))  # connections, which are not what is measured
    asking = []

    async def one(asked: bytes, due: float) -> None:
        head = await client.ask(asked)
        took.add(loop.time() - due, head)

    gc.disable()
    begun = loop.time() + 0.05
    for number, asked in enumerate(made):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - SPIN - loop.time()))
        while loop.time() < due:
            await asyncio.sleep(0)
        asking.append(asyncio.ensure_future(one(asked, due)))
    await asyncio.gather(*asking)
    gc.enable()
    client.close()


async def clients(port: int, count: int, seconds: float) -> tuple[Took, float]:
    """So many clients that ask for something new as soon as they are answered, and answers a second."""
    loop, client, took = asyncio.get_running_loop(), Client(port, off=False), Took()
    begun = loop.time()

    async def one(name: int) -> None:
        number = 0
        while (now := loop.time()) < begun + seconds:
            number += 1
            head = await client.ask(body(f"case {number} of {count} {name}"))
            took.add(loop.time() - now, head)

    await asyncio.gather(*(one(name) for name in range(count)))
    lasted = loop.time() - begun
    client.close()
    return took, len(took.seconds) / lasted


def has_wrk() -> bool:
    """Whether it is installed."""
    return shutil.which("wrk") is not None


def by_wrk(port: int, seconds: float, connections: int = 32) -> tuple[float, int, int]:
    """Requests a second that are not rewritten, how many there were, and how many were not answered by 200."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK % body("always").decode())
        script.flush()
        words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script.name]
        made = subprocess.run([*words, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True)
    told = made.stdout
    rate, count = re.search(r"Requests/sec:\s+([\d.]+)", told), re.search(r"(\d+) requests in", told)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    if made.returncode or not rate or not count:
        raise SystemExit(f"wrk ended with code {made.returncode}: {told}{made.stderr}")
    return float(rate[1]), int(count[1]), int(failed[1]) if failed else 0
