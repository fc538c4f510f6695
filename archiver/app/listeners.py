"""The daemon's listeners: for Prometheus and supervisors, and for the provider's callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

from archiver.pipeline.breakers import Breakers
from archiver.ports.runtime import EventLog
from archiver.service.liveness import Liveness
from archiver.settings.model import Callback, Http
from archiver.web.callbacks import Callbacks, CallbackServer
from archiver.web.health import HEALTHZ, READYZ, healthz, readyz
from archiver.web.metrics import CONTENT_TYPE, Metrics
from archiver.web.server import Page, PageServer


def pages(metrics: Metrics, liveness: Liveness, breakers: Breakers) -> Mapping[str, Callable[[], Page]]:
    """Return the pages at http.listen, by path."""
    return {
        "/metrics": lambda: Page(200, CONTENT_TYPE, metrics.page()),
        HEALTHZ: lambda: json_page(*healthz(liveness.late(), liveness.stuck())),
        READYZ: lambda: json_page(*readyz(breakers.paused())),
    }


def json_page(status: int, answer: Mapping[str, object]) -> Page:
    """Return the answer as JSON."""
    return Page(status, "application/json", (json.dumps(answer) + "\n").encode("ascii"))


@contextmanager
def serving_pages(http: Http, served: Mapping[str, Callable[[], Page]], log: EventLog) -> Iterator[None]:
    """Serve metrics and health while this lasts; where that cannot be, say so and go on."""
    address = http.address()
    if address is None:
        yield
        return
    try:
        server = PageServer(*address, served, log, at_once={HEALTHZ})
    except OSError as error:
        hint = "set http.listen to a free port; until then this process answers neither /metrics nor /healthz"
        log.error("http.unavailable", listen=http.listen, error=error.strerror, hint=hint)  # noqa: TRY400 - an event
        yield
        return
    with closing(server):
        log.info("http.listening", address=server.address)
        yield


@contextmanager
def taking_callbacks(callback: Callback, callbacks: Callbacks, log: EventLog) -> Iterator[None]:
    """Take the provider's callbacks while this lasts, if so set; where that cannot be, say so and go on."""
    address = callback.address()
    if not callback.enabled or address is None:
        yield
        return
    try:
        server = CallbackServer(*address, callbacks, log)
    except OSError as error:
        hint = "set callback.listen to an address of this machine and a free port; until then tasks are polled"
        log.error("callback.unavailable", listen=callback.listen, error=error.strerror, hint=hint)  # noqa: TRY400 - an event
        yield
        return
    with closing(server):
        log.info("callback.listening", address=server.address)
        yield
