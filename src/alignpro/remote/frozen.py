"""A frozen model behind OpenAI-compatible URLs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from alignpro.config import Sampling
from alignpro.errors import EndpointUnusable, SettingsError
from alignpro.models.framing import Frame
from alignpro.remote.accounting import Account
from alignpro.remote.address import OPENAI_KEY, OPENAI_URL, Endpoint, parse_endpoint
from alignpro.remote.asked import AskedModel
from alignpro.remote.cache import AnswerCache
from alignpro.remote.pool import Policy, Pool
from alignpro.remote.requests import Requests
from alignpro.remote.wire import Client
from alignpro.runtime import processes

OPENAI_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""Sent to `openai:` endpoints, by the environment variables that hold them; no concern of another provider."""


class EndpointModel(AskedModel):
    """A frozen model that is asked over HTTP. Seeds are sent where the server takes them."""

    def __init__(
        self,
        endpoint: Endpoint,
        sampling: Sampling,
        frame: Frame | None = None,
        cache: AnswerCache | None = None,
        account: Account | None = None,
        policy: Policy | None = None,
    ) -> None:
        if endpoint.key_variable == OPENAI_KEY and sampling.top_k > 1:
            raise SettingsError("frozen.sampling.top_k is not known to openai: endpoints; leave it at 0")
        policy, frame = policy or Policy(), frame or Frame()
        self.endpoint = endpoint
        self.account = account or Account()
        self.pool = Pool(endpoint.urls, policy)
        self._owns_cache = False
        secret = os.environ.get(endpoint.key_variable, "").strip()
        if not secret and endpoint.key_variable == OPENAI_KEY:
            raise EndpointUnusable(
                f"openai:{endpoint.model} needs a key; set the environment variable {OPENAI_KEY} (and OPENAI_BASE_URL"
                " where it is not OpenAI's own)"
            )
        headers = OPENAI_HEADERS if endpoint.key_variable == OPENAI_KEY else {}
        more = {header: os.environ[name] for header, name in headers.items() if os.environ.get(name)}
        client = Client(endpoint.urls, secret, policy.connect, more)
        self._requests = Requests(
            model=endpoint.model,
            sampling=sampling,
            pool=self.pool,
            policy=policy,
            account=self.account,
            client=client,
            key_variable=endpoint.key_variable,
            length="max_completion_tokens" if endpoint.urls == (OPENAI_URL,) else "max_tokens",
            template_arguments=frame.thoughts.template_arguments,
        )
        super().__init__(endpoint.model, endpoint.identity, sampling, frame, cache, self._requests)

    def check(self) -> None:
        """Ask for one token, so that a wrong key, an unknown model or a server that is down shows before any work.

        Raises EndpointUnusable, EndpointDown, BudgetSpent.
        """
        try:
            greeting = replace(self.frame, template="{prompt}").messages("Hi")
            processes.by_first(lambda: self._run(self._requests.check(greeting)))
        except Exception as error:
            error.__context__ = None  # an error of aiohttp's may hold the request, and that the key
            raise

    def close(self) -> None:
        """End the connections, the thread, and the cache where `load_endpoint` made it."""
        super().close()
        if self._owns_cache and self.cache is not None:
            self.cache.close()


def load_endpoint(
    spec: str,
    sampling: Sampling,
    *,
    frame: Frame | None = None,
    cache: Path | None = None,
    account: Account | None = None,
    policy: Policy | None = None,
    identity: str | None = None,
) -> EndpointModel:
    """The frozen model that `spec` names; `cache` is a file of answers, made where there is none.

    Nothing is sent before the first prompt. Raises EndpointUnusable for a spec that cannot be read, a missing key or
    missing packages, SettingsError for a budget that cannot be used, CacheUnusable.
    """
    endpoint = parse_endpoint(spec, identity)
    answers = AnswerCache(cache) if cache is not None else None
    model = EndpointModel(endpoint, sampling, frame, answers, account, policy)
    model._owns_cache = True
    return model
