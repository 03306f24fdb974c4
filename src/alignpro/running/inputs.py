"""What a run's figures follow from beside its settings: prompts, code, weights; digests compared at every start."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alignpro.config import TEMPLATES, Settings
from alignpro.config.places import ENCODER
from alignpro.errors import InputsChanged, ModelNotUsable
from alignpro.models import packaged
from alignpro.models.loading import ADAPTER
from alignpro.runtime import consent, files, functions, processes
from alignpro.runtime.digests import Digests
from alignpro.runtime.notices import Notices
from alignpro.runtime.run_folder import RunFolder, holds_model

Say = Callable[[str], None]
NAMED = re.compile(
    r"prompter\.(model|before\.\d+)|frozen\.model|reward\.((terms|gate)\.\d+\.)?(model|against)|prompt_terms\.\d+\.term"
    r"|evaluate\.(second_reward|judge|templates)|headroom\.(noise\.\d+|templates)|reward_learning\.base"
    r"|data\.(prompts|test|validation)|sft\.pairs|pairs\.templates"
)
"""Settings that name what figures follow from."""
BEFORE_NAMES = ("lm:", "pairwise:", ENCODER, "model=")


def fingerprints(settings: Settings, say: Say = lambda line: None, hub: bool = True) -> dict[str, str]:
    """Setting and what it names -> digest of the file, the folder, the code, or with `hub` the commit of a model there.

    What is not here, is the package's own, or is asked over a network has none. Weights are read once: their digests
    are remembered by size and time, beside the marks of `runtime.ownership`. The first of several processes reads.
    """
    return processes.by_first(lambda: _fingerprints(settings, say, hub))


def check(folder: RunFolder, settings: Settings, say: Say) -> None:
    """Compare with what the run in `folder` was begun with, and note what is new. Raises InputsChanged.

    With --allow-changed a change is said, kept in notices.jsonl for the report, and taken from then on.
    """
    path = folder.path / "environment.json"
    told = processes.by_first(lambda: files.read_json(path))
    if told is None:  # a folder that was made ready for a run
        return
    now, before = fingerprints(settings, say), told.get("inputs") or {}
    changed = [name for name, digest in now.items() if before.get(name) not in (None, digest)]
    if changed and not consent.given().changed:
        raise InputsChanged(
            f"{folder.path}: since the run began there changed what {'; '.join(changed)} names. Its figures would be of"
            " two kinds: put back what it was, or begin a new run; --allow-changed goes on, and the report tells"
        )
    if changed:
        kind = "changed " + hashlib.blake2b(json.dumps([now[name] for name in changed]).encode()).hexdigest()[:12]
        text = f"it went on though there changed, since it began, what {'; '.join(changed)} names"
        Notices(folder.path, say).tell(kind, text)
    if any(name not in before or before[name] != digest for name, digest in now.items()):
        files.write_json(path, told | {"inputs": before | now})


def _fingerprints(settings: Settings, say: Say, hub: bool) -> dict[str, str]:
    memory = Digests(say)
    digests = {}
    leaves = dict(_leaves(settings.model_dump(mode="json"), ""))
    leaves["evaluate.templates"] = settings.evaluate.templates_file
    for name, value in leaves.items():
        if isinstance(value, str) and NAMED.fullmatch(name) and (digest := _digest(value, memory, hub)):
            digests[f"{name} {value}"] = digest
    memory.write()
    return digests


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else None
    if inner is None:
        yield name, tree
        return
    for key, value in inner:
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


def _digest(name: str, memory: Digests, hub: bool, within: int = 0) -> str | None:
    if name.startswith("python:alignpro."):  # the package's own, whose version stands beside
        return None
    if name.startswith("python:"):
        return functions.digest_now(name.split(":")[1])
    name = next((name.removeprefix(mark) for mark in BEFORE_NAMES if name.startswith(mark)), name)
    if packaged.is_packaged(name):
        try:
            path = packaged.place_of(name, "model")
        except ModelNotUsable:  # which is told where it is loaded
            return None
    elif name in ("lab", *TEMPLATES) or ":" in name:
        return None
    else:
        path = Path(name).expanduser()
    if path.is_file():
        return memory.digest(path)
    if not path.is_dir():
        return _commit(name) if hub else None
    if (path / "config.yaml").is_file():  # a run, whose prompter is meant
        path /= "prompter"
    whole = hashlib.blake2b(digest_size=16)
    nested = (path / "modules.json").is_file() or not holds_model(path)  # how a sentence encoder pools lies in folders
    for file in sorted(path.rglob("*") if nested else path.glob("*")):
        if file.is_file() and not file.name.startswith(".") and file.suffix != ".md":
            whole.update(f"{file.relative_to(path)}\0{memory.digest(file)}\0".encode("utf-8", "surrogatepass"))
    base = (files.read_json(path / ADAPTER) or {}).get("base_model_name_or_path")
    if isinstance(base, str) and within < 1:
        whole.update(str(_digest(base, memory, hub, within + 1)).encode())
    return whole.hexdigest()


def _commit(name: str) -> str | None:
    """That of a model of the hub which is in the local cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        held = [try_to_load_from_cache(name, file) for file in ("config.json", ADAPTER)]
    except HFValidationError:  # not the id of anything there
        return None
    return next((f"commit {Path(path).parent.name}" for path in held if isinstance(path, str)), None)
