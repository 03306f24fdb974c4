"""`alignpro serve` against its upstream alone: what it adds, how much it lets through, what a prompter takes.

    python benchmarks/serving.py                                       latency and throughput
    python benchmarks/serving.py --bare --litellm /opt/litellm/bin     beside bare aiohttp, bare Starlette, and LiteLLM
    python benchmarks/serving.py --run runs/lab-001 --rate 20          with a prompter that was trained
    python benchmarks/serving.py --run runs/lab-001 --clients 1,8,64   its micro-batches, by how many clients ask
    python benchmarks/serving.py --soak 600                            also the memory after each tenth of ten minutes

Every side has a process of its own; the upstream (`serving_peers.py`) answers at once, and without --run the prompter
is a script that does. The sides take turns, so that a machine that slows down slows all. Latency is an open loop: a
request leaves when it is due, whenever others come back, and is timed from then; of each side come p50, p90 and p99 in
milliseconds, `passed on` with `x-alignpro: off`, `rewritten` with a new prompt each. What a side adds is its
percentile less that of the upstream. Throughput is by `wrk` (`apt install wrk`) with 32 connections, not rewritten, as
the median over turns, beside the processor's time a request of that side. --litellm is the folder of the commands of
an environment with `litellm[proxy]`; it has as many workers as there are cores. With --clients each asks for something
new as soon as it is answered: answers a second, their median time, prompts in a batch, and milliseconds of the
processor for a prompt, the prompter's and the server's. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
from serving_load import Took, body, by_wrk, clients, has_wrk, open_loop
from serving_peers import PATH

PEERS = Path(__file__).with_name("serving_peers.py")
SERVER = """
import sys
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
send(["script", "1", 32, 1])
while size := link.read(4):
    number, prompts = json.loads(link.read(int.from_bytes(size, "big")))
    send([number, [[f"In short: {x[0]}", None, 3] for x in prompts]])
"""
LITELLM = """
model_list: [{model_name: m, litellm_params: {model: openai/m, api_base: "%s/v1", api_key: none}}]
litellm_settings: {telemetry: false, request_timeout: 60}
"""
TURNS = 4
"""How often each side is measured."""


@dataclass
class Side:
    """Who is asked: its port, whether it is told to pass the prompt on, and its process."""

    port: int
    process: subprocess.Popen[bytes]
    off: bool = True

    @property
    def used(self) -> float:
        """Seconds of processor's time, with its children."""
        own = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True)))


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended in the end."""
    begun = subprocess.Popen(words, env={**os.environ, **environment}, stdout=sys.stderr)
    try:
        yield begun
    finally:
        begun.terminate()
        begun.wait(30)


def answers(side: Side, path: str | None = None) -> Side:
    """The side, once it answers what it is to be asked, or the path."""
    while side.process.poll() is None:
        asked = None if path else body("ready")
        address = f"http://127.0.0.1:{side.port}{path or PATH}"
        try:
            with urlopen(Request(address, asked, {"Content-Type": "application/json"}), timeout=5):
                return side
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{side.process.args!r} ended with code {side.process.returncode}")


def begun(stack: ExitStack, options: argparse.Namespace) -> dict[str, Side]:
    """Every side, ready."""

    def side(*words: str, port: int, path: str | None = None, **environment: str) -> Side:
        return answers(Side(port, stack.enter_context(process(*words, **environment))), path)

    python, ports = sys.executable, [free_port() for _ in range(5)]
    above = side(python, str(PEERS), "upstream", str(ports[0]), port=ports[0])
    direct, folder = f"http://127.0.0.1:{ports[0]}", Path(stack.enter_context(tempfile.TemporaryDirectory()))
    prompter, settings = folder / "prompter.py", folder / "litellm.yaml"
    prompter.write_text(PROMPTER)
    settings.write_text(LITELLM % direct)
    words = [python, "-c", SERVER, f"{direct}/v1", str(ports[1]), str(prompter)]
    if options.run:
        words = [python, "-m", "alignpro", "serve", f"--run={options.run}", f"--upstream={direct}/v1"]
        words += [f"--port={ports[1]}", f"--timeout={options.timeout:g}"]
    own = side(*words, port=ports[1], path="/readyz")
    sides = {"upstream": above, "passed on": own, "rewritten": Side(own.port, own.process, off=False)}
    if options.bare:
        for name, port in zip(("aiohttp", "starlette"), ports[2:], strict=False):
            sides[f"bare {name}"] = side(python, str(PEERS), name, str(port), direct, port=port)
    if options.litellm:
        words = [str(options.litellm / "litellm"), f"--config={settings}", f"--port={ports[4]}", "--host=127.0.0.1"]
        words += [f"--num_workers={os.cpu_count()}", "--timeout_worker_healthcheck=120"]  # which import for long
        told = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
        told["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"  # no keys on either side
        sides["litellm"] = side(*words, port=ports[4], **told)
    return sides


def latency(sides: dict[str, Side], rate: float, seconds: float) -> dict[str, Any]:
    """Percentiles of each side, and the share that was rewritten."""
    took = {name: Took() for name in sides}
    asyncio.run(open_loop(sides["rewritten"].port, rate, 1, False, Took()))
    for _ in range(TURNS):
        for name, side in sides.items():
            asyncio.run(open_loop(side.port, rate, seconds / TURNS, side.off, took[name]))
    for name, one in took.items():
        shown = "  ".join(f"{q} {ms:8.2f} ms" for q, ms in one.milliseconds.items())
        print(f"{name:14} {shown}   {len(one.seconds)} requests at {rate:g}/s, {one.failed} failed", flush=True)
    alone = took["upstream"].milliseconds
    return {
        "rate": rate,
        "upstream_ms": alone,
        "added_ms": {
            name: {q: round(ms - alone[q], 2) for q, ms in one.milliseconds.items()}
            for name, one in took.items()
            if name != "upstream"
        },
        "failed": {name: one.failed for name, one in took.items()},
        "share_rewritten": round(took["rewritten"].rewritten / len(took["rewritten"].seconds), 4),
    }


def throughput(sides: dict[str, Side], seconds: float) -> dict[str, Any]:
    """Requests a second of each side, and microseconds of its processor's time for one."""
    rates: dict[str, list[float]] = {name: [] for name in sides if name != "rewritten"}
    spent: dict[str, list[float]] = {name: [] for name in rates}
    for turn in range(TURNS):
        for name in rates:
            before = sides[name].used
            rate, count, failed = by_wrk(sides[name].port, seconds / TURNS)
            if failed:
                raise SystemExit(f"{name}: {failed} of {count} requests were not answered by 200")
            if turn:  # the first warms up
                rates[name].append(round(rate))
                spent[name].append(1e6 * (sides[name].used - before) / count)
    for name, seen in rates.items():
        middle = statistics.median(spent[name])
        print(
            f"{name:14} {statistics.median(seen):8.0f} requests/s {sorted(seen)}   {middle:6.0f} us of processor each"
        )
    return {
        "requests_per_second": {name: statistics.median(seen) for name, seen in rates.items()},
        "cpu_us": {name: round(statistics.median(seen)) for name, seen in spent.items()},
    }


def metrics(port: int) -> dict[str, float]:
    """What the server counts, summed over labels."""
    found: dict[str, float] = {}
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            name, _, value = line.partition("{")[0].split(" ")[0], "", line.rsplit(" ", 1)[-1]
            if not line.startswith("#"):
                found[name] = found.get(name, 0.0) + float(value)
    return found


def batching(side: Side, counts: list[int], seconds: float) -> list[dict[str, float]]:
    """Answers a second by how many clients ask."""
    rows = []
    asyncio.run(clients(side.port, 2, min(2.0, seconds)))
    for count in counts:
        before, used = metrics(side.port), side.used
        took, rate = asyncio.run(clients(side.port, count, seconds))
        now = metrics(side.port)
        batches, prompts = (
            now[f"alignpro_{x}_total"] - before[f"alignpro_{x}_total"] for x in ("batches", "batched_prompts")
        )
        row = {
            "clients": count,
            "answers_per_second": round(rate, 1),
            "p50_ms": took.milliseconds["p50"],
            "share_rewritten": round(took.rewritten / len(took.seconds), 4),
            "prompts_a_batch": round(prompts / batches, 1),
            "cpu_ms_a_prompt": round(1e3 * (side.used - used) / prompts, 2),
        }
        print("  ".join(f"{name} {value:g}" for name, value in row.items()), flush=True)
        rows.append(row)
    return rows


def soaked(side: Side, rate: float, seconds: float) -> list[float]:
    """Megabytes that the server holds after each tenth of so many seconds under load."""
    held = []
    for _ in range(10):
        asyncio.run(open_loop(side.port, rate, seconds / 10, False, Took()))
        held.append(round(psutil.Process(side.process.pid).memory_info().rss / 1e6, 1))
        print(f"memory {held[-1]} MB", flush=True)
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="folder of a run or of an exported prompter")
    parser.add_argument("--timeout", type=float, default=60, help="of a rewrite, with --run")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=12, help="of each measurement of a side")
    parser.add_argument("--clients", type=lambda told: [int(n) for n in told.split(",")], help="how many, as in 1,8,64")
    parser.add_argument("--bare", action="store_true", help="also the least by aiohttp and by Starlette")
    parser.add_argument("--litellm", type=Path, help="folder that holds the command `litellm`")
    parser.add_argument("--soak", type=float, default=0, help="seconds of load, with the memory after each tenth")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the sides end too
    with ExitStack() as stack:
        sides = begun(stack, options)
        if options.clients:
            result["clients"] = batching(sides["rewritten"], options.clients, options.seconds)
        else:
            result |= latency(sides, options.rate, options.seconds)
            if has_wrk():
                result |= throughput(sides, options.seconds)
            else:
                print("wrk is not installed, so throughput is not measured; apt install wrk", flush=True)
        if options.soak:
            result["memory_mb"] = soaked(sides["rewritten"], options.rate, options.soak)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
