"""A frozen model that is a function of the user's: a RAG chain, an agent, a vendor's SDK."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alignpro.config import Sampling
from alignpro.errors import EndpointDown, SettingsError
from alignpro.models.framing import Frame, Message
from alignpro.remote.access import SHORTEST_SECRET
from alignpro.remote.accounting import Account, Usage
from alignpro.remote.answers import EMPTY, Answer
from alignpro.remote.asked import AskedModel
from alignpro.remote.cache import AnswerCache
from alignpro.remote.commits import Commits
from alignpro.remote.pool import Call
from alignpro.remote.requests import FRAME_TOKENS, Save
from alignpro.runtime import functions

SETTING = "frozen.model"
GIVEN = ("seed", "temperature", "top_p", "top_k", "max_new_tokens", "max_tokens")
"""What a function gets beside the messages, where it has parameters of these names."""
FORM = "wanted a text, or a mapping of text, error, usage {input_tokens, output_tokens} and finish (stop or length)"
REASON_LENGTH = 80
"""Characters of a failure that are told: an exception may hold a whole request."""
LEFT_BEHIND = 8
"""Calls past their time, for each that may be under way, that may go on in threads of their own."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Function:
    """A function that answers: `call` takes `arguments` with every call, the messages by name or as the first of its
    parameters, and those of GIVEN that `takes` names. `source` is a digest of its source and its arguments."""

    name: str
    call: Callable[..., Any]
    source: str
    by_name: bool = False
    takes: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""
        return any(map(inspect.iscoroutinefunction, (self.call, getattr(self.call, "__call__", None))))  # noqa: B004

    def bound(self, messages: Sequence[Message], given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What a call gets, by place and by name: messages of its own, to do with as it likes."""
        own = [dict(message) for message in messages]
        named = {**self.arguments, **{name: given[name] for name in self.takes}}
        return ([], {"messages": own, **named}) if self.by_name else ([own], named)

    def __call__(self, messages: Sequence[Message], given: Mapping[str, Any]) -> Any:
        placed, named = self.bound(messages, given)
        return self.call(*placed, **named)


class FunctionModel(AskedModel):
    """A frozen model that is a function here, called once for every sample.

    At most `concurrency` calls are under way, each for at most `timeout` seconds. A call past its time is a failed
    sample; an async function's is cancelled, another's goes on in its thread, since nothing can end that. A call that
    raises, or gives what it should not, is a failed sample too.
    """

    def __init__(
        self,
        function: Function,
        sampling: Sampling,
        frame: Frame | None = None,
        cache: AnswerCache | None = None,
        account: Account | None = None,
        concurrency: int = 8,
        timeout: float = 300.0,
    ) -> None:
        self.function, self.account = function, account or Account()
        calls = _Calls(function, sampling, self.account, concurrency, timeout)
        super().__init__(function.name, f"python:{function.source}", sampling, frame or Frame(), cache, calls)


def load_function_model(
    spec: str,
    sampling: Sampling,
    *,
    arguments: Mapping[str, Any] | None = None,
    frame: Frame | None = None,
    cache: AnswerCache | None = None,
    account: Account | None = None,
    concurrency: int = 8,
    timeout: float = 300.0,
) -> FunctionModel:
    """The frozen model that is the function `python:module:name`, or an instance of that class made from `arguments`.

    It is not called. Raises SettingsError for what cannot be imported, made or called so, and for a budget that cannot
    be used.
    """
    function = _loaded(spec, arguments or {})
    return FunctionModel(function, sampling, frame, cache, account, concurrency, timeout)


def _loaded(spec: str, arguments: Mapping[str, Any]) -> Function:
    name, call = functions.named(spec, SETTING)
    told = json.dumps([functions.source_digest(name.partition(":")[0]), arguments], sort_keys=True, default=str)
    source = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if isinstance(call, type):
        call, arguments = functions.made(call, arguments, spec, SETTING, "messages"), {}
    functions.check_gives(call, spec, SETTING, "text", may_await=True)
    if mixed := [n for n in arguments if n in (*GIVEN, "messages")]:
        raise SettingsError(f"frozen.arguments.{mixed[0]}: {spec} gets it with every call; leave it out")
    return _as_called(Function(name, call, source, arguments=arguments), spec)


def _as_called(function: Function, spec: str) -> Function:
    """The function with what it takes, read from its signature. Raises SettingsError where it cannot be called so."""
    try:
        signature = inspect.signature(function.call)
    except ValueError:
        return function  # what is written in C need not tell its signature
    names = {p.name: p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    by_name = "messages" in names and names["messages"].kind != inspect.Parameter.POSITIONAL_ONLY
    positional = [
        p.name for p in names.values() if p.kind != p.KEYWORD_ONLY and p.name not in (*GIVEN, *function.arguments)
    ]
    first = "messages" if "messages" in names else next(iter(positional), None)
    takes = tuple(name for name in names if name in GIVEN and name != first)
    function = replace(function, by_name=by_name, takes=takes)
    unknown = [
        p.name for p in names.values() if p.default is p.empty and p.name not in (first, *takes, *function.arguments)
    ]
    if unknown:
        raise SettingsError(
            f"{SETTING} {spec}: it wants {unknown[0]!r}, and a frozen model is given messages and, by name,"
            f" {', '.join(GIVEN)}; give the parameter a default, or of a function a value by frozen.arguments"
        )
    placed, named = function.bound([], dict.fromkeys(GIVEN))
    try:
        signature.bind(*placed, **named)
    except TypeError as error:
        raise SettingsError(f"{SETTING} {spec}: it cannot be called with messages ({error})") from error
    return function


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a call came to."""

    value: Any = None
    error: BaseException | None = None


class _Calls:
    """Samples by calls of a function; it lives in one event loop."""

    def __init__(
        self, function: Function, sampling: Sampling, account: Account, concurrency: int, timeout: float
    ) -> None:
        self.function, self.account, self.timeout = function, account, timeout
        self.books, self.commits = account.open(function.name), Commits(account)
        longest = sampling.max_new_tokens
        self._given = {**sampling.model_dump(), "max_new_tokens": longest, "max_tokens": longest}
        self._most = Usage(0, longest)
        self.most = concurrency
        self._places = asyncio.Semaphore(concurrency)
        self._room = 0 if concurrency == 1 else LEFT_BEHIND * concurrency
        self._left: set[asyncio.Future[_Outcome]] = set()

    async def fetch(
        self, messages: Sequence[Message], seeds: Mapping[int, int], call: Call, save: Save
    ) -> dict[int, Answer]:
        """One call for each seed. A failure is an Answer with it; raises EndpointDown, BudgetSpent."""
        made = await asyncio.gather(
            *(self._sample(messages, i, seed, call, save) for i, seed in seeds.items()), return_exceptions=True
        )
        for error in made:
            if isinstance(error, BaseException):
                raise error
        return {i: answer for i, answer in zip(seeds, made, strict=True) if isinstance(answer, Answer)}

    def forgive(self) -> None:
        """Nothing is held against a function."""

    def wake(self) -> None:
        """Whoever waits for a place finds the call stopped when its turn comes."""

    async def close(self) -> None:
        """Cancel what is under way, where it can be."""
        for work in self._left:
            work.cancel()

    async def _sample(self, messages: Sequence[Message], index: int, seed: int, call: Call, save: Save) -> Answer:
        async with self._places:
            try:
                await self._wait_for_room(call)
                return await self._booked(messages, index, seed, call, save)
            except BaseException as error:
                call.stop(error)
                raise

    async def _wait_for_room(self, call: Call) -> None:
        """Until calls past their time have ended, where too many have not; with a concurrency of 1 one is too many.
        Raises EndpointDown."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.timeout
        call.check()
        while len(self._left) > self._room:
            if loop.time() > until:
                raise EndpointDown(
                    f"{self.function.name}: {len(self._left)} calls have gone on for more than {self.timeout:g} s past"
                    " frozen.timeout; what was answered is saved: have the function end by itself, or make it async,"
                    " which can be cancelled, and go on with --resume"
                )
            await asyncio.wait(self._left, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
            call.check()

    async def _booked(self, messages: Sequence[Message], index: int, seed: int, call: Call, save: Save) -> Answer:
        """One call, what it takes set aside before and booked after. What it answered is saved at once."""
        name = self.function.name
        sent = sum(len(message["content"].encode()) for message in messages) + FRAME_TOKENS
        most = Usage(max(sent, self._most.input), self._most.output)
        while not self.account.reserve(name, most):
            await asyncio.sleep(0.01)
            call.check()
        outcome = None
        try:
            outcome = await self._outcome(messages, seed)
        finally:
            if outcome is None:
                self.books.lost += 1
                self.account.release(name, most)
        if outcome is None:
            return Answer("", failure=f"timed out after {self.timeout:g} s")
        answer, usage, keep = _read(outcome)
        if usage is not None:  # one call took as much, so the next may
            self._most = Usage(max(self._most.input, usage.input), max(self._most.output, usage.output))
        metered = name in self.account.prices or self.account.budget.tokens is not None
        self.account.settle(name, most, usage if usage or metered else Usage())
        if keep:
            save({index: answer})
        await self.commits.done()
        return answer

    async def _outcome(self, messages: Sequence[Message], seed: int) -> _Outcome | None:
        """What a call came to, or None where its time was over."""
        work = self._begin(messages, {**self._given, "seed": seed})
        try:
            await asyncio.wait({work}, timeout=self.timeout)
        finally:
            if not work.done():
                self._left.add(work)
                work.add_done_callback(self._left.discard)
                if isinstance(work, asyncio.Task):
                    work.cancel()
        return work.result() if work.done() and not work.cancelled() else None

    def _begin(self, messages: Sequence[Message], given: Mapping[str, Any]) -> asyncio.Future[_Outcome]:
        loop = asyncio.get_running_loop()
        if self.function.is_async:
            return loop.create_task(_awaited(self.function, messages, given))
        ended: asyncio.Future[_Outcome] = loop.create_future()

        def tell(outcome: _Outcome) -> None:
            if not ended.done():
                ended.set_result(outcome)

        def work() -> None:
            outcome = _called(self.function, messages, given)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(tell, outcome)

        _thread.start_new_thread(work, ())  # a thread that does not keep the process from ending
        return ended


def _called(function: Function, messages: Sequence[Message], given: Mapping[str, Any]) -> _Outcome:
    try:
        with functions.in_this_process():
            return _Outcome(function(messages, given))
    except BaseException as error:  # whatever it is, it is this call's end alone
        return _failed(error)


async def _awaited(function: Function, messages: Sequence[Message], given: Mapping[str, Any]) -> _Outcome:
    try:
        with functions.in_this_process():
            return _Outcome(await function(messages, given))
    except BaseException as error:
        return _failed(error)


def _failed(error: BaseException) -> _Outcome:
    if isinstance(error, KeyboardInterrupt):
        _thread.interrupt_main()
    return _Outcome(error=error)


def _read(outcome: _Outcome) -> tuple[Answer, Usage | None, bool]:
    """The answer that a call gave, its usage where that was told, and whether it is one to keep: not one that raised,
    or gave what it should not."""
    if outcome.error is not None:
        told = f"{type(outcome.error).__name__}: {outcome.error}".removesuffix(": ")
        return Answer("", failure=_reason(told)), None, False
    try:
        answer, usage = _answer(outcome.value)
    except _NoAnswer as error:
        return Answer("", failure=f"the function gave {error}; {FORM}"), None, False
    return answer, usage, True


class _NoAnswer(Exception):
    """A function gave what is no answer; the message says what."""


def _answer(value: Any) -> tuple[Answer, Usage | None]:
    """The answer in what a function gave, and its usage. Raises _NoAnswer."""
    fields = {"text": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping):
        raise _NoAnswer(type(value).__name__)
    if unknown := [name for name in fields if name not in ("text", "error", "usage", "finish")]:
        raise _NoAnswer(f"a mapping with {str(unknown[0])[:REASON_LENGTH]!r}")
    text, error, finish = fields.get("text") or "", fields.get("error"), fields.get("finish") or "stop"
    if not isinstance(text, str) or finish not in ("stop", "length"):
        raise _NoAnswer(f"text of type {type(text).__name__} and finish {str(finish)[:REASON_LENGTH]!r}")
    usage = _usage(fields.get("usage"))
    failure = _reason(str(error)) if error else None if text.strip() else EMPTY
    whole = text.encode("utf-8", "replace").decode()  # lone surrogates could be stored nowhere
    return Answer(whole, "length" if finish == "length" else "stop", failure, usage or Usage()), usage


def _usage(told: Any) -> Usage | None:
    if told is None:
        return None
    counts = dict(told) if isinstance(told, Mapping) else {}
    if set(counts) != {"input_tokens", "output_tokens"} or any(type(n) is not int or n < 0 for n in counts.values()):
        raise _NoAnswer(f"usage {str(told)[:REASON_LENGTH]}")
    return Usage(counts["input_tokens"], counts["output_tokens"])


def _reason(told: str) -> str:
    """The first line of what went wrong, cut, without what the environment holds of keys."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= SHORTEST_SECRET:
            told = told.replace(value, f"[{name}]")
    return next(iter(told.strip().splitlines()), "an error without a word")[:REASON_LENGTH]
