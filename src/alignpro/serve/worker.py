"""A prompter in a process of its own, which rewrites what the server sends it until the server goes."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from alignpro.flow.prompters import NO_REWARD
from alignpro.models.local import TOO_LONG
from alignpro.prompt import Prompt
from alignpro.running.rewriter import NOT_ASKED, Rewrite, Rewriter
from alignpro.runtime.interrupt import SIGNALS
from alignpro.serve.link import PROMPTER_ERROR, Rewritten, prompts_in, receive, send

REASONS = {TOO_LONG: "too-long", NO_REWARD: "no-reward", NOT_ASKED: PROMPTER_ERROR}
NO_REWRITE = "no-rewrite"

Guard = Callable[[Prompt, str], str | None]
"""Given x and x', says in a word or two why x' must not be sent on; None where it may be."""


def leave_signals_to_the_server() -> None:
    """The server, which is sent them too, finishes what it accepted and then ends this process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def work(link: socket.socket, rewriter: Rewriter, guard: Guard | None = None, seed: int = 0) -> None:
    """Say that the prompter is ready, once it has rewritten something; then rewrite until the other side goes.

    Every prompt takes `seed`, so that the same one is rewritten the same way by every process with these weights.
    """
    rewriter.rewrite("Which way to the station?", seed=seed)
    send(link, [rewriter.prompter.name, version(rewriter), rewriter.batch, rewriter.lanes])
    sending = threading.Lock()

    def handle(number: int, asked: Sequence[Sequence[Any]]) -> None:
        made = [one[:3] for one in rewritten(rewriter, prompts_in(asked), guard, seed)]
        with sending:
            send(link, [number, made])

    with ThreadPoolExecutor(rewriter.lanes) as pool:
        while (message := receive(link)) is not None:
            if rewriter.lanes == 1:
                handle(*message)  # in this thread, for which torch's were counted
            else:
                pool.submit(handle, *message)


def version(rewriter: Rewriter) -> str:
    """A digest of what decides its rewrites."""
    told = json.dumps(rewriter.described(), sort_keys=True, default=str)
    return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()


def rewritten(rewriter: Rewriter, prompts: Sequence[Prompt], guard: Guard | None, seed: int) -> list[Rewritten]:
    """What becomes of each prompt; one that the prompter fails on takes no other with it."""
    try:
        return [_told(rewriter, one, guard) for one in rewriter.rewrite(prompts, seed=seed)]
    except Exception:
        if len(prompts) > 1:
            return [rewritten(rewriter, [x], guard, seed)[0] for x in prompts]
        traceback.print_exc(limit=-3, file=sys.stderr)
        return [Rewritten(None, PROMPTER_ERROR)]


def _told(rewriter: Rewriter, made: Rewrite, guard: Guard | None) -> Rewritten:
    if made.failure is not None:
        if made.failure.startswith(NOT_ASKED):
            print(made.failure, file=sys.stderr)  # noqa: T201
        return Rewritten(None, next((r for told, r in REASONS.items() if made.failure.startswith(told)), NO_REWRITE))
    if guard is not None and (why := guard(made.prompt, made.text)):
        return Rewritten(None, f"guard-{'-'.join(why.split())}")
    return Rewritten(made.text, None, rewriter.tokens_added(made.prompt, made.text))
