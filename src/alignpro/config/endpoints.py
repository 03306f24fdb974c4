"""Settings of models behind URLs: keys, patience, prices, the budget."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from alignpro.config.section import Positive, Section

Seconds = Annotated[float, Field(gt=0)]
Money = Annotated[float, Field(ge=0)]
SECRET_FIELD = re.compile(
    r"(^|[_-])(key|secret|signature|sig|password|pwd|cookie|authorization|auth|credentials?|jwt)($|[_-])"
    r"|apikey|(^|[_-])token$",
    re.I,
)
"""Names of headers and fields that hold secrets: settings name the environment variable, and never the value."""
_SECRET_OF_BODY = re.compile(r"api[_-]?key|secret|passw|^(auth|authorization|key|((access|auth)[_-])?token)$", re.I)
_SECRET = re.compile(r"(bearer|basic)\s|(sk|pk|gsk|xai|hf|ghp)[-_]\w|AIza\w", re.I)
REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""An environment variable in the text of a setting."""
NO_KEY = "none"
SAMPLED = ("model", "messages", "temperature", "top_p", "seed", "n", "max_tokens", "max_completion_tokens", "stream")
"""Fields of a request that other settings decide, or that its answer could not be read with."""


class PriceSettings(Section):
    """What a million tokens cost, in the currency of the budget."""

    input: Money = Field(description="price of a million tokens sent")
    output: Money = Field(description="price of a million tokens received")


class EndpointSettings(Section):
    """How a model behind a URL is asked; of a python: function price alone counts, of a model that is here nothing.

    Secrets stay in the environment: ${NAME} in a text of headers, query or body is what the variable NAME holds.
    """

    key: str | None = Field(
        None,
        description="environment variable that holds this endpoint's key; none: it is sent no key; null:"
        " OPENAI_API_KEY of openai:, else ALIGNPRO_API_KEY",
    )
    key_header: str | None = Field(
        None, description="header that the key goes in, as it is; null: api-key of Azure, else Authorization: Bearer"
    )
    headers: dict[str, str] = Field({}, description="further headers, by name; a secret as ${NAME}")
    query: dict[str, str] = Field(
        {}, description="query of its URLs, as {api-version: 2024-10-21}; a secret as ${NAME}"
    )
    body: dict[str, Any] = Field(
        {}, description="further fields of each request, as {reasoning_effort: low}; they decide answers"
    )
    timeout: Seconds = Field(300.0, description="seconds for one request, to its last byte")
    attempts: Positive = Field(6, description="faults of its own after which a request is a failed sample")
    patience: Seconds = Field(180.0, description="seconds with nothing answered after which the run saves and stops")
    concurrency: Positive = Field(
        8, description="requests of a URL under way at first; it grows while answers come, until the first 429"
    )
    most_concurrency: Positive = Field(128, description="requests of a URL under way at most, however well it answers")
    price: PriceSettings | None = Field(
        None, description="for a million tokens in and out, as {input: 0.4, output: 1.6}; null: money is not counted"
    )

    @field_validator("headers", "query", mode="before")
    @classmethod
    def _as_texts(cls, given: Any) -> Any:
        """YAML reads a version that is a date or a number as one."""
        if not isinstance(given, dict):
            return given
        return {
            name: value.isoformat() if isinstance(value, date) else str(value) if type(value) in (int, float) else value
            for name, value in given.items()
        }

    @model_validator(mode="after")
    def _no_secrets(self) -> EndpointSettings:
        """Errors do not repeat what was given, which may be a secret."""
        if self.key not in (None, NO_KEY) and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", str(self.key)):
            raise ValueError(
                "key is the name of an environment variable, in capitals, that holds the key, and never the key itself"
            )
        for where, secret in (("headers", SECRET_FIELD), ("query", SECRET_FIELD), ("body", _SECRET_OF_BODY)):
            for name, value in _texts(getattr(self, where)):
                if (secret.search(name) or _SECRET.match(value)) and not REFERENCE.search(value):
                    raise ValueError(
                        f"{where} holds a secret, {name}; put it into an environment variable, and give {name}:"
                        " ${NAME}"
                    )
        if taken := [name for name in SAMPLED if name in self.body]:
            raise ValueError(f"body holds {', '.join(taken)}, which other settings decide (sampling, the model's name)")
        return self


class BudgetSettings(Section):
    """The most that a run may spend on models behind URLs and functions, what it spent before it was resumed included;
    null: no limit."""

    calls: Positive | None = Field(None, description="requests; null: no limit")
    tokens: Positive | None = Field(None, description="tokens in and out together; null: no limit")
    money: Annotated[float, Field(gt=0)] | None = Field(
        None, description="money, in the currency of the prices; null: no limit"
    )


def _texts(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text in nested mappings and lists, with the name that it stands under."""
    for name, value in tree.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield name, one
            elif isinstance(one, dict):
                yield from _texts(one)
