"""The small HTTP server on real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

import pytest

from archiver.web.health import ask
from archiver.web.server import CONNECTIONS, Page, PageServer
from tests.fakes.events import Events

WAIT = 30.0

# Just so many that http.server gives up and has read all: with bytes unread, TCP may drop its answer.
LONGEST_LINE, MOST_HEADERS = 65_537, 101


def broken() -> Page:
    raise ZeroDivisionError("a bug")


PAGES = {
    "/healthz": lambda: Page(200, "application/json", b'{"status": "alive"}'),
    "/late": lambda: Page(503, "application/json", b'{"status": "stalled"}'),
    "/broken": broken,
}


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def server(events: Events) -> Iterator[PageServer]:
    with closing(PageServer("127.0.0.1", 0, PAGES, events)) as running:
        yield running


def port_of(server: PageServer) -> int:
    return int(server.address.rpartition(":")[2])


def asked(server: PageServer, method: str, path: str) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", port_of(server), timeout=WAIT)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer, answer.read()


def spoken(server: PageServer, words: bytes) -> bytes:
    """Send `words` and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=WAIT) as connection:
        connection.sendall(words)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_get_of_a_page_answers_it(server: PageServer) -> None:
    answer, body = asked(server, "GET", "/healthz?probe=1")
    assert (answer.status, answer.getheader("Content-Type"), body) == (200, "application/json", b'{"status": "alive"}')
    assert answer.getheader("Server") == "stem-archiver"


def test_page_brings_its_own_status(server: PageServer) -> None:
    assert asked(server, "GET", "/late")[0].status == 503


def test_head_answers_without_the_body(server: PageServer) -> None:
    words = spoken(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert words.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Length: 19\r\n" in words
    assert words.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET /<script>planted HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /healthz?planted HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"PLANTED /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /healthz planted HTTP/1.1\r\n", b"400"),
        ((b"GET /" + b"planted" * 10_000)[:LONGEST_LINE], b"414"),
        (b"GET /healthz HTTP/1.1\r\n" + b"planted: 1\r\n" * MOST_HEADERS, b"431"),
    ],
)
def test_request_for_anything_else_is_refused_and_not_repeated(
    server: PageServer, events: Events, words: bytes, status: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = spoken(server, words)
    assert b" " + status + b" " in answer.splitlines()[0]
    assert b"planted" not in answer.lower()
    assert events.seen == []
    assert capfd.readouterr() == ("", "")


def test_page_that_cannot_be_made_is_answered_with_500_and_logged(server: PageServer, events: Events) -> None:
    answer, body = asked(server, "GET", "/broken")
    assert (answer.status, body) == (500, b"Internal Server Error\n")
    assert [event for _, event, _ in events.seen] == ["http.failed"]


def test_client_that_drips_its_request_is_hung_up_on() -> None:
    with closing(PageServer("127.0.0.1", 0, PAGES, Events(), patience=0.3)) as server:
        assert spoken(server, b"GET /healthz HTTP/1.1\r\nX-Slow: ") == b""


def served(server: PageServer) -> bool:
    try:
        return bool(spoken(server, b"GET /healthz HTTP/1.1\r\n\r\n"))
    except ConnectionError:
        return False


def test_more_connections_than_are_served_are_hung_up_on_and_the_next_is_served_again() -> None:
    with closing(PageServer("127.0.0.1", 0, PAGES, Events(), patience=10 * WAIT)) as server:
        there = ("127.0.0.1", port_of(server))
        idle = [socket.create_connection(there, timeout=WAIT) for _ in range(CONNECTIONS)]
        with socket.create_connection(there, timeout=WAIT) as one_too_many:
            assert one_too_many.recv(1) == b""
        for connection in idle:
            connection.close()
        give_up = time.monotonic() + WAIT
        while not served(server):
            assert time.monotonic() < give_up


def test_port_that_is_taken_raises(server: PageServer) -> None:
    with pytest.raises(OSError, match="in use"):
        PageServer("127.0.0.1", port_of(server), PAGES, Events())


def test_server_that_was_closed_listens_no_more(server: PageServer) -> None:
    port = port_of(server)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def test_ipv6_address_is_listened_on_and_written_in_brackets() -> None:
    try:
        server = PageServer("::1", 0, PAGES, Events())
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with closing(server):
        assert server.address.startswith("[::1]:")
        assert ask("::", port_of(server), seconds=WAIT) == (True, '{"status": "alive"}')


# --- archiver.web.health.ask


def test_ask_of_a_living_service_says_yes(server: PageServer) -> None:
    assert ask("0.0.0.0", port_of(server), seconds=WAIT) == (True, '{"status": "alive"}')


def test_ask_of_a_stalled_service_says_no_and_what_it_said() -> None:
    pages = {"/healthz": PAGES["/late"]}
    with closing(PageServer("127.0.0.1", 0, pages, Events())) as server:
        assert ask("127.0.0.1", port_of(server), seconds=WAIT) == (False, '{"status": "stalled"}')


def test_ask_of_nobody_says_no_and_why(server: PageServer) -> None:
    port = port_of(server)
    server.close()
    alive, said = ask("127.0.0.1", port, seconds=WAIT)
    assert not alive
    assert f"no answer from 127.0.0.1:{port}: ConnectionRefusedError" in said


def test_ask_of_another_service_says_so_and_repeats_nothing() -> None:
    pages = {"/healthz": lambda: Page(200, "text/html", b"<h1>\x1b[31mhello")}
    with closing(PageServer("127.0.0.1", 0, pages, Events())) as server:
        alive, said = ask("127.0.0.1", port_of(server), seconds=WAIT)
    assert not alive
    assert "something else listens" in said
    assert "hello" not in said
