"""Messages to people, by apprise. The URLs of its services are secrets and stand in no message."""

from __future__ import annotations

from collections.abc import Sequence

import apprise


class Messenger:
    """Sends a message to every service in `urls`; raises ValueError for one that is no service's URL."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._services = apprise.Apprise()
        for number, url in enumerate(urls, start=1):
            if not self._services.add(url):
                raise ValueError(f"number {number} of them is no URL that apprise knows")

    def __call__(self, title: str, body: str) -> bool:
        """Return whether every service took the message; takes some seconds where one does not answer."""
        return bool(self._services.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT))
