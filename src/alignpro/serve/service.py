"""The server from its start to its end: listening, the prompters beside it, signals, and what was accepted finished."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from alignpro.errors import UsageError
from alignpro.serve.app import App
from alignpro.serve.audit import Audit
from alignpro.serve.exchange import Pieces
from alignpro.serve.link import Link
from alignpro.serve.metrics import Metrics
from alignpro.serve.options import Options
from alignpro.serve.prompters import Prompters
from alignpro.serve.relay import Upstream
from alignpro.serve.tracing import Tracing, chosen
from alignpro.serve.turns import Turns

LAST_REFUSALS = 0.25
"""Seconds in which requests that were on their way are refused in words, after the last accepted one has ended."""
LINGERING = 2.0
"""Seconds in which the rest of a refused request is read away, so that its client reads why it was."""


def serve(options: Options, command: Sequence[str], tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, with prompters that the command starts; SIGHUP starts them anew.

    Raises UsageError where the port cannot be had, NotStarted where a prompter does not start.
    """
    asyncio.run(_until_told(options, command, tell))


async def _until_told(options: Options, command: Sequence[str], tell: Callable[[str], None]) -> None:
    loop, told, swaps = asyncio.get_running_loop(), asyncio.Event(), set[asyncio.Task[None]]()
    tracing = chosen(options.otel, tell)
    async with Service(options, partial(Link.start, command), tell, tracing) as service:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        if not sys.stderr.isatty():  # where it says that the terminal has gone
            loop.add_signal_handler(signal.SIGHUP, lambda: swaps.add(asyncio.create_task(service.prompters.swap())))
        tell(f"http://{options.host}:{service.port}/v1 stands before {options.upstream}; the prompter is loading")
        beginning = asyncio.create_task(service.prompters.begin())
        ending = asyncio.create_task(told.wait())
        await asyncio.wait({beginning, ending}, return_when=asyncio.FIRST_COMPLETED)
        if beginning.done():
            beginning.result()
            tell(f"ready: prompter version {service.prompters.version}")
        await ending
        beginning.cancel()
        tell(f"told to end; {service.app.active} requests are finished first, new ones are refused")
        await service.drain()


class Service:
    """A server that listens while it is entered. `start` begins a prompter's process."""

    def __init__(
        self,
        options: Options,
        start: Callable[[], Awaitable[Link]],
        tell: Callable[[str], None],
        tracing: Tracing | None = None,
    ) -> None:
        self._options, self._tracing = options, tracing
        o = options
        self.prompters = Prompters(start, o.workers, o.queue, o.timeout, o.stall, o.cache, tell)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Service:
        options = self._options
        async with AsyncExitStack() as stack:
            log = Audit(options.audit, options.hash_only) if options.audit else None
            if log is not None:
                stack.callback(log.close)
            metrics = self._counting(log)
            upstream = Upstream(options, lambda: metrics.count("alignpro_upstream_retries_total"))
            turns = Turns(options.cache) if options.turns == "as-rewritten" and options.cache else None
            if self._tracing is not None:
                stack.push_async_callback(self._tracing.close)
            stack.push_async_callback(upstream.close)
            stack.push_async_callback(self.prompters.end)
            self.app = App(Pieces(options, self.prompters, upstream, metrics, log, turns, self._tracing))
            self._server = web.Server(
                self.app.handle,
                handler_cancellation=True,
                access_log=None,
                auto_decompress=False,
                keepalive_timeout=options.receive,
                lingering_time=min(LINGERING, options.receive),
            )
            runner = web.ServerRunner(self._server, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, options.host, options.port)
            try:
                await site.start()
            except OSError as error:
                raise UsageError(
                    f"cannot listen on {options.host}:{options.port} ({error.strerror}); give another --port or --host"
                ) from None
            self.port = int(runner.addresses[0][1])
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuse new requests and wait for those under way, as long as the options say."""
        self.app.draining = True
        end = asyncio.get_running_loop().time() + self._options.drain
        while self.app.active and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        await asyncio.sleep(LAST_REFUSALS)

    def _counting(self, log: Audit | None) -> Metrics:
        prompters = self.prompters
        return Metrics(
            {
                "alignpro_ready": ("Whether a prompter is ready.", lambda: float(prompters.ready)),
                "alignpro_requests_active": ("Requests under way.", lambda: float(self.app.active)),
                "alignpro_connections": ("Connections of clients.", lambda: float(len(self._server.connections))),
                "alignpro_queue_prompts": ("Prompts that wait for a prompter.", lambda: float(prompters.waiting)),
                "alignpro_batches_total": ("Batches of prompts that were rewritten.", lambda: float(prompters.batches)),
                "alignpro_batched_prompts_total": ("Prompts in those.", lambda: float(prompters.batched)),
                "alignpro_prompter_restarts_total": ("Prompters that went.", lambda: float(prompters.restarts)),
                "alignpro_audit_lost_total": ("Rows that were not written.", lambda: float(log.lost if log else 0)),
            }
        )
