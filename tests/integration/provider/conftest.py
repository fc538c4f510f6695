from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from archiver.adapters.provider.client import KieApi
from tests.fakes.events import Events
from tests.fakes.scripted import HttpServer, reply
from tests.fakes.time import Seconds
from tests.fixtures.record_api import PENDING
from tests.house import kie_api

Make = Callable[..., KieApi]


@pytest.fixture
def provider() -> Iterator[HttpServer]:
    with HttpServer(answer=lambda _: reply(PENDING)) as provider:
        yield provider


@pytest.fixture
def fake_time() -> Seconds:
    return Seconds(50_000.0)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def make(provider: HttpServer, fake_time: Seconds, events: Events) -> Iterator[Make]:
    """Build clients on fake time, unless told otherwise."""
    made: list[KieApi] = []

    def make(**changes: Any) -> KieApi:  # noqa: ANN401  see kie_api
        plain: dict[str, Any] = {"clock": fake_time.clock, "wait": fake_time.wait, "log": events}
        base_url = changes.pop("base_url", provider.url)
        made.append(kie_api(base_url, **(plain | changes)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def api(make: Make) -> KieApi:
    return make()


@pytest.fixture
def impatient(make: Make) -> KieApi:
    """A client on real time that gives an exchange half a second, and does not wait between tries."""
    return make(timeout=0.5, clock=time.monotonic, wait=lambda *_: None, jitter=lambda: -1.5)
