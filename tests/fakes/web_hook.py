"""An HTTP server that keeps what it is sent: the far end of heartbeats and notifications."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.scripted import HttpServer
from tests.fakes.waiting import until


@dataclass(slots=True, kw_only=True)
class WebHook(HttpServer):
    """Takes all, until it `says` something else."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[tuple[str, str, str]]:
        """(method, path, body) of each request."""
        return [(each.method, each.target, each.body.decode()) for each in self.requests]

    def wait_for(self, text: str) -> str:
        """Wait until a request whose path or body holds `text` came, and return its body."""

        def bodies() -> list[str]:
            return [body for _, path, body in self.seen if text in path or text in body]

        until(bodies, what=f"{text!r} was sent")
        return bodies()[0]
