"""The ASGI server on real sockets: blocks, heads, what breaks, and clients that go away or take nothing."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, IncompleteRead
from typing import Any

import pytest

from archiver.web.asgi import Application, AsgiServer, MadeOnce, Message
from archiver.web.listener import Limits
from tests.fakes.events import Events
from tests.fakes.serving import port_of
from tests.fakes.waiting import until

BLOCK = b"x" * 65_536
cancelled = threading.Event()
begun = threading.Semaphore(0)
free = threading.Event()
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    path = scope["path"]
    if path == "/breaks":
        raise ZeroDivisionError("a bug")
    if path == "/holds":
        begun.release()
        free.wait(30)  # the whole loop, as a busy processor would
    if path == "/waits":
        begun.release()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()
    body = (await receive())["body"]
    fields: list[Any] = [(b"content-type", b"text/plain")]
    if path == "/whole":
        fields.append((b"content-length", b"5"))
    await send({"type": "http.response.start", "status": 304 if path == "/same" else 200, "headers": fields})
    match path:
        case "/same":
            await send({"type": "http.response.body", "body": b""})
        case "/blocks" | "/half" | "/endless":
            for number in range(10_000 if path == "/endless" else 3):
                await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
                if path == "/half" and number:
                    raise OSError("the store broke off")
            await send({"type": "http.response.body", "body": b""})
        case _:
            told = b"whole" if path == "/whole" else scope["query_string"] + body
            await send({"type": "http.response.body", "body": told})


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def server(events: Events) -> Iterator[AsgiServer]:
    while begun.acquire(blocking=False):
        pass
    limits = Limits(answering=2, answer_within=0.3)
    with closing(AsgiServer(application, "127.0.0.1", 0, log=events, limits=limits)) as running:
        yield running


Answer = tuple[int, dict[str, str], bytes]


def ask(server: AsgiServer, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
    with closing(HTTPConnection("127.0.0.1", port_of(server.address), timeout=30)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def test_application_is_made_at_its_first_request_and_anew_only_where_that_failed(events: Events) -> None:
    made: list[str] = []

    def make() -> Application:
        made.append("once")
        if len(made) == 1:
            raise OSError("not yet")
        return application

    with closing(AsgiServer(MadeOnce(make), "127.0.0.1", 0, log=events)) as server:
        assert made == []
        assert [ask(server, "/whole")[0] for _ in range(3)] == [500, 200, 200]
    assert len(made) == 2


def test_answer_has_its_length_and_the_request_its_query_and_body(server: AsgiServer) -> None:
    status, fields, body = ask(server, "/echo?a=b", "POST", b"&c=d")
    assert (status, fields["content-length"], body) == (200, "7", b"a=b&c=d")


def test_long_answer_comes_in_chunks_and_its_head_without_them(server: AsgiServer) -> None:
    status, fields, body = ask(server, "/blocks")
    assert (status, fields["transfer-encoding"], len(body)) == (200, "chunked", 3 * len(BLOCK))
    assert ask(server, "/blocks", "HEAD")[::2] == (200, b"")
    assert ask(server, "/whole", "HEAD")[1]["content-length"] == "5"
    status, fields, body = ask(server, "/same")
    assert (status, body) == (304, b"")
    assert "content-length" not in fields


def test_answer_that_breaks_off_is_seen_as_such(server: AsgiServer, events: Events) -> None:
    with pytest.raises(IncompleteRead):
        ask(server, "/half")
    assert ask(server, "/breaks")[0] == 500
    assert [event for _, event, _ in events.seen] == ["http.failed", "http.failed"]


def test_client_that_takes_nothing_is_given_up_and_one_too_many_pushes_the_oldest_out(
    server: AsgiServer, events: Events
) -> None:
    address = "127.0.0.1", port_of(server.address)
    with socket.create_connection(address) as idle, socket.create_connection(address) as first:
        idle.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        first.sendall(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.acquire(timeout=30)
        others = [socket.create_connection(address) for _ in range(2)]
        for other in others:
            other.sendall(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        first.settimeout(30)
        assert first.recv(1) == b""
        assert cancelled.wait(30)
        for other in others:
            other.close()
        idle.settimeout(30)
        with suppress(ConnectionResetError):
            while idle.recv(1 << 20):
                pass
    assert "http.failed" not in {event for _, event, _ in events.seen}


def test_client_that_is_pushed_out_before_its_answer_began_is_hung_up_on(server: AsgiServer, events: Events) -> None:
    address = "127.0.0.1", port_of(server.address)
    free.clear()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
        for client, path in zip(clients, ("holds", "waits", "waits"), strict=True):
            client.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if path == "holds":
                assert begun.acquire(timeout=30)
        until(lambda: events.of("listener.flooded"))
        free.set()
        # Which of the two that wait came first is the kernel's to say.
        [pushed_out], _, _ = select.select(clients[1:], [], [], 30)
        assert pushed_out.recv(1) == b""
