"""An origin of audio: files as a good static server gives them, or whatever is scripted, each at its path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.fakes.scripted import Answerer, Headers, HttpServer, Reply, Request, in_turn


@dataclass(slots=True)
class RangedFile:
    """Answers as a good static server does; `cuts` lists, a request each, after how many bytes to hang up."""

    body: bytes
    headers: Headers = (("ETag", '"v1"'),)
    cuts: Sequence[int | None] = ()
    framing: Literal["length", "chunked"] = "length"
    served: int = 0

    def __call__(self, request: Request) -> Reply:
        cut = self.cuts[self.served] if self.served < len(self.cuts) else None
        self.served += 1
        whole = Reply(self.body, headers=self.headers, cut=cut, framing=self.framing)
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        known = {value for name, value in self.headers if name.lower() in {"etag", "last-modified"}}
        condition = request.headers.get("if-range")
        if wanted is None or (condition is not None and condition not in known):
            return whole
        return partial(whole, int(wanted[1]))


def partial(whole: Reply, first: int) -> Reply:
    """Return the answer to `Range: bytes={first}-`."""
    size = len(whole.body)
    if first >= size:
        return Reply(status=416, headers=(*whole.headers, ("Content-Range", f"bytes */{size}")))
    span = ("Content-Range", f"bytes {first}-{size - 1}/{size}")
    return replace(whole, status=206, body=whole.body[first:], headers=(*whole.headers, span))


@dataclass(slots=True, kw_only=True)
class Origin(HttpServer):
    """A scripted server that knows which path answers what; any other is 404."""

    host: str = "127.0.0.1"
    _scripts: dict[str, Answerer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answer = self._answer
        HttpServer.__post_init__(self)

    def script(self, *answers: Reply | Answerer, path: str = "/stem.mp3", host: str = "") -> str:
        """Let `path` answer so, one after the other, the last for ever, and return its URL."""
        self._scripts[path] = in_turn(*answers)
        return self.url_of(path, host)

    def url_of(self, path: str = "/stem.mp3", host: str = "") -> str:
        return f"http{'s' if self.tls else ''}://{host or self.host}:{self.port}{path}"

    def _answer(self, request: Request) -> Reply:
        path = re.sub(r"^http://[^/]*", "", request.target).partition("?")[0]
        return self._scripts[path](request) if path in self._scripts else Reply(status=404)
