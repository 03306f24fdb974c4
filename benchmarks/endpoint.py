"""Our client of endpoints against a bare aiohttp loop, which posts the same bodies and keeps nothing.

    python benchmarks/endpoint.py                      against a server of our own on loopback, which does nothing
    python benchmarks/endpoint.py 'http://127.0.0.1:8000/v1#MODEL' --requests 40 --runs 5

A run asks every side for as many answers, in an order that changes, with the same number under way, after a warm-up:
the bare loop, the same reading JSON, ours with cache and budget off, and ours with one thing more: a budget in money
and tokens, the ledger `spending.json`, the cache, all three, a key whose echo is looked for in every answer, and a
server that answers every tenth request by a fault, which is tried again. The server has a process of its own. Of each
side come requests a second, and the microseconds of this process's time a request (`cpu`), which other work on the
machine moves less. The last line is a JSON object: ours / bare in both, as median, min and max over the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from alignpro.config import BudgetSettings, EndpointSettings, PriceSettings, Sampling
from alignpro.remote.accounting import Account
from alignpro.remote.address import parse_endpoint
from alignpro.remote.dialect import Dialect
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
FAULTY = 10
"""Of so many requests under /faulty one is answered by a fault."""
Spent = tuple[float, float]
"""Seconds by the clock, and of this process's time."""
Ask = Callable[[list[str], int], Spent]
"""Asks the prompts by a seed."""


class Server(asyncio.Protocol):
    """Answers every request alike, after `delay` seconds."""

    good = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
    bad = b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n"
    asked = 0

    def __init__(self, delay: float) -> None:
        self._delay, self._had = delay, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._had += data
        head, mark, body = self._had.partition(b"\r\n\r\n")
        if not mark or len(body) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            return
        self._had = b""
        Server.asked += 1
        answer = self.bad if head.startswith(b"POST /faulty") and self.asked % FAULTY == 0 else self.good
        asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)


def serve(port: Any, delay: float) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Server(delay), "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(main())


def timed(work: Callable[[], object]) -> Spent:
    begun = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


@contextmanager
def ours(
    spec: str, together: int, budget: bool = False, ledger: bool = False, cache: bool = False, key: bool = False
) -> Iterator[Ask]:
    policy = Policy(first_concurrency=together, most_concurrency=together, first_wait=1e-3)
    prices = {parse_endpoint(spec).model: PriceSettings(input=0.4, output=1.6)} if budget else {}
    account = Account(prices, BudgetSettings(tokens=10**12, money=1e6) if budget else None)
    settings = EndpointSettings(key="PATH" if key else "none")  # any variable with a value
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.sqlite" if cache else None
        with load_endpoint(spec, SAMPLING, cache=answers, account=account, policy=policy, settings=settings) as model:
            if ledger:
                account.keep(Path(folder) / "spending.json")

            def ask(prompts: list[str], seed: int) -> Spent:
                rows: list[Any] = []
                spent = timed(lambda: rows.extend(model.respond(prompts, [1] * len(prompts), seed)))
                assert all(row[0].failure is None for row in rows), next(r[0].failure for r in rows if r[0].failure)
                return spent

            yield ask


@contextmanager
def bare(spec: str, together: int, parse: bool = False) -> Iterator[Ask]:
    endpoint, loop = parse_endpoint(spec), asyncio.new_event_loop()
    url = f"{endpoint.urls[0]}/chat/completions"

    async def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    session = loop.run_until_complete(opened())

    async def worker(left: Iterator[dict[str, Any]]) -> None:
        for body in left:
            async with session.post(url, json=body) as response:
                assert response.status == 200, await response.text()
                answer = await response.read()
                if parse:
                    json.loads(answer)

    async def post(bodies: list[dict[str, Any]]) -> None:
        left = iter(bodies)
        await asyncio.gather(*(worker(left) for _ in range(together)))

    def ask(prompts: list[str], seed: int) -> Spent:
        bodies = [
            {
                "model": endpoint.model,
                "messages": [{"role": "user", "content": prompt}],
                **Dialect().options(SAMPLING, derive(seed, prompt, 0) & 0x7FFFFFFF),
                "max_tokens": SAMPLING.max_new_tokens,
            }
            for prompt in prompts
        ]
        return timed(lambda: loop.run_until_complete(post(bodies)))

    yield ask
    loop.run_until_complete(session.close())
    loop.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", nargs="?", help="http://host:port/v1#MODEL; a server of our own without it")
    parser.add_argument("--requests", type=int, default=400, help="of each side in each run")
    parser.add_argument("--together", type=int, default=32, help="requests under way")
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that our own server takes for an answer")
    given = parser.parse_args()
    spec, faulty, server = given.spec, given.spec, None
    if spec is None:
        port = multiprocessing.Value("i", 0)
        server = multiprocessing.Process(target=serve, args=(port, given.delay), daemon=True)
        server.start()
        while not port.value:
            time.sleep(0.01)
        spec, faulty = (f"http://127.0.0.1:{port.value}/{path}#none" for path in ("v1", "faulty"))
    sides = {
        "bare": bare(spec, given.together),
        "bare, reading JSON": bare(spec, given.together, parse=True),
        "ours": ours(spec, given.together),
        "ours, budget": ours(spec, given.together, budget=True),
        "ours, ledger": ours(spec, given.together, ledger=True),
        "ours, cache": ours(spec, given.together, cache=True),
        "ours, all three": ours(spec, given.together, budget=True, ledger=True, cache=True),
        "ours, key": ours(spec, given.together, key=True),
        **({"ours, a tenth tried again": ours(faulty, given.together)} if server else {}),
    }
    prompts = [f"quick, tell me about owl {i}" for i in range(given.requests)]
    print(f"{given.requests} requests, {given.together} under way, {given.runs} runs after a warm-up: {spec}")
    found: dict[str, list[Spent]] = {side: [] for side in sides}
    with ExitStack() as stack:
        asks = {side: stack.enter_context(opened) for side, opened in sides.items()}
        for run in range(given.runs + 1):
            order = [*asks][run % len(asks) :] + [*asks][: run % len(asks)]
            for side in order:
                spent = asks[side](prompts, run)
                if run:
                    found[side].append(spent)
    if server is not None:
        server.terminate()
    show(found, given)


def show(found: dict[str, list[Spent]], given: argparse.Namespace) -> None:
    n, bases = given.requests, found["bare"]
    print(f"{'':26}{'requests a second':>26}{'cpu, us a request':>24}{'cpu beside ours':>24}")
    for side, spent in found.items():
        rate, cpu = [n / wall for wall, _ in spent], [1e6 * used / n for _, used in spent]
        beside = [1e6 * (used - base) / n for (_, used), (_, base) in zip(spent, found["ours"], strict=True)]
        print(f"{side:26}{_spread(rate):>26}{_spread(cpu):>24}{_spread(beside):>24}")
    pairs = list(zip(found["ours"], bases, strict=True))
    ratios = {
        "aiohttp": _figures([base / own for (own, _), (base, _) in pairs]),
        "aiohttp, by processor time": _figures([base / own for (_, own), (_, base) in pairs]),
    }
    used = {side: _figures([1e6 * used / n for _, used in spent]) for side, spent in found.items()}
    told = {"name": "endpoint", "ratios": ratios, "cpu_us_a_request": used, "settings": vars(given)}
    print(json.dumps(told))


def _figures(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} [{min(values):.0f}, {max(values):.0f}]"


if __name__ == "__main__":
    main()
