"""What `alignpro serve` holds under load for minutes: its memory and its open files, which should not grow.

    python benchmarks/soak.py --seconds 600

Sixteen clients ask for answers without an end: some prompts are rewritten, some passed on, some requests are refused,
and some clients go away. Sixty times the server is looked at. The last line is a JSON object: requests, megabytes after
each tenth, and the slope of the memory after the first two tenths in MB a minute, with its 95% interval by a line
through the means of eight stretches.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import aiohttp
import numpy as np
import psutil
from scipy.stats import linregress, t
from served import chat_body, endpoints, served

LOOKS = 60


async def mixed(url: str, rate: float, seconds: float, clients: int = 16) -> int:
    """Ask at no more than a rate, for so long; how many requests there were."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    asked = 0

    async def many(client: aiohttp.ClientSession, mine: int) -> None:
        nonlocal asked
        number = 0
        while (begun := loop.time()) < end:
            number, asked = number + 1, asked + 1
            deep = number % 7 == 0
            data = b"[" * 200 if deep else chat_body("m", f"prompt {number} of client {mine} at {begun}")
            headers = {"x-alignpro": "off"} if number % 5 == 0 else {}
            asking = asyncio.ensure_future(client.post(f"{url}/v1/chat/completions", data=data, headers=headers))
            if number % 11 == 0:
                await asyncio.sleep(0.001)
                asking.cancel()
            for response in await asyncio.gather(asking, return_exceptions=True):
                if isinstance(response, aiohttp.ClientResponse):
                    await response.read()
                    assert response.status == (400 if deep else 200)
                elif not isinstance(response, asyncio.CancelledError):
                    raise response
            await asyncio.sleep(max(0.0, begun + clients / rate - loop.time()))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(many(client, mine) for mine in range(clients)))
    return asked


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seconds", type=float, default=600)
    ask.add_argument("--rate", type=float, default=200, help="requests a second, at most")
    given = ask.parse_args()
    megabytes, files, asked = [], [], 0
    with (
        endpoints() as scripted,
        served(scripted, "short", f"{scripted}/frozen/v1", "--cache", "1000") as (url, pid),
    ):
        server = psutil.Process(pid)
        for _ in range(LOOKS):
            asked += asyncio.run(mixed(url, given.rate, given.seconds / LOOKS))
            megabytes.append(server.memory_info().rss / 1e6)
            files.append(server.num_fds())
            print(f"{asked} requests: {megabytes[-1]:.1f} MB, {files[-1]} open files", flush=True)
    stretches = np.array(megabytes[12:]).reshape(8, 6).mean(axis=1)
    line = linregress((np.arange(8) + 0.5) * given.seconds / 600, stretches)
    reach = float(t.ppf(0.975, 6)) * line.stderr
    told = {
        "requests": asked,
        "memory_mb": [round(one, 1) for one in megabytes[5::6]],
        "slope_mb_per_minute": [round(float(one), 4) for one in (line.slope, line.slope - reach, line.slope + reach)],
        "open_files": [max(files[:6]), max(files[-6:])],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
