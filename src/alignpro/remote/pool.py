"""URLs that serve one model: how many requests each may have under way, which one is rested, when all are down."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from alignpro.errors import EndpointDown


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the client is. Times are in seconds.

    `timeout` bounds one request from its start to its last byte. A request is given up, as a failed sample, after
    `attempts` faults that are its own. A URL rests after `faults_to_rest` faults in a row. The endpoint is down when
    every URL has failed for `patience` with nothing answered in between.
    """

    timeout: float = 300.0
    connect: float = 10.0
    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    patience: float = 180.0
    faults_to_rest: int = 3
    first_concurrency: int = 8
    most_concurrency: int = 128

    def wait(self, times: int) -> float:
        """Seconds before going on after so many failures (0 is the first): doubled each time, with jitter of half."""
        return min(self.longest_wait, self.first_wait * 2.0 ** min(times, 30)) * random.uniform(0.5, 1.0)


@dataclass(eq=False, slots=True)
class Host:
    """One URL and what is known of it.

    `limit` is the requests it may have under way: it grows by one for each answer until the first 429, then by one a
    round of answers; a 429 halves it, once a round. Nothing but a 429 lowers it.
    """

    url: str
    policy: Policy
    limit: float
    under_way: int = 0
    peak: int = 0
    answered: int = 0
    faults: int = 0
    rests: int = 0
    throttles: int = 0
    cuts: int = 0
    failing_since: float | None = None
    rest_until: float = 0.0
    last_cut: float = field(default=-1.0)
    last_fault: str = ""

    def room(self, now: float) -> int:
        """Requests it may take now. One alone tries out a URL that has rested."""
        if now < self.rest_until:
            return 0
        allowed = 1 if self.faults >= self.policy.faults_to_rest else int(self.limit)
        return max(0, allowed - self.under_way)

    def succeeded(self) -> None:
        """An answer came."""
        self.answered += 1
        self.faults = self.rests = self.throttles = 0
        self.failing_since = None
        if self.under_way >= int(self.limit) - 1:  # more room is of use only where what there is was filled
            step = 1.0 if not self.cuts else 1.0 / self.limit
            self.limit = min(float(self.policy.most_concurrency), self.limit + step)

    def throttled(self, now: float, started: float, retry_after: float | None, status: int = 429) -> None:
        """A 429 or 529 came to a request sent at `started`; the whole URL pauses, since the limit is on all of it."""
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.last_fault = "429, too many requests" if status == 429 else f"{status}, overloaded"
        if started >= self.last_cut:
            self.limit = max(1.0, self.limit / 2)
            self.last_cut = now
            self.cuts += 1
            self.throttles += 1
        self._rest(now, retry_after, self.throttles - 1)

    def refused(self) -> None:
        """A 4xx: no answer, but the server is well."""
        self.faults = self.rests = 0
        self.failing_since = None

    def failed(self, now: float, reason: str, retry_after: float | None, rest: bool) -> None:
        """A fault: nothing came, or a 5xx, or something that cannot be read. Without `rest` it is not held against
        the URL."""
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.last_fault = reason
        self.faults += rest
        resting = now < self.rest_until
        if retry_after is not None or (self.faults >= self.policy.faults_to_rest and not resting):
            self._rest(now, retry_after, self.rests)
            self.rests += not resting

    def down(self, now: float) -> bool:
        """Whether it has failed past the patience, with nothing under way that could still be answered."""
        if self.failing_since is None:
            return False
        failing = now - self.failing_since - (self.policy.timeout if self.under_way else 0.0)
        return max(failing, 0.0 if self.under_way else self.rest_until - now) > self.policy.patience

    def _rest(self, now: float, retry_after: float | None, times: int) -> None:
        """As long as it asks for; where that is no time to speak of, ever longer all the same."""
        own = self.policy.wait(max(0, times))
        if retry_after is None:
            seconds = own
        else:
            seconds = retry_after + random.uniform(0, 0.25) * max(retry_after, self.policy.first_wait)
            seconds = max(seconds, own) if retry_after < self.policy.first_wait else seconds
        self.rest_until = max(self.rest_until, now + seconds)


class Stopped(Exception):
    """The call this request belongs to has ended."""


class Call:
    """One call from outside: the first error that stops it is kept, the rest of its work ends where it stands."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._stopped = asyncio.Event()

    def stop(self, error: BaseException) -> None:
        """Let nothing more out."""
        self.error = self.error or error
        self._stopped.set()

    def check(self) -> None:
        """Raise Stopped where it is."""
        if self.error is not None:
            raise Stopped

    async def pause(self, seconds: float) -> None:
        """Wait, or less where it is stopped meanwhile."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except asyncio.TimeoutError:
            return
        self.check()


class Pool:
    """Gives each request a URL with room, first come first served. It lives in one event loop."""

    def __init__(self, urls: Sequence[str], policy: Policy) -> None:
        self.hosts = [Host(url, policy, float(policy.first_concurrency)) for url in urls]
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._called = 0  # turns that have come, of requests that have not looked yet
        self._alarm: asyncio.TimerHandle | None = None

    async def take(self, call: Call, avoid: Host | None = None) -> Host:
        """A URL with room, not the one to avoid where there is another; to be given back.

        Raises EndpointDown when every URL is down, and Stopped where the call is.
        """
        loop = asyncio.get_running_loop()
        while True:
            call.check()
            now = loop.time()
            if self.hosts[0].down(now) and all(host.down(now) for host in self.hosts):
                raise EndpointDown(self._explain(now))
            free = [host for host in self.hosts if host.room(now)]
            if free:
                host = free[0]
                if len(free) > 1:
                    host = min(free, key=lambda h: (h is avoid, h.faults > 0, h.under_way / h.limit))
                host.under_way += 1
                host.peak = max(host.peak, host.under_way)
                return host
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            self._set_alarm(loop, now)
            try:
                try:
                    await turn
                finally:
                    self._called -= turn.done() and not turn.cancelled()
                call.check()
            except BaseException:
                self._wake()  # the turn is the next one's
                raise

    def give_back(self, host: Host) -> None:
        """The request has ended; what came of it was told to the host before."""
        host.under_way -= 1
        self._wake()

    def has_other(self, host: Host) -> bool:
        """Whether another URL is up, so that this one's work can go there."""
        return any(h is not host and h.faults < h.policy.faults_to_rest for h in self.hosts)

    def wake_all(self) -> None:
        """Have everyone look again, after a call was stopped."""
        while self._waiting:
            self._next()

    def forgive(self) -> None:
        """Begin a new patience, where nothing is under way: whoever calls again wants it tried again."""
        if not any(host.under_way for host in self.hosts):
            for host in self.hosts:
                host.failing_since = None
                host.rest_until = 0.0

    def _wake(self) -> None:
        if not self._waiting:
            return
        now = asyncio.get_running_loop().time()
        room = sum(host.room(now) for host in self.hosts)
        for _ in range(max(1, room) - self._called):  # one looks even where there is no room: all may be down
            self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._called += 1
                return

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        rests = [host.rest_until for host in self.hosts if host.rest_until > now]
        if not rests or (self._alarm is not None and now < self._alarm.when() <= min(rests)):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(min(rests) + 1e-3, self._wake)

    def _explain(self, now: float) -> str:
        faults = "; ".join(f"{host.url}: {host.last_fault}" for host in self.hosts)
        since = max(now - (host.failing_since or now) for host in self.hosts)
        return (
            f"no URL has answered for {since:.0f} s ({faults}); what was answered is saved: bring one up and go on"
            " with --resume"
        )
