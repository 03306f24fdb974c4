"""Our endpoint path against the server's own limit: a bare aiohttp client that posts the same bodies and keeps nothing.

    python benchmarks/endpoint.py                      against a server of our own on loopback, which does nothing
    python benchmarks/endpoint.py 'http://127.0.0.1:8000/v1#MODEL' --requests 200 --runs 5

Prints requests a second of both, and the ratio ours / bare as median [min, max] over pairs of alternating runs after a
warm-up, both with the same number of requests under way. Ours reads, checks, counts and stores every answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from alignpro.config import Sampling
from alignpro.remote.address import parse_endpoint
from alignpro.remote.frozen import load_endpoint
from alignpro.remote.pool import Policy
from alignpro.rng import derive

SAMPLING = Sampling(max_new_tokens=32, temperature=0.7)
BODY = json.dumps(
    {
        "object": "chat.completion",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "about owls. " * 8}}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 24},
    }
).encode()


def serve(port: Any, delay: float) -> None:
    """Answer every request alike, after `delay` seconds."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
                await reader.readexactly(length)
                await asyncio.sleep(delay)
                writer.write(head + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(main())


def ours(spec: str, prompts: list[str], together: int, seed: int) -> float:
    policy = Policy(first_concurrency=together, most_concurrency=together)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "answers.sqlite"
        with load_endpoint(spec, SAMPLING, cache=cache, policy=policy) as model:
            model.respond(prompts[:together], [1] * together, seed + 1)  # connections are open on both sides
            begun = time.perf_counter()
            rows = model.respond(prompts, [1] * len(prompts), seed)
            seconds = time.perf_counter() - begun
    assert all(row[0].failure is None for row in rows), next(r[0].failure for r in rows if r[0].failure)
    return len(prompts) / seconds


def bare(spec: str, prompts: list[str], together: int, seed: int) -> float:
    endpoint = parse_endpoint(spec)
    url = f"{endpoint.urls[0]}/chat/completions"
    bodies = [
        {
            "model": endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": SAMPLING.temperature,
            "top_p": SAMPLING.top_p,
            "max_tokens": SAMPLING.max_new_tokens,
            "seed": derive(seed, prompt, 0) & 0x7FFFFFFF,
        }
        for prompt in prompts
    ]

    async def worker(session: aiohttp.ClientSession, left: list[dict[str, Any]]) -> None:
        while left:
            async with session.post(url, json=left.pop()) as response:
                assert response.status == 200, await response.text()
                await response.read()

    async def main() -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            warm = bodies[:together]
            await asyncio.gather(*(worker(session, [body]) for body in warm))
            left = list(reversed(bodies))
            begun = time.perf_counter()
            await asyncio.gather(*(worker(session, left) for _ in range(together)))
            return len(prompts) / (time.perf_counter() - begun)

    return asyncio.run(main())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", nargs="?", help="http://host:port/v1#MODEL; a server of our own without it")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--together", type=int, default=32)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that our own server takes for an answer")
    given = parser.parse_args()
    spec, server = given.spec, None
    if spec is None:
        port = multiprocessing.Value("i", 0)
        server = multiprocessing.Process(target=serve, args=(port, given.delay), daemon=True)
        server.start()
        while not port.value:
            time.sleep(0.01)
        spec = f"http://127.0.0.1:{port.value}/v1#none"
    prompts = [f"quick, tell me about owl {i}" for i in range(given.requests)]
    print(f"{given.requests} requests, {given.together} under way, {given.runs} pairs after a warm-up: {spec}")
    pairs = []
    for run in range(given.runs + 1):
        sides = {"ours": ours, "bare": bare}
        order = ["ours", "bare"] if run % 2 else ["bare", "ours"]
        found = {side: sides[side](spec, prompts, given.together, 2 * run) for side in order}
        if run:
            pairs.append(found)
    for side in ("bare", "ours"):
        print(f"{side}: {_spread([pair[side] for pair in pairs], 1)} requests a second")
    print(f"ours / bare: {_spread([pair['ours'] / pair['bare'] for pair in pairs], 3)}")
    if server is not None:
        server.terminate()


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
