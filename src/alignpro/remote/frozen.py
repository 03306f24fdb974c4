"""A frozen model behind OpenAI-compatible URLs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from alignpro.config import EndpointSettings, Sampling
from alignpro.errors import SettingsError
from alignpro.models.framing import Frame
from alignpro.remote.access import access_to
from alignpro.remote.accounting import Account
from alignpro.remote.address import OPENAI_KEY, OPENAI_URL, Endpoint, parse_endpoint
from alignpro.remote.asked import AskedModel
from alignpro.remote.cache import AnswerCache
from alignpro.remote.dialect import LENGTHS
from alignpro.remote.pool import Policy, Pool
from alignpro.remote.requests import Requests, Tell
from alignpro.remote.wire import Client
from alignpro.runtime import processes


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
        settings: EndpointSettings | None = None,
        tell: Tell = lambda kind, text: None,
    ) -> None:
        if endpoint.key_variable == OPENAI_KEY and sampling.top_k > 1:
            raise SettingsError("sampling.top_k is not known to openai: endpoints; leave it at 0")
        policy, frame = policy or Policy(), frame or Frame()
        self.endpoint = endpoint
        self.account = account or Account()
        self.pool = Pool(endpoint.urls, policy)
        self._owns_cache = False
        access = access_to(endpoint, settings or EndpointSettings())
        client = Client(endpoint.urls, access, policy.connect)
        self._requests = Requests(
            model=endpoint.model,
            sampling=sampling,
            pool=self.pool,
            policy=policy,
            account=self.account,
            client=client,
            length=LENGTHS[endpoint.urls == (OPENAI_URL,)],
            template_arguments=frame.thoughts.template_arguments,
            tell=tell,
        )
        identity = endpoint.identity
        if settings is not None and settings.body:  # what decides answers stands in the keys of those that are kept
            identity += json.dumps(settings.body, sort_keys=True)
        super().__init__(endpoint.model, identity, sampling, frame, cache, self._requests)

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
    settings: EndpointSettings | None = None,
    tell: Tell = lambda kind, text: None,
) -> EndpointModel:
    """The frozen model that `spec` names; `cache` is a file of answers, made where there is none.

    Of the `settings` what goes with each request counts: key, headers, query, body. `tell` hears once what the server
    refuses to be told. Nothing is sent before the first prompt. Raises EndpointUnusable for a spec that cannot be read,
    a missing key or missing packages, SettingsError for a budget or a header that cannot be used, CacheUnusable.
    """
    endpoint = parse_endpoint(spec, identity)
    answers = AnswerCache(cache) if cache is not None else None
    model = EndpointModel(endpoint, sampling, frame, answers, account, policy, settings, tell)
    model._owns_cache = True
    return model
