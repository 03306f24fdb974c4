"""What goes with every request to an endpoint beside the question: key, headers, query, further fields.

Settings hold names of environment variables; what those hold is read here, sent, and shown nowhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus

from alignpro.config import EndpointSettings
from alignpro.config.endpoints import NO_KEY, REFERENCE
from alignpro.errors import EndpointUnusable, SettingsError
from alignpro.remote.address import OPENAI_KEY, Endpoint, is_azure

OPENAI_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""Sent to `openai:` endpoints, by the environment variables that hold them; no concern of another provider."""
SHORTEST_SECRET = 8
"""Characters under which a key is a placeholder that a local server takes ("EMPTY", "none"), not a secret."""


@dataclass(frozen=True)
class Access:
    """Headers, query and further fields as they are sent. `key_variable` is where the key came from, None where none is
    sent; `mended` is what a user does about a key that is refused."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    key_variable: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def mended(self) -> str:
        """What is to be done about a key that is refused."""
        if self.key_variable is None:
            return "name the environment variable that holds one by the endpoint.key of its section"
        return (
            f"set the environment variable {self.key_variable} to one that it takes, or name another variable by the"
            " endpoint.key of its section"
        )

    @cached_property
    def _written(self) -> tuple[str, ...]:
        """The secrets, as they are or as a URL or JSON writes them."""
        forms = ((s, quote(s, safe=""), quote_plus(s), json.dumps(s)[1:-1]) for s in self.secrets)
        return tuple(dict.fromkeys(form for secret in forms for form in secret))

    def scrub(self, text: str) -> str:
        """The text without the secrets, as they are or as a URL writes them."""
        for written in self._written:
            text = text.replace(written, "[key]")
        return text

    def is_clean(self, text: str) -> bool:
        """Whether it shows at once that what is read from a text of JSON holds no secret."""
        escaped = "\\u" in text or "\\/" in text
        return not self.secrets or not (escaped or any(written in text for written in self._written))

    def scrubbed(self, tree: Any) -> Any:
        """What was read from JSON, every text in it without the secrets."""
        if isinstance(tree, str):
            return self.scrub(tree)
        if isinstance(tree, list):
            return [self.scrubbed(one) for one in tree]
        if isinstance(tree, dict):
            return {name: self.scrubbed(value) for name, value in tree.items()}
        return tree


def access_to(endpoint: Endpoint, settings: EndpointSettings) -> Access:
    """What is sent to an endpoint, from its settings and the environment.

    Raises EndpointUnusable for a key or another variable that is not set, SettingsError for one that no header can
    hold.
    """
    variable = None if settings.key == NO_KEY else settings.key or endpoint.key_variable
    secret = os.environ.get(variable, "").strip() if variable else ""
    if not secret and endpoint.key_variable == OPENAI_KEY and settings.key is None:
        raise EndpointUnusable(
            f"openai:{endpoint.model} needs a key; set the environment variable {OPENAI_KEY} (and OPENAI_BASE_URL where"
            " it is not OpenAI's own)"
        )
    if not secret and settings.key not in (None, NO_KEY):
        raise _not_set("key", str(settings.key))
    read: list[str] = [secret]

    def filled(text: str, where: str) -> str:
        def held(named: Any) -> str:
            value = os.environ.get(named[1], "").strip()
            if not value:
                raise _not_set(where, named[1])
            read.append(value)
            return value

        return REFERENCE.sub(held, text)

    headers = {"User-Agent": "alignpro"}
    if endpoint.key_variable == OPENAI_KEY:
        headers |= {header: os.environ[name] for header, name in OPENAI_HEADERS.items() if os.environ.get(name)}
    if variable is not None:
        bearer = "api-key" if is_azure(endpoint.urls[0]) else "Authorization"
        header = settings.key_header or bearer
        if header.lower() == "authorization":
            headers[header] = f"Bearer {secret or 'none'}"
        elif secret:
            headers[header] = secret
    headers |= {name: filled(text, "headers") for name, text in settings.headers.items()}
    for name, value in headers.items():
        if not (name.isascii() and value.isascii() and value.isprintable()):
            raise SettingsError(
                f"{endpoint.model}: the header {name} would hold a line break or letters that no header can; look at"
                " the variable that it comes from"
            )
    return Access(
        headers,
        {name: filled(text, "query") for name, text in settings.query.items()},
        _each_text(settings.body, lambda text: filled(text, "body")),
        variable,
        tuple(sorted({one for one in read if len(one) >= SHORTEST_SECRET}, key=len, reverse=True)),
    )


def _each_text(tree: Any, change: Callable[[str], str]) -> Any:
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, list):
        return [_each_text(one, change) for one in tree]
    return {name: _each_text(one, change) for name, one in tree.items()} if isinstance(tree, dict) else tree


def _not_set(where: str, variable: str) -> EndpointUnusable:
    return EndpointUnusable(
        f"endpoint.{where} names the environment variable {variable}, which is not set; export it, or name another"
    )
