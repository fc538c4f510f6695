"""A downloader that may reach loopback and never sleeps, and a way to read what it gives."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from archiver.adapters.downloader import HttpDownloader
from archiver.ports.transfer import Body, Downloader

AGENT = "stem-archiver-test/1"


@dataclass(slots=True)
class Naps:
    """Stands for time.sleep: keeps what was asked for."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@contextmanager
def downloader(**overrides: Any) -> Iterator[HttpDownloader]:  # noqa: ANN401 - any argument of the constructor
    """Build one for plain http on loopback, that trusts no certificate, with the mean of all jitter."""
    arguments: dict[str, Any] = {
        "user_agent": AGENT,
        "max_bytes": 10_000_000,
        "min_rate": 0,
        "allow_http": True,
        "allow_private_addresses": True,
        "sleep": Naps(),
        "jitter": lambda: 0.5,
        "read_timeout": 5.0,
        "ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }
    client = HttpDownloader(**{**arguments, **overrides})
    try:
        yield client
    finally:
        client.close()


def drain(body: Body, buffer_size: int = 70_000) -> bytes:
    """Read to the verified end."""
    buffer, data = memoryview(bytearray(buffer_size)), bytearray()
    while True:
        size = body.readinto(buffer)
        data += buffer[:size]
        if size < buffer_size:
            return bytes(data)


def fetch(client: Downloader, url: str, buffer_size: int = 70_000) -> bytes:
    """Open, read to the verified end and check what the body says of itself."""
    with client.open(url) as body:
        data = drain(body, buffer_size)
        assert body.size == len(data)
        assert body.sha256 == hashlib.sha256(data).hexdigest()
        assert body.length in {None, len(data)}
    return data
