"""How the server is told to behave."""

from __future__ import annotations

import hmac
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from alignpro.errors import UsageError


@dataclass(frozen=True)
class Options:
    """Times are in seconds, sizes in bytes. `keys` and `upstream_key` are secrets, and are shown nowhere.

    `mode` shadow rewrites and sends the original; ab sends the rewrite in `share` of the conversations. `turns` is how
    earlier turns of the user's go on.
    """

    upstream: str
    host: str = "127.0.0.1"
    port: int = 8080
    mode: Literal["serve", "shadow", "ab"] = "serve"
    share: float = 1.0
    turns: Literal["as-sent", "as-rewritten"] = "as-sent"
    fail_closed: bool = False
    workers: int = 1
    timeout: float = 5.0
    queue: int = 256
    stall: float = 60.0
    cache: int = 10_000
    body_limit: int = 32_000_000
    depth_limit: int = 128
    receive: float = 60.0
    connect: float = 10.0
    idle: float = 600.0
    retries: int = 2
    drain: float = 300.0
    audit: Path | None = None
    hash_only: bool = False
    otel: bool | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    upstream_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise UsageError for what does not go together."""
        split = urlsplit(self.upstream)
        if split.scheme not in ("http", "https") or not split.hostname or split.query or split.fragment:
            raise UsageError(
                f"--upstream {self.upstream!r} is no address; give the base URL that clients use now, as in"
                " http://host:8000/v1"
            )
        if split.username is not None or split.password is not None:
            raise UsageError("--upstream holds a user or a password; name a variable that holds one by --upstream-key")
        if not 0 <= self.share <= 1:
            raise UsageError(f"--ab {self.share:g} is no share; give one between 0 and 1, as in 0.5")
        if self.upstream_key and not self.keys and not is_loopback(self.host):
            raise UsageError(
                f"whoever reaches {self.host} could spend --upstream-key; name a variable with keys of your own by"
                " --keys, or listen on 127.0.0.1"
            )

    def admits(self, given: str) -> bool:
        """Whether what a client sends as its key is one of ours, in a time that tells nothing of them."""
        said = given.removeprefix("Bearer ").strip().encode("utf-8", "surrogateescape")
        return sum(hmac.compare_digest(said, key.encode()) for key in self.keys) > 0


def secrets_in(variable: str | None, option: str) -> tuple[str, ...]:
    """The keys that an environment variable holds, parted by commas or white space. Raises UsageError where none is."""
    if variable is None:
        return ()
    keys = tuple(os.environ.get(variable, "").replace(",", " ").split())
    if not keys:
        raise UsageError(f"{option} names the environment variable {variable}, which is not set; export it")
    return keys


def is_loopback(host: str) -> bool:
    """Whether a name or address of a host is this machine's, for itself alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
