"""Pushing an exported folder to the hub."""

from __future__ import annotations

from pathlib import Path

from alignpro.errors import HubUnreachable, UsageError


def check_hub(repo: str) -> None:
    """Raise UsageError for a name that is none, or without a token, before any work is done."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise UsageError(f"--push-to-hub {repo!r} is no name of a repository; give OWNER/NAME") from None
    if not get_token():
        raise UsageError("--push-to-hub needs a token with write access in the environment variable HF_TOKEN")


def push(folder: Path, repo: str, private: bool) -> str:
    """Upload the folder; the repository's address. Raises HubUnreachable, whose text holds no token."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api, token = HfApi(), get_token() or ""
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Export of an alignpro run")
    except Exception as error:  # the client's own, its transport's, and the system's errors share no root
        cause = " ".join(str(error).split()) or type(error).__name__
        cause = cause.replace(token, "...") if token else cause
        raise HubUnreachable(
            f"--push-to-hub {repo}: nothing was pushed, or not all ({cause}); the export is whole in {folder}: push it"
            f" later with `hf upload {repo} {folder}`"
        ) from None
    return str(made)
