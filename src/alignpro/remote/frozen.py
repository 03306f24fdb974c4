"""A frozen model behind OpenAI-compatible URLs: synchronous and batched outside, asynchronous inside."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from alignpro.config import Sampling
from alignpro.errors import EndpointUnusable, SettingsError
from alignpro.models.framing import Frame, Message
from alignpro.remote.accounting import Account
from alignpro.remote.address import OPENAI_KEY, OPENAI_URL, Endpoint, parse_endpoint
from alignpro.remote.answers import Answer
from alignpro.remote.cache import AnswerCache, key
from alignpro.remote.pool import Call, Policy, Pool
from alignpro.remote.requests import Requests
from alignpro.remote.wire import Client
from alignpro.rng import derive
from alignpro.runtime import processes
from alignpro.types import Asking, Generation, Prompt, as_prompts

OPENAI_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""Sent to `openai:` endpoints, by the environment variables that hold them; no concern of another provider."""
T = TypeVar("T")


class EndpointModel:
    """A frozen model that is asked over HTTP.

    Equal prompts of a call are one request with as many samples; samples in the cache are not asked for again. Sample i
    of a prompt has the seed `derive(seed, prompt, i)`, sent where the server takes one, so that another run with the
    same seed finds every sample, and another seed none. A sample that failed is a Generation with its `failure`.

    Requests run in an event loop in a thread of its own; `respond` may be called from several threads. `close`, or a
    `with` block, ends it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sampling: Sampling,
        frame: Frame | None = None,
        cache: AnswerCache | None = None,
        account: Account | None = None,
        policy: Policy | None = None,
    ) -> None:
        if endpoint.key_variable == OPENAI_KEY and sampling.top_k > 1:
            raise SettingsError("frozen.sampling.top_k is not known to openai: endpoints; leave it at 0")
        policy = policy or Policy()
        self.endpoint, self.sampling, self.frame, self.cache = endpoint, sampling, frame or Frame(), cache
        self.account = account or Account()
        self.pool = Pool(endpoint.urls, policy)
        self._owns_cache = False
        secret = os.environ.get(endpoint.key_variable, "").strip()
        if not secret and endpoint.key_variable == OPENAI_KEY:
            raise EndpointUnusable(
                f"openai:{endpoint.model} needs a key; set the environment variable {OPENAI_KEY} (and OPENAI_BASE_URL"
                " where it is not OpenAI's own)"
            )
        headers = OPENAI_HEADERS if endpoint.key_variable == OPENAI_KEY else {}
        more = {header: os.environ[name] for header, name in headers.items() if os.environ.get(name)}
        client = Client(endpoint.urls, secret, policy.connect, more)
        self._requests = Requests(
            model=endpoint.model,
            sampling=sampling,
            pool=self.pool,
            policy=policy,
            account=self.account,
            client=client,
            key_variable=endpoint.key_variable,
            length="max_completion_tokens" if endpoint.urls == (OPENAI_URL,) else "max_tokens",
        )
        self._locks: weakref.WeakValueDictionary[tuple[str, int], asyncio.Lock] = weakref.WeakValueDictionary()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="alignpro-endpoint", daemon=True)
        self._thread.start()
        self._end = weakref.finalize(self, _shut, self._loop, self._thread, client)

    @property
    def name(self) -> str:
        return self.endpoint.model

    def respond(self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        """`counts[i]` responses to `prompts[i]`.

        Raises EndpointUnusable, EndpointDown, BudgetSpent or CacheUnusable, each after everything under way has been
        answered and saved; the same call again asks only for the rest. Of several processes the first asks for all.
        """
        return processes.by_first(lambda: self._ask_for(prompts, counts, seed))

    def _ask_for(self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int) -> list[list[Generation]]:
        self._begin(self._forgive())
        return self._run(self._rows(prompts, counts, seed, Call()))

    @contextmanager
    def asking(self) -> Iterator[Asking]:
        """Ask without waiting. Left by an error, it asks nothing more, and returns when all that was under way is
        answered and saved; an interrupt is not kept waiting."""
        questions = _Questions(self)
        try:
            yield questions
        except Exception as error:
            questions.stop(error)
            raise
        except BaseException:
            questions.drop()
            raise

    def check(self) -> None:
        """Ask for one token, so that a wrong key, an unknown model or a server that is down shows before any work.

        Raises EndpointUnusable, EndpointDown, BudgetSpent.
        """
        try:
            greeting = replace(self.frame, template="{prompt}").messages("Hi")
            processes.by_first(lambda: self._run(self._requests.check(greeting)))
        except Exception as error:
            error.__context__ = None  # an error of aiohttp's may hold the request, and that the key
            raise

    def close(self) -> None:
        """End the connections, the thread, and the cache where `load_endpoint` made it."""
        self._end()
        if self._owns_cache and self.cache is not None:
            self.cache.close()

    def __enter__(self) -> EndpointModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if not self._end.alive:
            work.close()
            raise RuntimeError(f"the endpoint of {self.name} was closed; load it anew")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # of use where this thread was interrupted
            raise

    async def _forgive(self) -> None:
        self.pool.forgive()

    async def _stop(self, call: Call, error: Exception) -> None:
        call.stop(error)
        self.pool.wake_all()

    async def _rows(
        self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int, call: Call
    ) -> list[list[Generation]]:
        wanted: Counter[Prompt] = Counter()
        for prompt, count in zip(as_prompts(prompts), counts, strict=True):
            wanted[prompt] += count
        rows = {prompt: iter(answers) for prompt, answers in (await self._respond(wanted, seed, call)).items()}
        return [
            [next(rows[prompt]).generation() for _ in range(n)]
            for prompt, n in zip(as_prompts(prompts), counts, strict=True)
        ]

    async def _respond(self, wanted: Mapping[Prompt, int], seed: int, call: Call) -> dict[Prompt, list[Answer]]:
        rows = await asyncio.gather(
            *(self._answers(prompt, n, seed, call) for prompt, n in wanted.items()), return_exceptions=True
        )
        if call.error is not None:
            call.error.__context__ = None  # an error of aiohttp's may hold the request, and that the key
            raise call.error
        return {prompt: row for prompt, row in zip(wanted, rows, strict=True) if not isinstance(row, BaseException)}

    async def _answers(self, prompt: Prompt, n: int, seed: int, call: Call) -> list[Answer]:
        messages = self.frame.messages(prompt)
        try:
            "".join(turn["content"] for turn in messages).encode()
        except UnicodeEncodeError:
            return [Answer("", failure="the prompt is no valid Unicode text")] * n
        try:
            return await self._ask(messages, n, seed, call)
        except BaseException as error:
            call.stop(error)
            self.pool.wake_all()
            raise

    async def _ask(self, messages: Sequence[Message], n: int, seed: int, call: Call) -> list[Answer]:
        cache, books, text = self.cache, self._requests.books, messages[-1]["content"]
        what = {"messages": messages, "sampling": self.sampling.model_dump(), "seed": seed}
        keys = [key(self.endpoint.identity, self.endpoint.model, what, i) for i in range(n)]

        def save(answers: Mapping[int, Answer]) -> None:
            if cache is not None:
                cache.put({keys[i]: answer for i, answer in answers.items()})

        lock = self._locks.setdefault((text, seed), asyncio.Lock())
        async with lock:  # an equal request under way is waited for, then found in the cache
            call.check()
            stored = cache.get(keys) if cache is not None else {}
            got = {i: stored[k] for i, k in enumerate(keys) if k in stored}
            books.from_cache += len(got)
            # Seeds of 31 bits, since servers differ in how many they take.
            seeds = {i: derive(seed, text, i) & 0x7FFFFFFF for i in range(n) if i not in got}
            if seeds:
                got |= await self._requests.fetch(messages, seeds, call, save)
        books.failed += sum(answer.failure is not None for answer in got.values())
        return [got[i] for i in range(n)]


class _Questions:
    """What was asked of an endpoint and not waited for; the first error stops the rest."""

    def __init__(self, model: EndpointModel) -> None:
        self._model, self._call = model, Call()
        self._asked: list[Future[list[list[Generation]]]] = []
        model._begin(model._forgive())

    def ask(self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int) -> Future[list[list[Generation]]]:
        """What `respond` would give, later. Raises the error that stopped an earlier question."""
        if self._call.error is not None:
            raise self._call.error
        self._asked.append(self._model._begin(self._model._rows(prompts, counts, seed, self._call)))
        return self._asked[-1]

    def stop(self, error: Exception) -> None:
        """Send nothing more, and wait for what is under way."""
        self._model._run(self._model._stop(self._call, error))
        wait(self._asked)

    def drop(self) -> None:
        """Break off everything."""
        for future in self._asked:
            future.cancel()


def load_endpoint(
    spec: str,
    sampling: Sampling,
    *,
    frame: Frame | None = None,
    cache: Path | None = None,
    account: Account | None = None,
    policy: Policy | None = None,
    identity: str | None = None,
) -> EndpointModel:
    """The frozen model that `spec` names; `cache` is a file of answers, made where there is none.

    Nothing is sent before the first prompt. Raises EndpointUnusable for a spec that cannot be read, a missing key or
    missing packages, SettingsError for a budget that cannot be used, CacheUnusable.
    """
    endpoint = parse_endpoint(spec, identity)
    answers = AnswerCache(cache) if cache is not None else None
    model = EndpointModel(endpoint, sampling, frame, answers, account, policy)
    model._owns_cache = True
    return model


def _shut(loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: Client) -> None:
    if thread.is_alive():
        try:
            asyncio.run_coroutine_threadsafe(client.close(), loop).result(timeout=5)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=5)
    if not loop.is_running():
        loop.close()
