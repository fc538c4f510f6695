"""Damage that a store, or the way to it, may do: each mode on top of the fault proxy, before any server."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from tests.fakes.s3_proxy import (
    Action,
    Exchange,
    Rule,
    S3Proxy,
    drop_after,
    drop_before,
    flip_bit,
    refuse,
    with_headers,
)
from tests.fakes.scripted import Reply

EVER = 10_000
NOT_IMPLEMENTED = refuse(501, "NotImplemented")
_UPLOAD = re.compile(rb"<Upload>.*?</Upload>", re.DOTALL)


@dataclass
class Counted:
    """An action on some of the requests that it is given; the others pass. Counts what it hit."""

    action: Action
    hits_on: Callable[[Exchange], bool]
    hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, exchange: Exchange) -> Reply:
        if not self.hits_on(exchange):
            return exchange.forward()
        with self._lock:
            self.hits += 1
        return self.action(exchange)


@dataclass(frozen=True)
class Inflicted:
    """A mode at work."""

    rules: list[Rule]
    counted: list[Counted]

    @property
    def hits(self) -> int:
        return sum(each.hits for each in (self.counted or self.rules))


@dataclass(frozen=True)
class Mode:
    """One kind of damage: what is done to which operations, how often, and to which of their requests."""

    operations: tuple[str, ...]
    action: Callable[[], Action]
    times: int = EVER
    hits_on: Callable[[Exchange], bool] | None = None
    of_the_store: bool = False
    """True where it is the store's own way, which a proof sees; else the way there is at fault, in its own time."""

    def inflict(self, proxy: S3Proxy, *, key: str = "") -> Inflicted:
        """Begin; on keys that end in `key` where one is given."""
        action = self.action()
        counted = [Counted(action, self.hits_on)] if self.hits_on else []
        done: Action = counted[0] if counted else action
        return Inflicted(
            [proxy.on(operation, done, times=self.times, key=key) for operation in self.operations], counted
        )


def _says(name: str) -> Callable[[Exchange], bool]:
    return lambda exchange: name in {field.lower() for field, _ in exchange.request.fields}


def _asks_by_no_whole_key(exchange: Exchange) -> bool:
    query = parse_qs(urlsplit(exchange.request.target).query, keep_blank_values=True)
    prefix = query.get("prefix", [""])[0].encode()
    return bool(prefix) and b"<Key>" + prefix + b"</Key>" not in exchange.forward().body


def _unlisted(exchange: Exchange) -> Reply:
    answer = exchange.forward()
    return replace(answer, body=_UPLOAD.sub(b"", answer.body))


_ETAG = re.compile(rb"<ETag>.*?</ETag>", re.DOTALL)
_NAMING = ("PutObject", "UploadPart", "CompleteMultipartUpload", "HeadObject", "GetObject")
"""Operations whose answers name an ETag."""


def without_etags(action: Action = Exchange.forward) -> Action:
    """Take every ETag out of the answer, from head and body."""

    def act(exchange: Exchange) -> Reply:
        answer = action(exchange)
        kept = [(name, value) for name, value in answer.headers if name.lower() != "etag"]
        text = answer.body if exchange.request.method == "GET" else _ETAG.sub(b"", answer.body)
        return replace(answer, body=text, headers=kept)

    return act


@dataclass
class Echo:
    """Remembers the checksums that a PUT names, and names them at a HEAD."""

    said: dict[str, dict[str, str]] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> Reply:
        path = urlsplit(exchange.request.target).path
        answer = exchange.forward()
        if exchange.request.method == "PUT" and answer.status < 300:
            named = [item for item in exchange.request.fields if item[0].lower().startswith("x-amz-checksum-")]
            self.said[path] = dict(named)
        return with_headers(answer, self.said.get(path, {}))


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "flip-put": Mode(("PutObject",), lambda: flip_bit),
        "flip-put-once": Mode(("PutObject",), lambda: flip_bit, times=1),
        "flip-part": Mode(("UploadPart",), lambda: flip_bit),
        "flip-part-once": Mode(("UploadPart",), lambda: flip_bit, times=1),
        "drop-put-before": Mode(("PutObject",), lambda: drop_before, times=1),
        "drop-put-after": Mode(("PutObject",), lambda: drop_after, times=1),
        "drop-complete-before": Mode(("CompleteMultipartUpload",), lambda: drop_before, times=1),
        "drop-complete-after": Mode(("CompleteMultipartUpload",), lambda: drop_after, times=1),
        "no-multipart": Mode(("CreateMultipartUpload",), lambda: NOT_IMPLEMENTED, of_the_store=True),
        "no-whole-checksum": Mode(
            ("CreateMultipartUpload",),
            lambda: NOT_IMPLEMENTED,
            hits_on=_says("x-amz-checksum-type"),
            of_the_store=True,
        ),
        "invalid-part": Mode(("CompleteMultipartUpload",), lambda: refuse(400, "InvalidPart"), of_the_store=True),
        "no-conditions": Mode(
            ("PutObject", "CompleteMultipartUpload"),
            lambda: NOT_IMPLEMENTED,
            hits_on=lambda exchange: _says("if-none-match")(exchange) or _says("if-match")(exchange),
            of_the_store=True,
        ),
        "exact-list": Mode(
            ("ListMultipartUploads",), lambda: _unlisted, hits_on=_asks_by_no_whole_key, of_the_store=True
        ),
        "echo": Mode(("PutObject", "HeadObject"), Echo, of_the_store=True),
        "no-etags": Mode(_NAMING, without_etags, of_the_store=True),
    }
)
"""By their names: first the way to a store, then the ways of a store."""
