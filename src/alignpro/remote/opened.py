"""The models of one run or command that are computed elsewhere: one account under one budget, one file of answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from alignpro.config import BudgetSettings, EndpointSettings, FrozenSettings, PriceSettings, Sampling
from alignpro.errors import SettingsError
from alignpro.models.framing import Frame
from alignpro.remote.accounting import Account
from alignpro.remote.address import OWN_KEY, Endpoint, parse_endpoint
from alignpro.remote.asked import AskedModel
from alignpro.remote.cache import AnswerCache
from alignpro.remote.frozen import EndpointModel, load_endpoint
from alignpro.remote.function import FunctionModel, load_function_model
from alignpro.remote.pool import Policy
from alignpro.runtime import processes
from alignpro.runtime.notices import Asides

ANSWERS, SPENDING = "answers.sqlite", "spending.json"
"""Files in a run's folder."""


class Endpoints:
    """Loads models behind URLs and functions, checks them, keeps what they answer and what that cost."""

    def __init__(
        self,
        budget: BudgetSettings | None = None,
        cache: str | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.account = Account(budget=budget)
        self._asides = Asides(say)
        self._sharing: set[str] = set()  # hosts that are sent the key of ALIGNPRO_API_KEY since no other is named
        self.models: list[AskedModel] = []
        self._cache: AnswerCache | None = None
        self._file = Path(cache).expanduser() if cache else None

    def load(
        self, spec: str, sampling: Sampling, settings: EndpointSettings, frame: Frame | None = None
    ) -> EndpointModel:
        """The model that `spec` names. Nothing is sent. Raises as `load_endpoint`, and SettingsError for two prices or
        one key for several hosts."""
        endpoint = parse_endpoint(spec)
        self._price(endpoint.model, settings.price)
        self._key(endpoint, settings)
        policy = Policy(
            timeout=settings.timeout,
            attempts=settings.attempts,
            patience=settings.patience,
            first_concurrency=min(settings.concurrency, settings.most_concurrency),
            most_concurrency=settings.most_concurrency,
        )
        model = load_endpoint(
            spec,
            sampling,
            frame=frame,
            account=self.account,
            policy=policy,
            settings=settings,
            tell=self._asides.tell,
        )
        self.models.append(model)
        return model

    def load_function(self, settings: FrozenSettings, frame: Frame | None = None) -> FunctionModel:
        """The frozen model that is a function, which is not called. Raises as `load_function_model`."""
        spec = str(settings.model)
        self._price(spec.partition(":")[2], settings.endpoint.price)
        model = load_function_model(
            spec,
            settings.sampling,
            arguments=settings.arguments,
            frame=frame,
            account=self.account,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
        )
        self.models.append(model)
        return model

    def _price(self, name: str, price: PriceSettings | None) -> None:
        if price and self.account.prices.setdefault(name, price) != price:
            raise SettingsError(f"{name} has two prices in the settings; give it the same endpoint.price everywhere")

    def _key(self, endpoint: Endpoint, settings: EndpointSettings) -> None:
        """A pool's hosts share a key; those of different models do not, unless the settings name it for each."""
        if settings.key is not None or endpoint.key_variable != OWN_KEY or not os.environ.get(OWN_KEY, "").strip():
            return
        if self._sharing and not endpoint.hosts <= self._sharing:
            others = " and ".join(sorted(self._sharing | endpoint.hosts))
            raise SettingsError(
                f"the key in {OWN_KEY} would be sent to {others}; name for each endpoint the variable that holds its"
                " key, as in --frozen.endpoint.key=MY_KEY --judge.endpoint.key=THEIR_KEY, or none"
            )
        self._sharing |= endpoint.hosts

    def keep(self, folder: Path) -> None:
        """Keep answers, spending and what servers refuse in a run's folder from now on; what it holds already is used
        and counted."""
        if self.models:
            self._asides.keep(folder)
            self.account.keep(folder / SPENDING)
            self._store(self._file or folder / ANSWERS)

    def check(self) -> None:
        """Ask every model behind a URL for one token. Raises EndpointUnusable, EndpointDown, BudgetSpent."""
        for model in self.models:
            if isinstance(model, EndpointModel):
                model.check()

    def ready(self) -> None:
        """Checked, with answers kept in the file of the settings, where there is one: for models outside of a run."""
        if self.models and self._file is not None:
            self._store(self._file)
        self.check()

    def _store(self, file: Path) -> None:
        self._cache = self._cache or AnswerCache(file)
        for model in self.models:
            model.cache = self._cache

    def report(self) -> dict[str, dict[str, float | None]]:
        """By model, what it cost: the fields of `Spent`; nothing where every model is local."""
        return self.account.report()

    def close(self) -> None:
        """End the connections; write what is known of the cost."""
        if processes.is_first():
            self.account.write()
        for model in self.models:
            model.close()
        if self._cache is not None:
            self._cache.close()
