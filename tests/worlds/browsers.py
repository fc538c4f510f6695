"""Browsers that never rest, without their looks: what they ask the page for, again and again."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.fakes.waiting import until

BROWSERS = 4
EVERY = 0.25
"""Seconds from one request of a browser to its next."""


class Browsers:
    """Clients that were let in by one link, and look at everything in turn; the log of the page tells the link."""

    def __init__(self, log: Callable[[], str]) -> None:
        until(lambda: "lets one browser in, once" in log())
        found = re.search(r"once: (http://[\d.:]+)/enter#([\w-]+)", log())
        assert found is not None
        self.base = found[1]
        own = {"Origin": self.base, "Sec-Fetch-Site": "same-origin"}
        entered = httpx.post(f"{self.base}/enter", data={"token": found[2]}, headers=own, trust_env=False)
        self.cookie = entered.headers["set-cookie"].partition(";")[0]
        self.answers: list[int] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let all of them look on while this lasts."""
        over = threading.Event()
        threads = [threading.Thread(target=self._look, args=(over,)) for _ in range(BROWSERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _look(self, over: threading.Event) -> None:
        with httpx.Client(base_url=self.base, headers={"Cookie": self.cookie}, timeout=30, trust_env=False) as client:
            while True:
                for path, fields in self._paths(client):
                    self.answers.append(client.get(path, headers=fields).status_code)
                    if over.wait(EVERY):
                        return

    @staticmethod
    def _paths(client: httpx.Client) -> Iterator[tuple[str, dict[str, str]]]:
        yield "/overview/live", {}
        yield "/tasks?order=ended", {}
        tasks = re.findall(r'href="(/task/[^"]+)"', client.get("/tasks?state=archived").text)
        for task in tasks[:3]:
            yield task, {}
            for url in re.findall(r'data-url="([^"]+)"', client.get(task).text):
                yield url.replace("&amp;", "&"), {"Range": "bytes=0-131071"}
        yield "/tasks.json", {}
