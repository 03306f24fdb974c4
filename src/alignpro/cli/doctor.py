"""What `alignpro doctor` looks at."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from alignpro.runtime import threads

Finding = tuple[str, str, bool]
"""Name, what was found, whether it is good."""


def findings() -> Iterator[Finding]:
    """Versions, hardware, and a live pass through the lab's models."""
    for name in ("torch", "transformers", "tokenizers", "numpy", "pydantic", "matplotlib"):
        try:
            yield name, str(importlib.import_module(name).__version__), True
        except ImportError as error:
            yield name, str(error), False
    import torch

    yield "cores", f"{threads.usable_cores()} usable, {threads.free_cores()} free", True
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none; CPU is used"
    yield "accelerator", device, True
    from alignpro.models import loading, precision

    yield "dtype auto", precision.told(loading.device_of("auto")), True
    try:
        yield "lab", _lab(), True
    except Exception as error:  # whatever it is, it is the finding
        yield "lab", f"{type(error).__name__}: {error}", False


def _lab() -> str:
    from alignpro import config
    from alignpro.flow.rollout import rollout
    from alignpro.running.load import load

    pieces = load(config.load("lab"), {"prompts", "prompter", "frozen", "reward"})
    made = rollout(pieces.prompts.test[:4], pieces.prompter, pieces.frozen, pieces.reward, seed=0)
    return f"4 prompts rewritten, answered and scored, {made.failed} failed"
