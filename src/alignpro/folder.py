"""A run's folder: claimed once, written whole or not at all, and readable without this package.

config.yaml  environment.json  metrics.jsonl  samples.jsonl  judgements.jsonl  judge_answers.db  arms/
checkpoints/  prompter/  evaluation.json  headroom.json  report.html
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro import config, processes
from alignpro.config import Settings
from alignpro.errors import RunFailure, RunFolderTaken, UsageError

MAY_CHANGE = re.compile(r"budget\.|(frozen|reward)\.endpoint\.")
"""Settings that a run may go on with other values of; its figures do not depend on them."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def judgements(self) -> Path:
        """What judges said of each comparison."""
        return self.path / "judgements.jsonl"

    @property
    def judge_answers(self) -> Path:
        """Replies of language models that judge, as they came."""
        return self.path / "judge_answers.db"

    @property
    def arms(self) -> Path:
        """Arms of the comparison that are finished, one file each."""
        return self.path / "arms"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def prompter(self) -> Path:
        return self.path / "prompter"

    @property
    def trained(self) -> bool:
        """Whether the prompter's training came to its end."""
        return holds_model(self.prompter)

    @property
    def headroom(self) -> Path:
        return self.path / "headroom.json"

    @property
    def reward_scales(self) -> Path:
        """Statistics that a composite reward's terms are normalised by, taken once."""
        return self.path / "reward_scales.json"

    @property
    def rlhf(self) -> Path:
        """The oracle's own metrics, checkpoints and model."""
        return self.path / "rlhf"

    def settings(self) -> Settings:
        """The resolved settings of this run. Raises UsageError where the folder holds none."""
        return config.load(self.settings_file())

    def settings_file(self) -> Path:
        """config.yaml, which is there. Raises UsageError where it is not."""
        if not self.config.is_file():
            raise UsageError(
                f"{self.path} holds no run: config.yaml is missing; give the folder that `alignpro run` wrote"
            )
        return self.config


def holds_model(path: Path) -> bool:
    """Whether a folder holds a whole model, or an adapter."""
    return any((path / name).is_file() for name in ("config.json", "adapter_config.json"))


def claim(path: Path, settings: Settings) -> RunFolder:
    """Take an empty or new folder for a run and write its settings.

    Raises RunFolderTaken where the folder holds anything, and UsageError where it cannot be written.
    """
    return processes.by_first(lambda: _claim(path, settings))


def _claim(path: Path, settings: Settings) -> RunFolder:
    folder = RunFolder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = sorted(entry.name for entry in path.iterdir())
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {path}: cannot be used as a folder ({error}); give another") from None
    if folder.config.is_file():
        raise RunFolderTaken(
            f"--out {path} holds another run; go on with it by `alignpro run --resume --out`, estimate its"
            " headroom by `alignpro headroom FOLDER`, or give another folder"
        )
    if held:
        raise RunFolderTaken(f"--out {path} is not empty (it holds {', '.join(held[:3])}); give a new or empty folder")
    write_text(folder.config, config.dump(settings))
    return folder


def reopen(path: Path, settings: Settings | None) -> tuple[RunFolder, Settings]:
    """An existing run to go on with. `settings`, where given, must be those of the run, but for what may change on the
    way: the budget and how endpoints are asked; those are written into its config.yaml.

    Raises UsageError where there is no run, or naming the settings that differ.
    """
    folder = RunFolder(path)
    saved = folder.settings()
    if settings is not None and settings != saved:
        old, new = (config.flat(s.model_dump(mode="json")) for s in (saved, settings))
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key) and not MAY_CHANGE.match(key)]
        differing = [f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in keys]
        if differing:
            raise UsageError(f"--resume {path}: the run was started with other settings: {'; '.join(differing[:5])}")
        write_text(folder.config, config.dump(settings))
        saved = settings
    return folder, saved


def next_free(parent: Path, stem: str) -> Path:
    """parent/stem-NNN with the first number above those there."""
    numbers = [
        int(entry.name.removeprefix(f"{stem}-"))
        for entry in (parent.iterdir() if parent.is_dir() else ())
        if entry.name.startswith(f"{stem}-") and entry.name.removeprefix(f"{stem}-").isdigit()
    ]
    return parent / f"{stem}-{max(numbers, default=0) + 1:03d}"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or leave what was there. Raises RunFailure where it cannot be written."""
    processes.by_first(lambda: _write_text(path, text))


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunFailure(
            f"{path} could not be written ({error.strerror}); free some space and go on with --resume"
        ) from None


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Write JSON; nan and infinities, which JSON lacks, become null."""
    write_text(path, json.dumps(_plain(tree), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where there is none or it cannot be read."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None


def append_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add a line for each row. Raises RunFailure where they cannot be written."""
    processes.by_first(lambda: _append_jsonl(path, rows))


def _append_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise RunFailure(
            f"{path} could not be written ({error.strerror}); free some space and go on with --resume"
        ) from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a file; a torn last line is left out, a missing file has none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def keep_rows(path: Path, keep: Any) -> None:
    """Rewrite a JSONL file with the rows for which `keep(row)` holds, e.g. those before the step resumed from."""

    def rewrite() -> None:
        if rows := read_jsonl(path):
            write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows if keep(row)))

    processes.by_first(rewrite)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
