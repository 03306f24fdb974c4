"""`alignpro export`: a run's prompter as a folder of its own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from alignpro.cli.options import RunFolderArgument, say
from alignpro.errors import UsageError


def export(
    folder: RunFolderArgument,
    out: Annotated[Path, typer.Option(help="new folder for the model")],
    form: Annotated[
        Literal["merged", "adapter"], typer.Option("--format", help="plain weights, or the adapter of a LoRA run")
    ] = "merged",
    gguf: Annotated[
        bool, typer.Option("--gguf", help="model.gguf too, for llama.cpp and Ollama, the adapter merged")
    ] = False,
    gguf_dtype: Annotated[
        Literal["float16", "float32"], typer.Option("--gguf-dtype", help="with --gguf: what its matrices are kept in")
    ] = "float16",
    repo: Annotated[str | None, typer.Option("--push-to-hub", help="OWNER/NAME to upload to, with HF_TOKEN")] = None,
    private: Annotated[bool, typer.Option("--private", help="with --push-to-hub: not for everyone to see")] = False,
) -> None:
    """Write a run's prompter, merged, with tokenizer, meta-prompt and model card, for use without alignpro."""
    if private and repo is None:
        raise UsageError("--private is of --push-to-hub, which is not given")
    if gguf and form == "adapter":
        raise UsageError("--gguf holds whole weights, and --format adapter none; leave one of them out")
    from alignpro import export as exporting
    from alignpro.runtime.run_folder import RunFolder

    if repo is not None:
        exporting.check_hub(repo)
    exporting.export(folder, out, form, gguf_dtype if gguf else None)
    if not RunFolder(folder).evaluation.is_file():
        say(f"not evaluated, and the card says so; `alignpro run --resume --out {shlex.quote(str(folder))}` evaluates")
    say(f"exported: {out}")
    if repo is not None:
        say(f"pushed: {exporting.push(out, repo, private)}")
