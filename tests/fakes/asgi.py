"""An ASGI application asked in this process: no socket, no thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str = "GET"
    path: str = "/"
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    query: str = ""


@dataclass(slots=True)
class Said:
    """What came back."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()


async def ask(application: Application, asked: Asked) -> Said:
    said, sent = Said(), False
    headers = [(name.lower().encode(), value.encode("utf-8")) for name, value in asked.fields.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "method": asked.method, "scheme": "http", "path": asked.path, "raw_path": asked.path.encode(),
        "query_string": asked.query.encode(), "root_path": "", "headers": headers, "client": None, "server": None,
        "state": {},
    }  # fmt: skip

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": asked.body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            said.status = message["status"]
            said.fields = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            said.body += message.get("body", b"")

    await application(scope, receive, send)
    return said


def asked_in_turn(application: Application, requests: Sequence[Asked]) -> list[Said]:
    """What each request is answered with, one after the other."""

    async def all_of_them() -> list[Said]:
        return [await ask(application, each) for each in requests]

    # In a thread of its own: in this one the loop of a browser's driver may be at work.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, all_of_them()).result()
