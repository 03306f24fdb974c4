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
from alignpro.remote.answers import Answer, Unreadable, read
from alignpro.remote.pool import Call, Host, Policy, Pool
from alignpro.remote.wire import Client, Fault, Refused, Throttled

MOST_TOGETHER = 32
"""Samples asked for in one request; an endpoint's own most is 128, and a request is only as quick as its longest."""
SAME_REFUSALS = 8
"""Refusals in the same words, with nothing ever answered, after which it is the settings that are at fault."""
FRAME_TOKENS = 256
"""Tokens that a chat template may add to a prompt, beyond one for each byte of it; bounds what a request can cost."""
ECHO_LENGTH = 200
"""Characters from which samples that are all the same show a server that gives each of them the same seed."""
CHECKS, PROMPT_S = 3, 60.0
"""Times a URL is tried before a run begins, and seconds for each."""
NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""What servers fill in by the model's generation_config, or by defaults of their own, where a request leaves it out; so
named, they change nothing in the distribution that `sampling` says."""
_UNKNOWN_OPTION = re.compile(r"unsupported|not support|unrecogni|unknown|unexpected|not permitted|extra inputs", re.I)
_NO_MODEL = re.compile(r"model\b.*\b(not found|does not exist|unknown|not exist)|model_not_found|invalid model", re.I)

Save = Callable[[Mapping[int, Answer]], None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a URL was found to understand; `together` is whether it takes n, None until that is known, and `neutral`
    whether it takes the fields of NEUTRAL, which OpenAI's API does not know."""

    together: bool | None = None
    seed: bool = True
    length: str = "max_tokens"
    neutral: bool = True


@dataclass
class Requests:
    """Asks a pool for samples."""

    model: str
    sampling: Sampling
    pool: Pool
    policy: Policy
    account: Account
    client: Client
    key_variable: str
    length: str = "max_tokens"
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    dialects: dict[str, Dialect] = field(default_factory=dict)
    _refusals: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.books = self.account.open(self.model)
        for host in self.pool.hosts:
            self.dialects[host.url] = Dialect(length=self.length, neutral=not is_openai(host.url))

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
        for answers in await asyncio.gather(*apart, return_exceptions=True):
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
            for attempt in range(CHECKS):
                dialect = self.dialects[host.url]
                try:
                    await self._once(
                        host,
                        dialect,
                        messages,
                        [0],
                        0,
                        Call(),
                        lambda answers: None,
                        1,
                        min(self.policy.timeout, PROMPT_S),
                    )
                    return
                except Throttled:
                    return  # it is up, and it takes the key
                except Refused as refusal:
                    if not self._adapt(host, dialect, refusal):
                        self._check_refusal(host, refusal)
                        if "token" not in refusal.message:  # one token may be too few for it
                            raise EndpointUnusable(
                                f"{host.url} refuses a first request ({refusal.status}: {refusal.message}); change the"
                                " setting it names"
                            ) from None
                        return
                except Fault as fault:
                    reason = fault.reason
                    if reason.startswith("the answer"):
                        raise EndpointUnusable(
                            f"{host.url} does not speak OpenAI's chat completions ({reason}); check the URL, which ends"
                            " where /chat/completions begins, as in http://host:8000/v1"
                        ) from None
                    if reason.startswith("no answer") or attempt + 1 == CHECKS:
                        faults.append(f"{host.url}: {reason}")
                        break
                    await asyncio.sleep(min(2.0, self.policy.wait(attempt)))
        raise EndpointDown(f"no URL answers ({'; '.join(faults)}); start the server, or check the URL, and try again")

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
        while todo:
            host = await self.pool.take(call, avoid=failed_at)
            dialect = self.dialects[host.url]
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
                if not self._adapt(host, dialect, refusal):
                    self._check_refusal(host, refusal)
                    if len(batch) > 1 and dialect.together is None:
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
            request = self._request(dialect, messages, len(batch), seed, longest)
            body = await self.client.exchange(host.url, request, timeout or self.policy.timeout)
            try:
                answers, usage = read(body, len(batch))
            except Unreadable as error:
                raise Fault(str(error)) from None
            host.succeeded()
            self.account.settle(self.model, most, usage)
            settled = True
            if len(batch) > 1 and len(answers) < len(batch):
                self._learn(host, together=False)
            elif len(batch) > 1 and _echoes(answers):
                self._learn(host, together=False)
                answers = answers[:1]
            elif len(batch) > 1:
                self._learn(host, together=True)
            by_index = dict(zip(batch, answers, strict=False))
            save(by_index)
            return by_index
        except Throttled as error:
            self.books.throttled += 1
            if error.out_of_credit:
                raise EndpointDown(
                    f"the account behind {self.key_variable} has no credit left; what was answered is saved: add"
                    " credit and go on with --resume"
                ) from None
            host.throttled(loop.time(), started, error.retry_after)
            raise
        except Fault as fault:
            self.books.lost += 1
            # A lone URL that does something is not rested for it: it may be the prompts that it cannot do.
            rest = not fault.reached or self.pool.has_other(host)
            host.failed(loop.time(), fault.reason, fault.retry_after, rest)
            raise
        except Refused:
            self.books.refused += 1
            host.refused()
            raise
        finally:
            if not settled:
                self.account.release(self.model, most)

    def _request(
        self, dialect: Dialect, messages: Sequence[Message], n: int, seed: int, longest: int
    ) -> dict[str, Any]:
        greedy = self.sampling.top_k == 1  # said as temperature 0, which servers know that do not know top_k
        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": 0.0 if greedy else self.sampling.temperature,
            "top_p": self.sampling.top_p,
            dialect.length: longest,
            **(NEUTRAL if dialect.neutral else {}),
        }
        if self.template_arguments:
            request["chat_template_kwargs"] = self.template_arguments
        if n > 1:
            request["n"] = n
        if dialect.seed:
            request["seed"] = seed
        if self.sampling.top_k > 1:
            request["top_k"] = self.sampling.top_k
        return request

    def _learn(self, host: Host, **learnt: Any) -> None:
        self.dialects[host.url] = replace(self.dialects[host.url], **learnt)

    def _adapt(self, host: Host, used: Dialect, refusal: Refused) -> bool:
        """Whether the refused request would now be put otherwise: the URL has said that it lacks an option."""
        if refusal.status not in (400, 422):
            return False
        if self.dialects[host.url] != used:
            return True  # learnt while this one was under way
        named = f"{refusal.option} {refusal.message}"
        if used.neutral and any(name.replace("_", "") in named.replace("_", "").lower() for name in NEUTRAL):
            self._learn(host, neutral=False)
            return True
        if not _UNKNOWN_OPTION.search(named):
            return False
        if used.seed and re.search(r"\bseed\b", named):
            self._learn(host, seed=False)
        elif used.length == self.length and re.search(rf"\b{used.length}\b", named):
            self._learn(host, length="max_tokens" if self.length != "max_tokens" else "max_completion_tokens")
        else:
            return False
        return True

    def _check_refusal(self, host: Host, refusal: Refused) -> None:
        """Tell apart what is wrong with one prompt from what is wrong with all; raises for the latter."""
        status, url = refusal.status, host.url
        worked = self.books.from_cache > 0 or any(h.answered for h in self.pool.hosts)
        if status == 401 or (status == 403 and not worked):
            raise EndpointUnusable(
                f"{url} refuses the key ({status}); set the environment variable {self.key_variable} to one that it"
                " takes"
            ) from None
        if status == 402:
            raise EndpointDown(
                f"{url} wants payment (402); what was answered is saved: add credit and go on with --resume"
            ) from None
        if status in (404, 405) or (status in (400, 422) and _NO_MODEL.search(refusal.message)):
            raise EndpointUnusable(
                f"{url} has no model {self.model!r} ({status}: {refusal.message}); check the model's name, and that"
                " the URL ends where /chat/completions begins, as in http://host:8000/v1"
            ) from None
        if not worked:
            self._refusals[refusal.message] = seen = self._refusals.get(refusal.message, 0) + 1
            if seen >= SAME_REFUSALS:
                raise EndpointUnusable(
                    f"{url} has refused every request so far ({status}: {refusal.message}); change the setting it names"
                ) from None


def _echoes(answers: Sequence[Answer]) -> bool:
    return len(answers[0].text) >= ECHO_LENGTH and len({a.text for a in answers}) == 1
