"""Which prompts are held out from training: the same for prompts alone, for data sets and for preferences."""

from __future__ import annotations

from collections.abc import Iterable

from alignpro.config import DataSettings
from alignpro.errors import DataError
from alignpro.rng import derive


def ordered(keys: Iterable[str], seed: int) -> list[str]:
    """In an order of chance that any first n are a fair n."""
    return sorted(set(keys), key=lambda key: derive(seed, "order", key))


def beside(keys: Iterable[str], tests: Iterable[str], settings: DataSettings, seed: int) -> tuple[list[str], list[str]]:
    """Keys for training, less those that are tested, and the tests, each in an order as `split` gives it.

    `data.limit` is the most to train on. Raises DataError where none is left, or fewer than two are tested.
    """
    tested = ordered(tests, seed)
    train = ordered(set(keys) - set(tested), seed)
    if len(tested) < 2:
        raise DataError(f"data.test {settings.test}: holds {len(tested)} different prompts; give at least 2")
    if not train:
        raise DataError(
            f"data.prompts {settings.prompts}: every prompt of it stands in data.test {settings.test}, so that none is"
            " left to train on"
        )
    return train[: settings.limit], tested


def split(keys: Iterable[str], settings: DataSettings, seed: int) -> tuple[list[str], list[str]]:
    """Keys for training and for testing, each in an order of chance that any first n are a fair n.

    A key is held out where its own hash, a uniform number, lies below `data.test_share`: what else there is does not
    matter, so rows added later move nothing, and the share is met on average. Only where fewer than two lie below,
    or all do, the nearest by hash make up two, or one is left for training. Raises DataError for fewer than three.
    """
    used = ordered(keys, seed)[: settings.limit]
    if len(used) < 3:
        raise DataError(
            f"data.prompts {settings.prompts}: {len(used)} different prompts cannot be split; give at least 3, of"
            " which no fewer than 2 are held out for testing"
        )
    place = {key: derive(seed, "split", key) / 2**63 for key in used}
    below = sum(at < settings.test_share for at in place.values())
    tests = set(sorted(used, key=place.__getitem__)[: min(max(2, below), len(used) - 1)])
    return [key for key in used if key not in tests], [key for key in used if key in tests]
