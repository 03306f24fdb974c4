"""How what is computed elsewhere is named: `openai:MODEL`, `http://host:port/v1#MODEL`, several such URLs of one model,
or `python:module:name`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from alignpro.config.endpoints import SECRET_FIELD
from alignpro.errors import EndpointUnusable

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY, OWN_KEY = "OPENAI_API_KEY", "ALIGNPRO_API_KEY"
CHAT = "/chat/completions"
AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served. `key_variable` names the environment variable that its key is looked for in where the
    settings name none; the key is never kept here.

    `identity` stands in the cache's keys for the URLs, which are interchangeable.
    """

    model: str
    urls: tuple[str, ...]
    key_variable: str
    identity: str

    @property
    def hosts(self) -> set[str]:
        """Names of the hosts that are asked."""
        return {str(urlsplit(url).hostname) for url in self.urls}


def is_endpoint(spec: str) -> bool:
    """Whether a model's name is that of an endpoint, not of a folder or of the hub."""
    return spec.startswith(("openai:", "http://", "https://"))


def is_openai(url: str) -> bool:
    """Whether a URL is OpenAI's own, or its API on Azure, which refuse fields that they do not know."""
    return is_azure(url) or f".{urlsplit(url).hostname or ''}".endswith(".openai.com")


def is_azure(url: str) -> bool:
    """Whether a URL is of Azure's, which takes the key in a header of its own."""
    return f".{urlsplit(url).hostname or ''}".endswith(AZURE)


def chat_url(url: str) -> str:
    """Where requests go: a base URL with /chat/completions, before its query where it has one."""
    base, mark, query = url.partition("?")
    return f"{base}{CHAT}{mark}{query}"


def is_function(spec: str) -> bool:
    """Whether a name is that of a function of the user's."""
    return spec.startswith("python:")


def is_elsewhere(spec: str) -> bool:
    """Whether a frozen model's name is of one that has no weights here: an endpoint or a function."""
    return is_endpoint(spec) or is_function(spec)


def parse_endpoint(spec: str, identity: str | None = None) -> Endpoint:
    """`openai:MODEL`, or `http://host:port/v1#MODEL`, several URLs of one model parted by commas.

    `openai:` takes its URL from OPENAI_BASE_URL and its key from OPENAI_API_KEY. Other URLs take their key, if they
    want one, from ALIGNPRO_API_KEY: the key of one provider is not shown to another. A URL may end in
    /chat/completions, and have a query without secrets, as Azure's have. Without an `identity`, the first URL is it,
    so that adding URLs at the end keeps the cache. Raises EndpointUnusable.
    """
    if spec.startswith("openai:"):
        model = spec.removeprefix("openai:").strip()
        urls = [os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL]
        variable = OPENAI_KEY
    else:
        parts = [part.strip().partition("#") for part in spec.split(",")]
        models = {model.strip() for _, _, model in parts if model.strip()}
        if len(models) > 1:
            raise EndpointUnusable(f"one pool serves one model, but its URLs name {' and '.join(sorted(models))}")
        model = models.pop() if models else ""
        urls, variable = [url.strip() for url, _, _ in parts], OWN_KEY
    urls = list(dict.fromkeys(_checked(url) for url in urls))
    if not model:
        raise EndpointUnusable("the endpoint names no model; write openai:MODEL or http://host:8000/v1#MODEL")
    return Endpoint(model, tuple(urls), variable, identity or urls[0].partition("?")[0])


def _checked(url: str) -> str:
    """A base URL, without a / or /chat/completions at its end."""
    try:
        split = urlsplit(url)
        good = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0 and not split.fragment
    except ValueError:
        raise _no_url("of an endpoint" if "@" in url else repr(url)) from None
    if split.username is not None or split.password is not None:
        raise EndpointUnusable(
            f"the URL of {split.hostname} holds a user or a password, which would be written into the run's folder; put"
            " the key into an environment variable, and name that by the endpoint.key of the same section"
        )
    if secret := next((name for name, _ in parse_qsl(split.query) if SECRET_FIELD.search(name)), None):
        raise EndpointUnusable(
            f"the query of the URL of {split.hostname} holds a secret, {secret}, which would be written into the run's"
            f" folder; put it into an environment variable, and name that by endpoint.query='{{{secret}: ${{NAME}}}}'"
            " of the same section"
        )
    if not good:
        raise _no_url(repr(url))
    path = split.path.rstrip("/").removesuffix(CHAT).rstrip("/")
    return f"{split.scheme}://{split.netloc}{path}" + (f"?{split.query}" if split.query else "")


def _no_url(said: str) -> EndpointUnusable:
    return EndpointUnusable(f"{said} is no URL of an endpoint; write openai:MODEL or http://host:8000/v1#MODEL")
