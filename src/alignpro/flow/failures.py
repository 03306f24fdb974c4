"""How many failed samples a run puts up with."""

from __future__ import annotations

from collections import Counter

import numpy as np

from alignpro.errors import RewardFailure
from alignpro.types import FloatArray


def check_failures(rewards: FloatArray, failures: Counter[str], max_failed: float, where: str) -> None:
    """Raise RewardFailure where more than the allowed share of samples has no reward."""
    failed = int((~np.isfinite(rewards)).sum())
    if (failed and failed > max_failed * rewards.size) or failed == rewards.size:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in failures.most_common(3))
        raise RewardFailure(
            f"{where}: {failed} of {rewards.size} samples have no reward ({reasons}), more than the"
            f" {max_failed:.0%} that reward.max_failed allows"
        )
