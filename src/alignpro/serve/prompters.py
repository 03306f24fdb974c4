"""Prompts on their way to the prompters: one bounded queue, taken in micro-batches by whichever process is free."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from alignpro.prompt import Prompt
from alignpro.serve.link import PROMPTER_ERROR, Link, NotStarted, Rewritten

NOT_READY = Rewritten(None, "not-ready")
QUEUE_FULL = Rewritten(None, "queue-full")
TIMEOUT = Rewritten(None, "timeout")
LOST = Rewritten(None, PROMPTER_ERROR)
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before a process that has gone is started again, doubled each time."""


@dataclass(eq=False)
class _Job:
    """A prompt that is queued or being rewritten, and how many requests wait for it."""

    prompt: Prompt
    done: asyncio.Future[Rewritten]
    waiting: int = 0


@dataclass
class Prompters:
    """`workers` processes that `start` begins. At most `queue` prompts wait for them, each at most `timeout` seconds.

    A process that takes longer than `stall` seconds for a batch is ended and started anew. The last `cache` rewrites
    are kept, so that a conversation that comes again goes on as it did.
    """

    start: Callable[[], Awaitable[Link]]
    workers: int = 1
    queue: int = 256
    timeout: float = 5.0
    stall: float = 60.0
    cache: int = 10_000
    tell: Callable[[str], None] = print
    restarts: int = field(default=0, init=False)
    batches: int = field(default=0, init=False)
    batched: int = field(default=0, init=False)
    """Prompts that all batches together held."""

    def __post_init__(self) -> None:
        self._queued: deque[_Job] = deque()
        self._jobs: dict[str, _Job] = {}
        self._known: OrderedDict[str, Rewritten] = OrderedDict()
        self._wakes: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: dict[Link, None] = {}
        self._generation = 0

    @property
    def waiting(self) -> int:
        """Prompts in the queue."""
        return len(self._queued)

    @property
    def ready(self) -> bool:
        """Whether any process takes prompts."""
        return bool(self._serving)

    @property
    def version(self) -> str | None:
        """That of the prompter which takes prompts now; None where none does."""
        return next((link.version for link in reversed(self._serving)), None)

    async def begin(self) -> None:
        """Start every process, and return when all are ready. Raises NotStarted where one ends instead."""
        for link in await self._started():
            self._keep(link)

    async def swap(self) -> None:
        """Start every process anew, from what the command finds now. The former ones go on until the new are ready,
        and for good where those do not start."""
        try:
            links = await self._started()
        except NotStarted as error:
            return self.tell(f"{error}; the former prompter goes on")
        self._known.clear()
        self._generation += 1
        self._wake()
        for link in links:
            self._keep(link)
        self.tell(f"prompter {links[0].name}, version {links[0].version}, has taken over")

    async def rewrite(self, prompt: Prompt) -> tuple[Rewritten, bool]:
        """What becomes of a prompt, and whether that was known already."""
        key = prompt.key
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known, True
        if (job := self._jobs.get(key)) is None:
            if not self._serving:
                return NOT_READY, False
            if len(self._queued) >= self.queue:
                return QUEUE_FULL, False
            job = self._jobs[key] = _Job(prompt, asyncio.get_running_loop().create_future())
            self._queued.append(job)
            self._wake()
        job.waiting += 1
        try:
            await asyncio.wait({job.done}, timeout=self.timeout)
        finally:
            job.waiting -= 1
            if not job.waiting and job in self._queued:  # nobody waits for it any more
                self._queued.remove(job)
                del self._jobs[key]
        return (job.done.result() if job.done.done() else TIMEOUT), False

    async def end(self) -> None:
        """End every process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _started(self) -> list[Link]:
        """So many processes as are wanted, all of them or none. Raises NotStarted."""
        starting = [asyncio.ensure_future(self.start()) for _ in range(self.workers)]
        try:
            return list(await asyncio.gather(*starting))
        except BaseException:
            for one in starting:
                one.cancel()
            for link in await asyncio.gather(*starting, return_exceptions=True):
                if isinstance(link, Link):
                    await link.end()
            raise

    def _keep(self, link: Link) -> None:
        task = asyncio.create_task(self._supervise(link, self._generation))
        self._serving[link] = None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supervise(self, link: Link, generation: int) -> None:
        """Have a process take prompts, and start another where it goes, until the next generation takes over."""
        wait, loop = FIRST_WAIT, asyncio.get_running_loop()
        while True:
            self._serving[link], begun = None, loop.time()
            try:
                await self._serve(link, generation)
                return
            except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
                self.restarts += 1
                why = f"took over {self.stall:g} s" if isinstance(error, asyncio.TimeoutError) else "ended"
                self.tell(f"a prompter's process {why}; it is started again")
            finally:
                self._serving.pop(link, None)
                await link.end()
            wait = FIRST_WAIT if loop.time() - begun > LONGEST_WAIT else wait
            while self._generation == generation:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                try:
                    link = await self.start()
                    break
                except NotStarted as error:
                    self.tell(str(error))
            else:
                return

    async def _serve(self, link: Link, generation: int) -> None:
        """Rewrite batches until the next generation. Raises what says that the process has gone, or stalls."""
        wake, gone = asyncio.Event(), asyncio.ensure_future(link.gone())
        gone.add_done_callback(lambda _: wake.set())
        self._wakes.add(wake)
        under_way = set[asyncio.Task[None]]()
        try:
            while self._generation == generation:
                if gone.done():
                    raise EOFError
                for batch in [one for one in under_way if one.done()]:
                    under_way.discard(batch)
                    batch.result()
                if self._queued and len(under_way) < link.lanes:
                    jobs = [self._queued.popleft() for _ in range(min(link.batch, len(self._queued)))]
                    under_way.add(batch := asyncio.create_task(self._batch(link, jobs, generation)))
                    batch.add_done_callback(lambda _: wake.set())
                else:
                    wake.clear()
                    await wake.wait()
            await asyncio.gather(*under_way)
        finally:
            self._wakes.discard(wake)
            for one in (gone, *under_way):
                one.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _batch(self, link: Link, jobs: Sequence[_Job], generation: int) -> None:
        made = [LOST] * len(jobs)
        try:
            made = await asyncio.wait_for(link.rewrite([job.prompt for job in jobs]), self.stall)
        finally:
            for job, one in zip(jobs, made, strict=True):
                self._settle(job, one, keep=self._generation == generation)
        self.batches += 1
        self.batched += len(jobs)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    def _settle(self, job: _Job, made: Rewritten, keep: bool) -> None:
        self._jobs.pop(job.prompt.key, None)
        job.done.set_result(made)
        if keep and self.cache and made.reason != PROMPTER_ERROR:
            self._known[job.prompt.key] = made
            if len(self._known) > self.cache:
                self._known.popitem(last=False)
