"""How what is computed elsewhere is named: `openai:MODEL`, `http://host:port/v1#MODEL`, several such URLs of one model,
or `python:module:name`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from alignpro.errors import EndpointUnusable

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY, OWN_KEY = "OPENAI_API_KEY", "ALIGNPRO_API_KEY"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served. `key_variable` names the environment variable with the key; the key is never kept here.

    `identity` stands in the cache's keys for the URLs, which are interchangeable.
    """

    model: str
    urls: tuple[str, ...]
    key_variable: str
    identity: str


def is_endpoint(spec: str) -> bool:
    """Whether a model's name is that of an endpoint, not of a folder or of the hub."""
    return spec.startswith(("openai:", "http://", "https://"))


def is_openai(url: str) -> bool:
    """Whether a URL is OpenAI's own, or its API on Azure, which refuse fields that they do not know."""
    return f".{urlsplit(url).hostname or ''}".endswith((".openai.com", ".openai.azure.com"))


def is_function(spec: str) -> bool:
    """Whether a name is that of a function of the user's."""
    return spec.startswith("python:")


def is_elsewhere(spec: str) -> bool:
    """Whether a frozen model's name is of one that has no weights here: an endpoint or a function."""
    return is_endpoint(spec) or is_function(spec)


def parse_endpoint(spec: str, identity: str | None = None) -> Endpoint:
    """`openai:MODEL`, or `http://host:port/v1#MODEL`, several URLs of one model parted by commas.

    `openai:` takes its URL from OPENAI_BASE_URL and its key from OPENAI_API_KEY. Other URLs take their key, if they
    want one, from ALIGNPRO_API_KEY: the key of one provider is not shown to another. Without an `identity`, the first
    URL is it, so that adding URLs at the end keeps the cache. Raises EndpointUnusable.
    """
    if spec.startswith("openai:"):
        model = spec.removeprefix("openai:").strip()
        urls = [os.environ.get("OPENAI_BASE_URL") or OPENAI_URL]
        variable = OPENAI_KEY
    else:
        parts = [part.strip().partition("#") for part in spec.split(",")]
        models = {model for _, _, model in parts if model}
        if len(models) > 1:
            raise EndpointUnusable(f"one pool serves one model, but its URLs name {' and '.join(sorted(models))}")
        model = models.pop() if models else ""
        urls, variable = [url for url, _, _ in parts], OWN_KEY
    urls = list(dict.fromkeys(_checked(url) for url in urls))
    if not model:
        raise EndpointUnusable("the endpoint names no model; write openai:MODEL or http://host:8000/v1#MODEL")
    return Endpoint(model, tuple(urls), variable, identity or urls[0])


def _checked(url: str) -> str:
    split = urlsplit(url)
    if split.username or split.password or split.query:
        raise EndpointUnusable(
            f"the URL of {split.hostname} holds a user, a password or a query, which would be written into the run's"
            f" folder; put the key into the environment variable {OWN_KEY}"
        )
    try:
        good = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        good = False
    if not good:
        raise EndpointUnusable(f"{url!r} is no URL of an endpoint; write openai:MODEL or http://host:8000/v1#MODEL")
    return url.rstrip("/")
