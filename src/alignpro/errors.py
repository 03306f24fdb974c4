"""Every error of the package, in one tree.

    AlignProError
    ├── UsageError (ValueError)            exit code 2: the caller can mend it by changing a setting
    │   ├── SettingsError                  unknown or ill-typed setting, unknown recipe
    │   ├── DataError                      prompts file missing, empty, or without the named column
    │   │   └── UnusableRow                one row of a data set; caught where it is counted
    │   ├── ModelNotUsable                 a path without weights or tokenizer, the wrong architecture
    │   ├── PromptTooLong                  a prompt that does not fit the model's context
    │   ├── DamagedResult                  a file of results that is torn, or that holds something else
    │   ├── EndpointUnusable               an endpoint without a key, with a wrong one, or without the model
    │   ├── RunFolderTaken                 the output folder holds another run
    │   ├── FolderInUse                    another process is at work in the folder
    │   ├── NotTrusted                     another's folder or recipe that names code or hosts
    │   └── InputsChanged                  what a run began with is not what it is now
    └── RunFailure (RuntimeError)          exit code 1: the job broke while running
        ├── RewardFailure                  the reward failed for too large a share of samples
        ├── LossNotFinite                  a loss, gradient or weight in training became nan or infinite
        ├── OutOfMemory                    memory ran out; the message names the setting to lower
        ├── CheckpointError                a checkpoint could not be written, or none could be read
        ├── HubUnreachable                 a hub id was asked for and the hub cannot be reached
        ├── EndpointDown                   every URL has failed for longer than the patience, or a function never ends
        ├── BudgetSpent                    the next request could cost more than is left
        ├── CacheUnusable                  the file of answers is locked, damaged, or not one
        ├── ProcessLost                    another of several processes that share the run has ended
        └── Interrupted                    stopped by the user; everything so far is saved

Messages say what arrived, what was wanted, and what to do next.
"""

from __future__ import annotations


class AlignProError(Exception):
    """Root of the tree; `exit_code` is what the command line returns."""

    exit_code = 1
    goes_on = False
    """Whether a run that it stopped goes on from where it was, once the cause is mended."""


class UsageError(AlignProError, ValueError):
    """Something the caller gave is wrong."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, has the wrong type, or contradicts another."""


class DataError(UsageError):
    """The prompts cannot be used as they are."""


class UnusableRow(DataError):
    """One row of a data set cannot be used; the message is the reason under which it is counted."""


class ModelNotUsable(UsageError):
    """A path or id that does not give a usable model and tokenizer."""


class PromptTooLong(UsageError):
    """A prompt does not fit the context and the settings say to refuse it."""


class EndpointUnusable(UsageError):
    """An endpoint that refuses everything until a setting or an environment variable is changed."""

    goes_on = True


class DamagedResult(UsageError):
    """A file of results is torn or holds something else."""


class RunFolderTaken(UsageError):
    """The output folder already holds another run."""


class FolderInUse(UsageError):
    """Another process is at work in the folder."""


class NotTrusted(UsageError):
    """Another's folder or recipe names code that would run, or hosts that would be asked, and that was not allowed."""


class InputsChanged(UsageError):
    """Prompts, reward code or weights are no longer those that a run began with, and that was not allowed."""


class RunFailure(AlignProError, RuntimeError):
    """The job broke while running; what was computed before is kept."""


class RewardFailure(RunFailure):
    """The reward failed on more than the allowed share of samples."""


class LossNotFinite(RunFailure):
    """A loss, gradient or weight that is nan or infinite; the newest checkpoint is kept."""


class OutOfMemory(RunFailure):
    """Memory ran out; what was saved before is kept, and the message names the setting to lower."""

    goes_on = True


class CheckpointError(RunFailure):
    """A checkpoint could not be saved, or none could be loaded."""


class HubUnreachable(RunFailure):
    """A hub id was given, is not in the local cache, and the hub cannot be reached."""


class EndpointDown(RunFailure):
    """No URL of an endpoint answers, or calls of a function do not end; what was answered before is kept."""

    goes_on = True


class BudgetSpent(RunFailure):
    """The next request could cost more than the budget has left; what was answered before is kept."""

    goes_on = True


class CacheUnusable(RunFailure):
    """The file of answers cannot be read or written."""

    goes_on = True


class ProcessLost(RunFailure):
    """Another of the processes that share the run has ended; what was saved before is kept."""


class Interrupted(RunFailure):
    """The user stopped the run; state was saved first."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line: its first, and those that it announces by a colon."""
    first, _, rest = (str(error).strip() or type(error).__name__).partition("\n")
    return f"{first} {' '.join(rest.split())}".strip() if first.rstrip().endswith(":") else first
