"""`alignpro serve`: a prompter before an OpenAI-compatible endpoint."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alignpro.cli.options import FrozenOption, PrompterOption, RewardOption, ThenOption, given, read_words
from alignpro.cli.rewriting import ready
from alignpro.errors import UsageError

if TYPE_CHECKING:
    from alignpro.running.rewriter import Rewriter

MEGABYTE = 1_000_000


def serve(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [--SECTION.KEY=VALUE]...",
            help="any setting, with --method gibbs; --guards.KEY always; --prompter.KEY with --prompter-url",
            show_default=False,
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="folder of a run, or of an exported prompter")] = None,
    prompter_url: Annotated[
        str | None,
        typer.Option(
            "--prompter-url", help="base URL of a prompter that is served elsewhere, framed as that of --run or by:"
        ),
    ] = None,
    prompter_model: Annotated[
        str | None, typer.Option("--prompter-model", help="with --prompter-url: the model's name there")
    ] = None,
    prompter_template: Annotated[
        str | None, typer.Option("--prompter-template", help="with --prompter-url: its meta-prompt, or @FILE")
    ] = None,
    prompter_key: Annotated[
        str | None,
        typer.Option("--prompter-key", metavar="VARIABLE", help="with --prompter-url: variable of its key, or none"),
    ] = None,
    upstream: Annotated[
        str, typer.Option("--upstream", help="base URL of the endpoint, as clients use it now: http://host:8000/v1")
    ] = "",
    host: Annotated[str, typer.Option("--host", help="address to listen on; 0.0.0.0 is all of them")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one")] = 8080,
    method: Annotated[
        Literal["trained", "gibbs"], typer.Option(help="the run's prompter, or the closed form by sampling")
    ] = "trained",
    n: Annotated[int | None, typer.Option("--n", min=1, help="with gibbs: candidates to choose from [8]")] = None,
    best: Annotated[bool, typer.Option("--best", help="with gibbs: keep the best candidate, not one drawn")] = False,
    prompter: PrompterOption = None,
    then: ThenOption = None,
    frozen: FrozenOption = None,
    reward: RewardOption = None,
    seed: Annotated[
        int, typer.Option("--seed", help="of the rewrites: a prompt is rewritten the same way by each")
    ] = 0,
    shadow: Annotated[bool, typer.Option("--shadow", help="rewrite and write down, but send the originals")] = False,
    ab: Annotated[
        float | None, typer.Option("--ab", metavar="SHARE", help="share of conversations that are rewritten, say 0.5")
    ] = None,
    turns: Annotated[
        Literal["as-sent", "as-rewritten"],
        typer.Option(
            "--turns", help="earlier turns of the user's: as the client sends them, or as they were rewritten"
        ),
    ] = "as-sent",
    fail_closed: Annotated[
        bool,
        typer.Option("--fail-closed", help="refuse a prompt that is not rewritten, instead of sending it as it is"),
    ] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes that rewrite")] = 1,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="seconds that a rewrite may take")] = 5.0,
    queue: Annotated[int, typer.Option("--queue", min=1, help="prompts that may wait to be rewritten")] = 256,
    cache: Annotated[int, typer.Option("--cache", min=0, help="rewrites that are kept")] = 10_000,
    retries: Annotated[int, typer.Option("--retries", min=0, help="times that a request is sent again")] = 2,
    idle: Annotated[float, typer.Option("--idle", min=0.1, help="seconds that the upstream may be silent")] = 600.0,
    body_limit: Annotated[
        float, typer.Option("--body-limit", min=0.001, help="megabytes that a request for an answer may have")
    ] = 32.0,
    receive: Annotated[float, typer.Option("--receive", min=0.1, help="seconds in which a request must arrive")] = 60.0,
    drain: Annotated[
        float, typer.Option("--drain", min=0, help="seconds in which accepted requests are finished at SIGTERM")
    ] = 300.0,
    keys: Annotated[
        str | None,
        typer.Option("--keys", metavar="VARIABLE", help="environment variable of the keys that clients may show"),
    ] = None,
    upstream_key: Annotated[
        str | None,
        typer.Option("--upstream-key", metavar="VARIABLE", help="environment variable of the upstream's key"),
    ] = None,
    audit: Annotated[Path | None, typer.Option("--audit", help="jsonl file of every prompt and its rewrite")] = None,
    hash_only: Annotated[bool, typer.Option("--hash-only", help="with --audit: digests in the place of texts")] = False,
    otel: Annotated[
        bool | None,
        typer.Option("--otel/--no-otel", help="spans of OpenTelemetry [where OTEL_* of the environment asks for them]"),
    ] = None,
    as_prompter: Annotated[bool, typer.Option("--as-prompter", hidden=True)] = False,
) -> None:
    """Rewrite the prompts of any OpenAI-compatible client on their way to --upstream; whatever cannot be rewritten
    goes on as it came."""
    if as_prompter:
        name, overrides = read_words(words or [])
        models = [*given(prompter, then, frozen, reward, None), *overrides]
        template = [] if prompter_template is None else [f"prompter.template={prompter_template}"]
        if prompter_url is None:
            if prompter_model or template or prompter_key:
                raise UsageError("--prompter-model, --prompter-template and --prompter-key are of --prompter-url")
            return _work(lambda: ready(method, run, name, models, n, best, may="guards."), seed)
        if method == "gibbs" or name or best or n:
            raise UsageError("--prompter-url has a prompter of its own; leave out --method, --n, --best and a recipe")
        url = f"{prompter_url}#{prompter_model}" if prompter_model else prompter_url
        return _work(lambda: _asked(url, run, [*models, *template], prompter_key, timeout), seed)
    from alignpro.runtime.packages import installed
    from alignpro.runtime.progress import Progress

    if not installed("aiohttp"):
        raise UsageError("alignpro serve needs a package that is not here; pip install 'alignpro[endpoints]'")
    if not upstream:
        raise UsageError("give --upstream with the base URL of the endpoint, as in http://host:8000/v1")
    if shadow and ab is not None:
        raise UsageError("--shadow sends every original, --ab a share of rewrites; give one of them")
    if hash_only and audit is None:
        raise UsageError("--hash-only is of --audit, which is not given")
    from alignpro.serve.options import Options, secrets_in
    from alignpro.serve.service import serve as begin

    theirs = secrets_in(upstream_key, "--upstream-key")
    options = Options(
        upstream=upstream,
        host=host,
        port=port,
        mode="shadow" if shadow else "serve" if ab is None else "ab",
        share=1.0 if ab is None else ab,
        turns=turns,
        fail_closed=fail_closed,
        workers=workers,
        timeout=timeout,
        queue=queue,
        cache=cache,
        body_limit=int(body_limit * MEGABYTE),
        receive=receive,
        idle=idle,
        retries=retries,
        drain=drain,
        audit=audit,
        hash_only=hash_only,
        otel=otel,
        keys=secrets_in(keys, "--keys"),
        upstream_key=theirs[0] if theirs else None,
    )
    begin(options, [sys.executable, "-m", "alignpro", *sys.argv[1:], "--as-prompter"], Progress().say)


def _asked(url: str, run: Path | None, overrides: list[str], key: str | None, timeout: float) -> Rewriter:
    """A prompter behind a URL, which gives an answer in time or none: what waits for it asks no second time."""
    from alignpro.config import EndpointSettings
    from alignpro.running.rewriter import LANES, AskedPrompter

    if wrong := next((one for one in overrides if not one.startswith(("prompter.", "guards."))), None):
        raise UsageError(f"{wrong!r}: a prompter behind --prompter-url takes --prompter.KEY and --guards.KEY alone")
    once = EndpointSettings(key=key, timeout=timeout, attempts=1, patience=0.01, concurrency=LANES)
    return AskedPrompter.load(url, overrides, run, once)


def _work(load: Callable[[], Rewriter], seed: int) -> None:
    """Be one of the processes that rewrite; the socket is where standard input would be."""
    from alignpro.serve.worker import leave_signals_to_the_server, work

    leave_signals_to_the_server()
    rewriter = load()
    work(socket.socket(fileno=0), rewriter, rewriter.guards, seed)
