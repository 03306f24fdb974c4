"""A frozen model that is computed elsewhere: synchronous outside, asynchronous inside, every answer kept."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, TypeVar

from alignpro.config import Sampling
from alignpro.models.framing import Frame, Message
from alignpro.models.written import NO_ANSWER
from alignpro.remote.accounting import Spent
from alignpro.remote.answers import Answer
from alignpro.remote.cache import AnswerCache, keys
from alignpro.remote.commits import Commits
from alignpro.remote.pool import Call
from alignpro.remote.requests import Save
from alignpro.rng import derive
from alignpro.runtime import processes, progress
from alignpro.types import Asking, Generation, Prompt, as_prompts

WORKERS = 4
"""Questions of a call in hand for each request that may be under way: some wait before they are tried again."""
T = TypeVar("T")
Self = TypeVar("Self", bound="AskedModel")


class Source(Protocol):
    """Where the samples of a prompt come from; it lives in one event loop."""

    books: Spent
    commits: Commits

    @property
    def most(self) -> int:
        """Requests that it may have under way."""
        ...

    async def fetch(
        self, messages: Sequence[Message], seeds: Mapping[int, int], call: Call, save: Save
    ) -> dict[int, Answer]:
        """The samples at the indices of `seeds`, each with its seed; what was answered goes to `save` and is on disk
        before it is given.

        A sample that cannot be had is an Answer with its failure. An error stops the call, after what is under way has
        been answered and saved.
        """
        ...

    def forgive(self) -> None:
        """Someone asks anew: forget what went wrong before."""
        ...

    def wake(self) -> None:
        """A call was stopped: have whoever waits for a turn look again."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class AskedModel:
    """A frozen model whose samples come from a `Source`.

    Equal prompts of a call are one question with as many samples; samples in the cache are not asked for again. Sample
    i of a prompt has the seed `derive(seed, prompt, i)`, so that another run with the same seed finds every sample,
    and another seed none. A sample that failed is a Generation with its `failure`.

    The source runs in an event loop in a thread of its own; `respond` may be called from several threads. `close`, or a
    `with` block, ends it. `identity` stands in the cache's keys for where the answers come from.
    """

    def __init__(
        self, name: str, identity: str, sampling: Sampling, frame: Frame, cache: AnswerCache | None, source: Source
    ) -> None:
        self.name, self.identity, self.sampling, self.frame, self.cache = name, identity, sampling, frame, cache
        self._source = source
        self._sampling = sampling.model_dump()
        self._asked = self._had = 0
        self._locks: weakref.WeakValueDictionary[bytes, asyncio.Lock] = weakref.WeakValueDictionary()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"alignpro-{name}", daemon=True)
        self._thread.start()
        self._end = weakref.finalize(self, _shut, self._loop, self._thread, source)

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

    def close(self) -> None:
        """End the thread and what the source holds."""
        self._end()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if not self._end.alive:
            work.close()
            raise RuntimeError(f"{self.name} was closed; load it anew")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # of use where this thread was interrupted
            raise

    async def _forgive(self) -> None:
        self._asked = self._had = 0
        self._source.forgive()

    async def _stop(self, call: Call, error: Exception) -> None:
        call.stop(error)
        self._source.wake()

    async def _rows(
        self, prompts: Sequence[str | Prompt], counts: Sequence[int], seed: int, call: Call
    ) -> list[list[Generation]]:
        asked, wanted = as_prompts(prompts), Counter[Prompt]()
        self._asked += sum(counts)
        for prompt, count in zip(asked, counts, strict=True):
            wanted[prompt] += count
        rows = {prompt: iter(answers) for prompt, answers in (await self._respond(wanted, seed, call)).items()}
        return [[self._told(next(rows[prompt])) for _ in range(n)] for prompt, n in zip(asked, counts, strict=True)]

    def _told(self, answer: Answer) -> Generation:
        """The answer as the rest of the package sees it, its thought apart: what is kept is what was answered."""
        if answer.failure:
            return answer.generation()
        told = self.frame.parted(answer.text, cut=answer.finish == "length")
        thought = "\n\n".join(filter(None, (answer.thought, told.thought)))
        failure = None if told.closed else NO_ANSWER
        return Generation(told.answer, answer.finish, failure=failure, thought=thought)

    async def _respond(self, wanted: Mapping[Prompt, int], seed: int, call: Call) -> dict[Prompt, list[Answer]]:
        left, rows = iter(wanted.items()), dict[Prompt, list[Answer]]()

        async def work() -> None:
            for prompt, n in left:
                rows[prompt] = await self._answers(prompt, n, seed, call)

        workers = (work() for _ in range(min(len(wanted), WORKERS * self._source.most)))
        await asyncio.gather(*workers, return_exceptions=True)
        if call.error is not None:
            call.error.__context__ = None  # an error of aiohttp's may hold the request, and that the key
            raise call.error
        return rows

    async def _answers(self, prompt: Prompt, n: int, seed: int, call: Call) -> list[Answer]:
        messages = self.frame.messages(prompt)
        try:
            "".join(turn["content"] for turn in messages).encode()
        except UnicodeEncodeError:
            return [Answer("", failure="the prompt is no valid Unicode text")] * n
        try:
            answers = await self._ask(messages, n, seed, call)
            self._had += n
            progress.tell(self._had, self._asked, "answers")
            return answers
        except BaseException as error:
            call.stop(error)
            self._source.wake()
            raise

    async def _ask(self, messages: Sequence[Message], n: int, seed: int, call: Call) -> list[Answer]:
        got = await (self._fetched if self.cache is None else self._kept)(messages, range(n), seed, call)
        answers = [got[i] for i in range(n)]
        for answer in answers:
            self._source.books.failed += answer.failure is not None
        return answers

    async def _kept(self, messages: Sequence[Message], indices: range, seed: int, call: Call) -> dict[int, Answer]:
        """What the cache holds, and the rest, which it holds from then on."""
        assert self.cache is not None
        cache, what = self.cache, {"messages": messages, "sampling": self._sampling, "seed": seed}
        if arguments := self.frame.thoughts.template_arguments:
            what["template_arguments"] = arguments
        own, *digests = keys(self.identity, self.name, what, (-1, *indices))

        def save(answers: Mapping[int, Answer]) -> None:
            self._source.commits.add(cache, {digests[i]: answer for i, answer in answers.items()})

        lock = self._locks.setdefault(own, asyncio.Lock())
        async with lock:  # an equal request under way is waited for, then found in the cache
            call.check()
            stored = cache.get(digests)
            got = {i: stored[digest] for i, digest in enumerate(digests) if digest in stored}
            self._source.books.from_cache += len(got)
            left = [i for i in indices if i not in got]
            return got | await self._fetched(messages, left, seed, call, save)

    async def _fetched(
        self,
        messages: Sequence[Message],
        indices: Iterable[int],
        seed: int,
        call: Call,
        save: Save = lambda answers: None,
    ) -> dict[int, Answer]:
        call.check()
        # Seeds of 31 bits, since servers differ in how many they take.
        text = messages[-1]["content"]
        seeds = {i: derive(seed, text, i) & 0x7FFFFFFF for i in indices}
        return await self._source.fetch(messages, seeds, call, save) if seeds else {}


class _Questions:
    """What was asked and not waited for; the first error stops the rest."""

    def __init__(self, model: AskedModel) -> None:
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


def _shut(loop: asyncio.AbstractEventLoop, thread: threading.Thread, source: Source) -> None:
    if thread.is_alive():
        try:
            asyncio.run_coroutine_threadsafe(source.close(), loop).result(timeout=5)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=5)
    if not loop.is_running():
        loop.close()
