"""`alignpro serve` against its upstream alone: what it adds, how much it lets through, whether it leaks.

    python benchmarks/serving.py                                   latency and throughput, before an upstream of its own
    python benchmarks/serving.py --run runs/lab-001 --rate 20      with a prompter that was trained
    python benchmarks/serving.py --soak 600                        also the memory after each tenth of ten minutes

Upstream and server have processes of their own; the upstream answers at once, and without --run the prompter is a
script that does. Latency is an open loop: requests leave at a fixed rate, whenever others come back, and are timed
from when they were to leave. Of direct requests, of such that are not rewritten (x-alignpro: off) and of such that
are, new prompts each, come p50, p90 and p99 in milliseconds; throughput is by `wrk` where it is installed, else by this
process with 32 connections. The last line is a JSON object: what the server adds, the share that was rewritten, and
requests a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
import psutil

HERE = Path(__file__).parent
UPSTREAM = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from endpoint import Server
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(0.0), "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()
asyncio.run(main())
"""
SERVER = """
import json, sys
from alignpro.serve.options import Options
from alignpro.serve.service import serve
serve(Options(sys.argv[1], port=int(sys.argv[2]), cache=1000), [sys.executable, sys.argv[3]], lambda line: None)
"""
PROMPTER = """
import json, socket
link = socket.socket(fileno=0).makefile("rwb")
def send(tree):
    body = json.dumps(tree).encode()
    link.write(len(body).to_bytes(4, "big") + body)
    link.flush()
send(["script", "1", 32])
while size := link.read(4):
    send([[f"In short: {x[0]}", None, 3] for x in json.loads(link.read(int.from_bytes(size, "big")))])
"""
WRK = 'wrk.method = "POST"\nwrk.headers["x-alignpro"] = "off"\nwrk.body = [[%s]]\n'


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended in the end."""
    begun = subprocess.Popen(words)
    try:
        yield begun
    finally:
        begun.terminate()
        begun.wait(30)


def body(prompt: str) -> bytes:
    """A chat's."""
    system = {"role": "system", "content": "Answer in one sentence. " * 20}
    return json.dumps({"model": "m", "messages": [system, {"role": "user", "content": prompt}]}).encode()


async def ready(url: str) -> None:
    """Wait until the server's prompter is warm."""
    async with aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def open_loop(url: str, rate: float, seconds: float, headers: dict[str, str]) -> tuple[list[float], int]:
    """Seconds of each request from when it was to leave, and how many were rewritten."""
    took: list[float] = []
    rewritten = 0
    loop = asyncio.get_running_loop()

    async def one(number: int, due: float) -> None:
        nonlocal rewritten
        await asyncio.sleep(max(0.0, due - loop.time()))
        asked = body(f"prompt {number} of {due}")
        async with client.post(f"{url}/v1/chat/completions", data=asked, headers=headers) as response:
            assert response.status == 200
            await response.read()
            rewritten += response.headers.get("x-alignpro") == "rewritten"
        took.append(loop.time() - due)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        begun = loop.time() + 0.1
        await asyncio.gather(*(one(i, begun + i / rate) for i in range(int(rate * seconds))))
    return took, rewritten


async def closed_loop(url: str, seconds: float, connections: int = 32) -> float:
    """Requests a second that are not rewritten, by this process."""
    done = 0
    end = time.monotonic() + seconds
    asked = body("tell me about owls")

    async def many() -> None:
        nonlocal done
        while time.monotonic() < end:
            async with client.post(f"{url}/v1/chat/completions", data=asked, headers={"x-alignpro": "off"}) as response:
                await response.read()
            done += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(many() for _ in range(connections)))
    return done / seconds


def throughput(url: str, seconds: float) -> float:
    """Requests a second, by wrk where it is there."""
    if shutil.which("wrk") is None:
        return asyncio.run(closed_loop(url, seconds))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK % body("tell me about owls").decode())
        script.flush()
        words = ["wrk", "-t1", "-c32", f"-d{seconds:g}s", "-s", script.name, f"{url}/v1/chat/completions"]
        found = re.search(r"Requests/sec:\s+([\d.]+)", subprocess.check_output(words, text=True))
    assert found
    return float(found[1])


def told(name: str, took: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds, printed."""
    made = {f"p{q}": round(1e3 * float(np.percentile(took, q)), 2) for q in (50, 90, 99)}
    print(f"{name:12}", "  ".join(f"{k} {v:8.2f} ms" for k, v in made.items()), f"  ({len(took)} requests)", flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="folder of a run or of an exported prompter")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--soak", type=float, default=0, help="seconds of load, with the memory after each tenth")
    options = parser.parse_args()
    above, ours = free_port(), free_port()
    direct, url = f"http://127.0.0.1:{above}", f"http://127.0.0.1:{ours}"
    with tempfile.TemporaryDirectory() as folder:
        prompter = Path(folder) / "prompter.py"
        prompter.write_text(PROMPTER)
        words = [sys.executable, "-c", SERVER, f"{direct}/v1", str(ours), str(prompter)]
        if options.run:
            words = [sys.executable, "-m", "alignpro", "serve", f"--run={options.run}", f"--upstream={direct}/v1"]
            words += [f"--port={ours}"]
        with process(sys.executable, "-c", UPSTREAM, str(HERE), str(above)), process(*words) as server:
            asyncio.run(ready(url))
            off = {"x-alignpro": "off"}
            asyncio.run(open_loop(url, options.rate, 1, {}))
            alone = told("upstream", asyncio.run(open_loop(direct, options.rate, options.seconds, off))[0])
            passed = told("passed on", asyncio.run(open_loop(url, options.rate, options.seconds, off))[0])
            took, rewritten = asyncio.run(open_loop(url, options.rate, options.seconds, {}))
            made = told("rewritten", took)
            result = {
                "rate": options.rate,
                "added_ms": {q: round(passed[q] - alone[q], 2) for q in alone},
                "added_with_rewrite_ms": {q: round(made[q] - alone[q], 2) for q in alone},
                "share_rewritten": round(rewritten / len(took), 4),
                "requests_per_second": round(throughput(url, options.seconds)),
                "upstream_requests_per_second": round(throughput(direct, options.seconds)),
            }
            if options.soak:
                result["memory_mb"] = soaked(url, server.pid, options.rate, options.soak)
            print(json.dumps(result))


def soaked(url: str, pid: int, rate: float, seconds: float) -> list[float]:
    """Megabytes that the server holds after each tenth of so many seconds under load."""
    held = []
    for _ in range(10):
        asyncio.run(open_loop(url, rate, seconds / 10, {}))
        held.append(round(psutil.Process(pid).memory_info().rss / 1e6, 1))
        print(f"memory {held[-1]} MB", flush=True)
    return held


if __name__ == "__main__":
    main()
