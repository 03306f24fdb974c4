"""One prompt's samples from a pool: what is sent, what each fault means, what is tried again and where."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alignpro.config import Sampling
from alignpro.errors import EndpointDown, EndpointUnusable
from alignpro.models.framing import Message
from alignpro.remote.accounting import Account, Usage
from alignpro.remote.address import is_openai
from alignpro.remote.answers import Answer, Unreadable, read, usage_of
from alignpro.remote.commits import Commits
from alignpro.remote.dialect import LENGTHS, NEUTRAL, Dialect
from alignpro.remote.pool import Call, Host, Policy, Pool
from alignpro.remote.wire import Client, Fault, Refused, Throttled

MOST_TOGETHER = 32
"""Samples asked for in one request; an endpoint's own most is 128, and a request is only as quick as its longest."""
SAME_REFUSALS = 8
"""Refusals in the same words, with nothing ever answered, after which it is the settings that are at fault."""
FRAME_TOKENS = 256
"""Tokens that a chat template may add to a prompt, beyond one for each byte of it; bounds what a request can cost."""
CHECKS, PROBE_S = 3, 60.0
"""Times a URL is tried before a run begins, and seconds for each."""
_NO_CREDIT = re.compile(r"credit balance is too low|insufficient (balance|funds|credit)", re.I)
_NO_MODEL = re.compile(r"model\b.*\b(not found|does not exist|unknown|not exist)|model_not_found|invalid model", re.I)

Save = Callable[[Mapping[int, Answer]], None]
Tell = Callable[[str, str], None]
"""(kind, text): what the user must know, once for each kind."""


@dataclass
class Requests:
    """Asks a pool for samples."""

    model: str
    sampling: Sampling
    pool: Pool
    policy: Policy
    account: Account
    client: Client
    length: str = LENGTHS[0]
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    dialects: dict[str, Dialect] = field(default_factory=dict)
    tell: Tell = lambda kind, text: None
    _refusals: dict[str, int] = field(default_factory=dict)
    _words: dict[tuple[str, str], str] = field(default_factory=dict)
    _written: dict[tuple[str, frozenset[str], int, int], str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.books, self.commits = self.account.open(self.model), Commits(self.account)
        for host in self.pool.hosts:
            lacks = frozenset(NEUTRAL if is_openai(host.url) else ())
            self.dialects[host.url] = Dialect(length=self.length, lacks=lacks)

    @property
    def most(self) -> int:
        """Requests that all URLs together may have under way."""
        return len(self.pool.hosts) * self.policy.most_concurrency

    def forgive(self) -> None:
        """Begin a new patience."""
        self.pool.forgive()

    def wake(self) -> None:
        """Have every request that waits for a URL look again."""
        self.pool.wake_all()

    async def close(self) -> None:
        """End the connections."""
        await self.client.close()

    async def fetch(
        self, messages: Sequence[Message], seeds: Mapping[int, int], call: Call, save: Save
    ) -> dict[int, Answer]:
        """The samples at the indices of `seeds`, each with its seed; those that were answered go to `save` at once.

        A sample that cannot be had is an Answer with its failure. Raises EndpointUnusable, EndpointDown, BudgetSpent,
        and Stopped where something else has stopped the call.
        """
        apart: list[asyncio.Task[dict[int, Answer]]] = []
        try:
            got = await self._fetch(messages, seeds, call, save, apart)
        except asyncio.CancelledError:
            for part in apart:
                part.cancel()
            raise
        except BaseException as error:
            call.stop(error)
            self.pool.wake_all()
            await asyncio.gather(*apart, return_exceptions=True)
            raise
        for answers in await asyncio.gather(*apart, return_exceptions=True) if apart else ():
            if isinstance(answers, BaseException):
                raise answers
            got |= answers
        return got

    async def check(self, messages: Sequence[Message]) -> None:
        """One request of a token, booked as any other, until a URL answers.

        Raises EndpointUnusable for a key or a model that is refused and for what is no chat endpoint, EndpointDown
        where no URL answers.
        """
        faults: list[str] = []
        for host in self.pool.hosts:
            fault = await self._probe(host, messages)
            if fault is None:
                return
            if fault.reason.startswith("the answer"):
                raise EndpointUnusable(
                    f"{self.client.named(host.url)} does not speak OpenAI's chat completions"
                    f" ({fault.reason}{fault.said}); check the URL, which ends where /chat/completions begins, as in"
                    " http://host:8000/v1"
                )
            faults.append(f"{host.url}: {fault.reason}{fault.said}")
        raise EndpointDown(f"no URL answers ({'; '.join(faults)}); start the server, or check the URL, and try again")

    async def _probe(self, host: Host, messages: Sequence[Message]) -> Fault | None:
        """Ask one URL for a token, some times over where that brings none; the last fault, None where it answers."""
        trial: Dialect | None = None
        tried = 0
        while True:
            dialect = trial or self.dialects[host.url]
            try:
                limit = min(self.policy.timeout, PROBE_S)
                await self._once(host, dialect, messages, [0], 0, Call(), lambda answers: None, 1, limit)
                self._adopt(host, trial)
                return None
            except Throttled:
                return None  # it is up, and it takes the key
            except Refused as refusal:
                if other := self._otherwise(host, dialect, refusal):
                    trial = other
                    continue
                self._check_refusal(host, refusal)
                if "token" not in refusal.message:  # one token may be too few for it
                    raise EndpointUnusable(
                        f"{self.client.named(host.url)} refuses a first request ({refusal.status}: {refusal.message});"
                        " change the setting it names"
                    ) from None
                return None
            except Fault as fault:
                tried += 1
                if tried == CHECKS:
                    return fault
                await asyncio.sleep(min(2.0, self.policy.wait(tried - 1)))

    async def _fetch(
        self,
        messages: Sequence[Message],
        seeds: Mapping[int, int],
        call: Call,
        save: Save,
        apart: list[asyncio.Task[dict[int, Answer]]],
    ) -> dict[int, Answer]:
        todo, got, strikes = list(seeds), dict[int, Answer](), 0
        failed_at: Host | None = None
        refused_n: Host | None = None
        answered: dict[str, int] = {}  # by URL, what it had answered when this request last failed there
        trials: dict[str, Dialect] = {}  # by URL, how it is asked after a refusal, until an answer shows that it helps
        while todo:
            host = await self.pool.take(call, avoid=failed_at)
            dialect = self._dialect(host, trials)
            if dialect.together is False and len(todo) > 1:
                apart += [asyncio.create_task(self.fetch(messages, {i: seeds[i]}, call, save)) for i in todo[1:]]
                todo = todo[:1]
            batch = todo[: 1 if refused_n else MOST_TOGETHER]
            try:
                answers = await self._once(host, dialect, messages, batch, seeds[batch[0]], call, save)
                got |= answers
                todo = [i for i in todo if i not in answers]
                if refused_n:
                    self._learn(refused_n, together=False)
                self._adopt(host, trials.pop(host.url, None))
                failed_at = refused_n = None
            except Throttled:
                pass
            except Fault as fault:
                # A URL that answered others meanwhile is up, so the fault lies in this request.
                strikes += fault.reached or answered.get(host.url, host.answered) != host.answered
                answered[host.url], failed_at = host.answered, host
                if strikes >= self.policy.attempts:
                    got |= {i: Answer("", failure=f"{fault.reason}, {strikes} times") for i in todo}
                    todo = []
            except Refused as refusal:
                options, now = dialect.options(self.sampling, 0), self._dialect(host, trials)
                alone = len(batch) > 1 and dialect.together is None and not dialect.named(options, refusal)
                if (now.lacks, now.length) != (dialect.lacks, dialect.length):
                    pass  # learnt while this one was under way
                elif not alone and (other := self._otherwise(host, dialect, refusal)):
                    trials[host.url], refused_n = other, None
                else:
                    self._check_refusal(host, refusal)
                    if alone:
                        refused_n = host  # it may be n that is not understood: one alone tells
                    else:
                        got |= {i: Answer("", failure=f"refused ({refusal.status}): {refusal.message}") for i in todo}
                        todo = []
            finally:
                self.pool.give_back(host)
            if todo and failed_at is not None and strikes:
                await call.pause(self.policy.wait(strikes - 1))
        return got

    async def _once(
        self,
        host: Host,
        dialect: Dialect,
        messages: Sequence[Message],
        batch: Sequence[int],
        seed: int,
        call: Call,
        save: Save,
        longest: int | None = None,
        timeout: float | None = None,
    ) -> dict[int, Answer]:
        """One request to one URL; what comes of it is told to host and books. Raises as `Client.exchange`."""
        loop = asyncio.get_running_loop()
        longest = longest or self.sampling.max_new_tokens
        sent = sum(len(message["content"].encode()) for message in messages)
        most = Usage(sent + FRAME_TOKENS, len(batch) * longest)
        while not self.account.reserve(self.model, most):
            await asyncio.sleep(0.01)
            call.check()
        started, settled = loop.time(), False
        try:
            shared, own = self._shared(dialect, len(batch), longest), {"messages": messages}
            request = own if "seed" in dialect.lacks else {**own, "seed": seed}
            body = await self.client.exchange(host.url, request, timeout or self.policy.timeout, shared)
            usage = usage_of(body)
            if usage is not None:  # taken, whatever else the answer holds
                self.account.settle(self.model, most, usage)
                settled = True
            if error := self.client.error_in(host.url, body):
                raise error
            try:
                answers = read(body, len(batch), usage)
            except Unreadable as unreadable:
                raise Fault(str(unreadable)) from None
            host.succeeded()
            if not settled:
                self.account.settle(self.model, most, None)
                settled = True
            by_index = dict(zip(batch, self._independent(host, answers, len(batch)), strict=False))
            save(by_index)
            return by_index
        except Throttled as error:
            self.books.throttled += 1
            if error.out_of_credit:
                raise self._no_credit(host) from None
            host.throttled(loop.time(), started, error.retry_after, error.status)
            raise
        except Fault as fault:
            self.books.lost += not settled
            # A lone URL that does something is not rested for it: it may be the prompts that it cannot do.
            rest = not fault.reached or self.pool.has_other(host)
            host.failed(loop.time(), f"{fault.reason}{fault.said}", fault.retry_after, rest)
            raise
        except Refused:
            self.books.refused += 1
            host.refused()
            raise
        finally:
            if settled:
                await self.commits.done()
            else:
                self.account.release(self.model, most)

    def _independent(self, host: Host, answers: Sequence[Answer], wanted: int) -> Sequence[Answer]:
        """Those of a request's samples that count as drawn each for itself: one, where all are the same."""
        if wanted == 1 or all(answer.failure for answer in answers):
            return answers
        drawn = self.sampling.temperature > 0 and self.sampling.top_k != 1
        if drawn and len(answers) > 1 and len({answer.text for answer in answers}) == 1:
            self._learn(host, together=False)
            self.tell(
                f"equal samples {host.url}",
                f"{host.url} gave {len(answers)} equal samples of one prompt to a request, as servers do that give each"
                " of them the same seed; samples are asked for one by one from now on",
            )
            return answers[:1]
        self._learn(host, together=len(answers) >= wanted)
        return answers

    def _shared(self, dialect: Dialect, n: int, longest: int) -> str:
        """The part of a request that the same dialect gives to all, as it is sent."""
        key = (dialect.length, dialect.lacks, n, longest)
        if key not in self._written:
            fields = self._request(dialect, (), n, 0, longest)
            self._written[key] = self.client.written(fields, ("messages", "seed"))
        return self._written[key]

    def _request(
        self, dialect: Dialect, messages: Sequence[Message], n: int, seed: int, longest: int
    ) -> dict[str, Any]:
        options = dialect.options(self.sampling, seed)
        request = {"model": self.model, "messages": messages, **options, dialect.length: longest}
        if self.template_arguments:
            request["chat_template_kwargs"] = self.template_arguments
        return {**request, "n": n} if n > 1 else request

    def _dialect(self, host: Host, trials: Mapping[str, Dialect]) -> Dialect:
        known = self.dialects[host.url]
        return known.joined(trials[host.url]) if host.url in trials else known

    def _learn(self, host: Host, together: bool) -> None:
        self.dialects[host.url] = replace(self.dialects[host.url], together=together)

    def _otherwise(self, host: Host, dialect: Dialect, refusal: Refused) -> Dialect | None:
        other = dialect.otherwise(dialect.options(self.sampling, 0), refusal)
        if other is not None:
            for name in other.lacks - dialect.lacks:
                self._words[host.url, name] = f"{refusal.status}: {refusal.message}"
        return other

    def _adopt(self, host: Host, trial: Dialect | None) -> None:
        """Put every request to a URL as the one that it answered, and say what is left out."""
        known = self.dialects[host.url]
        if trial is None:
            return
        self.dialects[host.url] = known.joined(trial)
        for name in sorted(trial.lacks - known.lacks):
            own = "its draws cannot be repeated" if name == "seed" else "the server's own value holds"
            self.tell(
                f"{host.url} without {name}",
                f"{host.url} refuses {name} ({self._words[host.url, name]}); it is asked without it from now on, so"
                f" that {own}",
            )

    def _no_credit(self, host: Host) -> EndpointDown:
        variable = self.client.access.key_variable
        return EndpointDown(
            f"{self.client.named(host.url)}: the account behind {variable or 'it'} has no credit left; what was"
            " answered is saved: add credit and go on with --resume"
        )

    def _check_refusal(self, host: Host, refusal: Refused) -> None:
        """Tell apart what is wrong with one prompt from what is wrong with all; raises for the latter."""
        status, url, words = refusal.status, self.client.named(host.url), refusal.message
        said = f"{status}: {words}" if words else str(status)
        worked = self.books.from_cache > 0 or any(h.answered for h in self.pool.hosts)
        if status == 402 or (status in (400, 403) and _NO_CREDIT.search(words)):
            raise self._no_credit(host) from None
        if 300 <= status < 400:
            raise EndpointUnusable(
                f"{url} sends elsewhere ({status} to {refusal.location or 'nowhere'}), where a key does not follow;"
                " name the URL that answers itself"
            ) from None
        if status == 401 or (status == 403 and not worked):
            raise EndpointUnusable(f"{url} refuses the key ({said}); {self.client.access.mended}") from None
        if status in (404, 405) or (status in (400, 422) and _NO_MODEL.search(words)):
            raise EndpointUnusable(
                f"{url} has no model {self.model!r} ({said}); check the model's name, and that the URL ends where"
                " /chat/completions begins, as in http://host:8000/v1"
            ) from None
        if not worked:
            self._refusals[words] = seen = self._refusals.get(words, 0) + 1
            if seen >= SAME_REFUSALS:
                raise EndpointUnusable(
                    f"{url} has refused every request so far ({said}); change the setting it names"
                ) from None
