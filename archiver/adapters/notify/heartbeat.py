"""The ping of a dead man's switch. Its URL is a secret and stands in no message."""

from __future__ import annotations

import httpx


class Ping:
    """Fetches `url`; each of connecting, sending and reading may take `timeout` seconds."""

    def __init__(self, url: str, *, user_agent: str, timeout: float = 5.0) -> None:
        self._url = url
        self._user_agent = user_agent
        self._timeout = timeout

    def __call__(self) -> str:
        """Return an empty text when the switch took the ping, else the fault."""
        try:
            with (
                httpx.Client(timeout=self._timeout, headers={"User-Agent": self._user_agent}) as client,
                client.stream("GET", self._url) as answer,
            ):
                return "" if answer.is_success else f"HTTP {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
