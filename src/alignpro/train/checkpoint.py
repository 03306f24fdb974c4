"""Checkpoints: written beside the old ones and renamed into place, verified when read, the last good one wins."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignpro.errors import CheckpointError, first_line
from alignpro.runtime import files

STATE, MANIFEST, RECORDS = "state.pt", "manifest.json", "records.json"
_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A step's state, what was wrong with newer ones that had to be passed over, and the texts of the training's files
    as they were then; None in one of before these were kept."""

    step: int
    state: dict[str, Any]
    passed_over: tuple[str, ...]
    records: Mapping[str, str] | None = None


def save(folder: Path, step: int, state: dict[str, Any], keep: int, records: Mapping[str, str] | None = None) -> Path:
    """Write `folder/step-NNNNNN/`, then drop all but the newest `keep`.

    Raises CheckpointError where it cannot be written, on a full disk say; earlier checkpoints are untouched then.
    """
    final, partial = folder / f"step-{step:06d}", folder / f".step-{step:06d}.partial"
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(partial / STATE, data)
        manifest = {"step": step, "bytes": len(data), "blake2b": hashlib.blake2b(data).hexdigest()}
        if records is not None:
            texts = json.dumps(dict(records)).encode()
            _write(partial / RECORDS, texts)
            manifest["records"] = hashlib.blake2b(texts).hexdigest()
        _write(partial / MANIFEST, json.dumps(manifest).encode())
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        earlier = _steps(folder)
        kept = f"{earlier[-1].name} is intact" if earlier else "there was none before"
        raise CheckpointError(
            f"the checkpoint of step {step} could not be saved ({files.cause(error)}); {kept};"
            f" {files.remedy(error)} and go on with --resume"
        ) from None
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there are none.

    Raises CheckpointError where there are some and every one is broken.
    """
    broken: list[str] = []
    for path in reversed(_steps(folder)):
        try:
            manifest = _manifest(path)
            data = (path / STATE).read_bytes()
            if len(data) != manifest["bytes"] or hashlib.blake2b(data).hexdigest() != manifest["blake2b"]:
                raise ValueError("its contents do not match its checksum")
            state = tensors_in(data)
            records = _records(path, manifest)
        except _FAULTS as error:
            broken.append(f"{path.name} is corrupt ({error})")
            continue
        return Checkpoint(manifest["step"], state, tuple(broken), records)
    if broken:
        raise CheckpointError(f"no usable checkpoint in {folder}: {'; '.join(broken)}. Start anew with another --out")
    return None


def tensors_in(data: bytes) -> dict[str, Any]:
    """What `torch.save` made of tensors and plain values; anything else could run code, and is not loaded.

    Raises CheckpointError for a pickle of something else, and as torch.load for what is damaged.
    """
    try:
        return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:  # whose text advises to load it all the same
        raise CheckpointError(
            "it is a pickle of more than tensors and plain values, which alignpro never writes"
        ) from None


def newest_records(folder: Path) -> tuple[int, Mapping[str, str]] | None:
    """The step of the newest checkpoint that tells them, and the texts of the training's files as they were then."""
    for path in reversed(_steps(folder)):
        try:
            manifest = _manifest(path)
            records = _records(path, manifest)
        except _FAULTS:
            continue
        if records is not None:
            return manifest["step"], records
    return None


def _manifest(path: Path) -> dict[str, Any]:
    """Raises one of _FAULTS."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["step"] != int(path.name.removeprefix("step-")):
        raise ValueError("its manifest is of another step")
    return manifest


def _records(path: Path, manifest: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Raises one of _FAULTS."""
    if "records" not in manifest:
        return None
    data = (path / RECORDS).read_bytes()
    if hashlib.blake2b(data).hexdigest() != manifest["records"]:
        raise ValueError("its records do not match their checksum")
    records: Mapping[str, str] = json.loads(data)
    return records


def resume(folder: Path, put_back: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, its state put back by `put_back` and the random generators as they were; None where
    there is none. Raises CheckpointError, also where `put_back` cannot take the state."""
    latest = load_latest(folder)
    if latest is None:
        return None
    for fault in latest.passed_over:
        say(f"checkpoint {fault}; falling back to the one before")
    try:
        put_back(latest.state)
    except (RuntimeError, ValueError, KeyError) as error:
        told = first_line(error)
        raise CheckpointError(f"checkpoint of step {latest.step} is not of this model ({told})") from None
    restore_random_states(latest.state["random"])
    say(f"resumed after step {latest.step}")
    return latest


def random_states() -> dict[str, Any]:
    """The states of every global random generator, in types that load without running code."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 (saved because user code may draw from it)
    states: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [
            str(name),
            torch.as_tensor(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Undo what was drawn since `random_states`."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def _steps(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.name.removeprefix("step-").isdigit())


def _write(path: Path, data: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
