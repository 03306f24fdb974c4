"""A run's folder: claimed once, written whole or not at all, and readable without this package.

config.yaml  environment.json  metrics.jsonl  samples.jsonl  judgements.jsonl  judge_answers.db  arms/
checkpoints/  prompter/  evaluation.json  template.json  headroom.json  report.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignpro import config
from alignpro.config import META_PROMPTS, Settings
from alignpro.errors import RunFolderTaken, UsageError
from alignpro.runtime import files, functions, ownership, processes
from alignpro.runtime.lock import Lock

MAY_CHANGE = re.compile(
    r"budget\.|((frozen|reward|judge)\.endpoint|evaluate\.second_reward_endpoint)\.(?!body\b)"
    r"|frozen\.(concurrency|timeout)\b"
)
"""Settings that a run may go on with other values of; its figures do not depend on them."""


_LEFT_BEHIND = re.compile(r"\.lock|\.own|\..*\.partial")


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
    def batches(self) -> Path:
        """What a model here has written in a stage that has no row of it yet."""
        return self.path / "batches"

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

    def check_trained(self) -> None:
        """Raise UsageError where the prompter's training has not come to its end."""
        if not self.trained:
            raise UsageError(
                f"{self.path} holds no trained prompter yet; finish it by `alignpro run --resume --out {self.path}`"
            )

    @property
    def headroom(self) -> Path:
        return self.path / "headroom.json"

    @property
    def template(self) -> Path:
        """Which template of a file is best, and by what it was chosen."""
        return self.path / "template.json"

    @property
    def reward_scales(self) -> Path:
        """Statistics that a composite reward's terms are normalised by, taken once."""
        return self.path / "reward_scales.json"

    @property
    def rlhf(self) -> Path:
        """The oracle's own metrics, checkpoints and model."""
        return self.path / "rlhf"

    def settings(self, overrides: Sequence[str] = ()) -> Settings:
        """The resolved settings of this run, some of them overridden; modules that it names are searched for where it
        began too. Raises UsageError where the folder holds none."""
        if not self.config.is_file():
            raise UsageError(
                f"{self.path} holds no run: config.yaml is missing; give the folder that `alignpro run` wrote"
            )
        functions.search_also(self.began_in)
        return config.reread(self.config, overrides, self.began_in)

    @property
    def began_in(self) -> str:
        """The working folder in which the run began; "" where that is not known."""
        return str((files.read_json(self.path / "environment.json") or {}).get("working_folder") or "")


def holds_model(path: Path) -> bool:
    """Whether a folder holds a whole model, or an adapter."""
    return any((path / name).is_file() for name in ("config.json", "adapter_config.json"))


def contents(path: Path) -> list[str]:
    """The names in a folder, if there is one, but for what a process leaves that is killed as it takes it."""
    names = (entry.name for entry in (path.iterdir() if path.is_dir() else ()))
    return sorted(name for name in names if not _LEFT_BEHIND.fullmatch(name))


def check_free(path: Path) -> None:
    """Raise RunFolderTaken where a folder holds anything, and UsageError where it cannot be made or written."""
    folder = RunFolder(path)
    try:
        held = contents(path)
        above = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {path}: cannot be used as a folder ({error}); give another") from None
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "cannot be written" if above.is_dir() else "is a file"
        raise UsageError(f"--out {path}: cannot be used as a folder ({above} {why}); give another")
    if folder.config.is_file():
        raise RunFolderTaken(
            f"--out {path} holds another run; go on with it by `alignpro run --resume --out`, estimate its"
            " headroom by `alignpro headroom FOLDER`, or give another folder"
        )
    if held:
        raise RunFolderTaken(f"--out {path} is not empty (it holds {', '.join(held[:3])}); give a new or empty folder")


def claim(path: Path, settings: Settings, lock: Lock | None = None) -> RunFolder:
    """Take an empty or new folder for a run and write its settings; of several at the same moment one alone gets it.

    `lock`, where given, is held from then on. Raises RunFolderTaken where the folder holds anything, FolderInUse while
    another takes it, and UsageError where it cannot be written.
    """
    own = lock or Lock(path)
    try:
        return processes.by_first(lambda: _claim(path, settings, own))
    finally:
        if lock is None:
            own.release()


def _claim(path: Path, settings: Settings, lock: Lock) -> RunFolder:
    folder = RunFolder(path)
    check_free(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {path}: cannot be used as a folder ({error}); give another") from None
    lock.take()
    try:
        check_free(path)  # another may have taken it meanwhile, and have ended
        ownership.mark(path, settings)
        files.write_text(folder.config, config.sealed(config.dump(settings)))
    except BaseException:
        lock.release()
        raise
    return folder


def reopen(path: Path, settings: Settings | None) -> tuple[RunFolder, Settings]:
    """An existing run to go on with. `settings`, where given, must be those of the run, but for what may change on the
    way: the budget and how endpoints are asked; those are written into its config.yaml.

    Raises UsageError where there is no run, or naming the settings that differ.
    """
    folder = RunFolder(path)
    saved = folder.settings()
    settings = settings and as_begun(saved, settings)
    if settings is not None and settings != saved:
        old, new = (config.flat(s.model_dump(mode="json")) for s in (saved, settings))
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key) and not MAY_CHANGE.match(key)]
        differing = [f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in keys]
        if differing:
            raise UsageError(f"--resume {path}: the run was started with other settings: {'; '.join(differing[:5])}")
        ownership.mark(path, settings)
        files.write_text(folder.config, config.sealed(config.dump(settings)))
        saved = settings
    elif settings is not None:
        ownership.mark(path, settings)
    return folder, saved


def as_begun(saved: Settings, settings: Settings) -> Settings:
    """Settings to go on with what `saved` began: what they leave to the package stays as it was taken then.

    A split that follows the run's seed follows it still, and a meta-prompt of the package's own stays, and the day.
    """
    if settings.day is None:
        settings = settings.model_copy(update={"day": saved.day})
    if saved.data.seed is None and "seed" not in settings.data.model_fields_set:
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"seed": None})})
    if settings.prompter.template is None and saved.prompter.template in META_PROMPTS:
        own = settings.prompter.model_copy(update={"template": saved.prompter.template})
        settings = settings.model_copy(update={"prompter": own})
    return settings


def next_free(parent: Path, stem: str) -> Path:
    """parent/stem-NNN with the first number above those there."""
    numbers = [
        int(entry.name.removeprefix(f"{stem}-"))
        for entry in (parent.iterdir() if parent.is_dir() else ())
        if entry.name.startswith(f"{stem}-") and entry.name.removeprefix(f"{stem}-").isdigit()
    ]
    return parent / f"{stem}-{max(numbers, default=0) + 1:03d}"
