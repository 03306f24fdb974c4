"""The exported folder: weights or adapter, tokenizer, generation settings, the frame, the model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from alignpro.config import Settings
from alignpro.errors import RunFailure, RunFolderTaken, SettingsError, UsageError
from alignpro.export import gguf
from alignpro.export.card import card
from alignpro.models import checksums
from alignpro.models.language_model import LanguageModel
from alignpro.models.loading import ADAPTER, device_of
from alignpro.results import Evaluation, read
from alignpro.running import exported
from alignpro.running.load import load_trained
from alignpro.runtime import files, ownership
from alignpro.runtime.run_folder import RunFolder

Form = Literal["merged", "adapter"]


def export(run: Path, out: Path, form: Form = "merged", as_gguf: gguf.Precision | None = None) -> None:
    """Write the prompter of a run to a new folder that needs no alignpro, with `as_gguf` as a GGUF file too.

    Plain weights are copied, an adapter is merged as evaluation merged it, or copied with `form` adapter; the run is
    left as it is. Raises UsageError where there is no trained prompter or no adapter, and as `gguf.check`;
    RunFolderTaken where `out` holds anything, RunFailure where it cannot be written.
    """
    folder = RunFolder(run)
    ownership.check(folder.path, of=("prompter.",), writes=False)
    settings = folder.settings()
    folder.check_trained()
    adapter = (folder.prompter / ADAPTER).is_file()
    if form == "adapter" and not adapter:
        raise UsageError(
            f"{run} holds whole weights and no adapter: every weight was trained, or an adapter on top of one that was"
            " merged; leave out --format, or give merged"
        )
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise RunFolderTaken(f"--out {out} is not empty; give a new or empty folder")
    here = settings.prompter.model_copy(update={"device_map": None})
    own = settings.model_copy(update={"prompter": here, "device": _device(settings)})
    lm = load_trained(own, folder.prompter).lm
    if as_gguf:
        gguf.check(lm)
    partial = out.with_name(f".{out.name}.partial")
    evaluation = read(Evaluation, folder.evaluation)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        if adapter and form == "merged":
            lm.model.save_pretrained(partial)
            lm.tokenizer.save_pretrained(partial)
        else:
            shutil.copytree(folder.prompter, partial)
        _generation(lm).save_pretrained(partial)
        files.write_json(partial / exported.FILE, exported.described(lm, settings))
        trained = form if adapter else "merged" if settings.prompter.lora else "full"
        files.write_text(
            partial / "README.md", card(settings, evaluation, trained, lm.frame.has_chat_template, bool(as_gguf))
        )
        if as_gguf:
            gguf.write(lm, partial, as_gguf)
        checksums.seal(partial)
        partial.rename(out)
    except UsageError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunFailure(
            f"--out {out} could not be written ({files.cause(error)}); {files.remedy(error)}, or give another"
        ) from None


def _generation(lm: LanguageModel) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=True,
        temperature=lm.sampling.temperature,
        top_p=lm.sampling.top_p,
        top_k=lm.sampling.top_k,
        max_new_tokens=lm.sampling.max_new_tokens,
        eos_token_id=lm.eos_ids or None,
        pad_token_id=lm.pad_id,
    )


def _device(settings: Settings) -> str:
    """That of the run, whose precision evaluation merged in; the processor where this machine has no such device."""
    try:
        return device_of(settings.device)
    except SettingsError:
        return "cpu"
