"""The small HTTP server on real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPResponse

import pytest

from archiver.web.health import ask
from archiver.web.listener import Limits
from archiver.web.server import Page, PageServer
from tests.fakes.events import Events
from tests.fakes.serving import port_of

WAIT = 30.0

# Just so many that the server gives up and has read all: with bytes unread, TCP may drop its answer.
LONGEST_HEAD, MOST_FIELDS = 16_384, 101


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


def asked(server: PageServer, method: str, path: str) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", port_of(server.address), timeout=WAIT)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer, answer.read()


def spoken(server: PageServer, words: bytes) -> bytes:
    """Send `words` and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port_of(server.address)), timeout=WAIT) as connection:
        connection.sendall(words)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_get_of_a_page_answers_it(server: PageServer) -> None:
    answer, body = asked(server, "GET", "/healthz?probe=1")
    assert (answer.status, answer.getheader("Content-Type"), body) == (200, "application/json", b'{"status": "alive"}')
    assert answer.getheader("Server") == "stem-archiver"


def test_page_that_is_made_at_once_is_answered_or_says_that_it_is_broken(events: Events) -> None:
    with closing(PageServer("127.0.0.1", 0, PAGES, events, at_once=PAGES)) as server:
        assert asked(server, "GET", "/healthz")[1] == b'{"status": "alive"}'
        assert asked(server, "HEAD", "/late")[0].status == 503
        assert asked(server, "GET", "/broken")[0].status == 500
    assert [event for _, event, _ in events.seen] == ["http.failed"]


def test_page_brings_its_own_status(server: PageServer) -> None:
    assert asked(server, "GET", "/late")[0].status == 503


def test_head_answers_without_the_body(server: PageServer) -> None:
    words = spoken(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert words.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 19\r\n" in words
    assert words.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET /<script>planted HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /healthz?planted HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"PLANTED /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /healthz planted HTTP/1.1\r\n\r\n", b"400"),
        ((b"GET /" + b"planted" * 10_000)[:LONGEST_HEAD], b"431"),
        (b"GET /healthz HTTP/1.1\r\n" + b"planted: 1\r\n" * MOST_FIELDS, b"431"),
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


def test_client_that_drips_its_head_is_hung_up_on_after_two_seconds(server: PageServer) -> None:
    began = time.monotonic()
    assert spoken(server, b"GET /healthz HTTP/1.1\r\nX-Slow: ") == b""
    assert 1.9 < time.monotonic() - began < 5


def test_listener_without_further_words_has_these_limits() -> None:
    within = {"head_within": 2.0, "request_within": 10.0, "answer_within": 10.0}
    assert Limits() == Limits(waiting=64, answering=64, body=65_536, **within)


def test_client_that_drips_its_body_is_hung_up_on_in_time() -> None:
    limits = Limits(request_within=0.3)
    with closing(PageServer("127.0.0.1", 0, PAGES, Events(), limits=limits)) as server:
        assert spoken(server, b"POST /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\nX") == b""


def test_silent_connections_are_pushed_out_the_oldest_first_and_requests_are_answered(events: Events) -> None:
    limits = Limits(head_within=10 * WAIT)
    with closing(PageServer("127.0.0.1", 0, PAGES, events, limits=limits)) as server, ExitStack() as stack:
        there = ("127.0.0.1", port_of(server.address))
        idle = [stack.enter_context(socket.create_connection(there, timeout=WAIT)) for _ in range(65)]
        assert asked(server, "GET", "/healthz")[0].status == 200
        assert idle[0].recv(1) == b""
        # The one that asks waits for a moment, too: where its head came late, the second was pushed out for it.
        idle[2].settimeout(0.2)
        with pytest.raises(TimeoutError):
            idle[2].recv(1)
        idle[3].sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert b" 200 " in idle[3].recv(4096)
    said = events.of("listener.flooded")
    assert {fields["address"] for fields in said} == {server.address}
    assert [fields["connections"] for fields in said] in ([1], [2], [1, 1])


def test_answer_that_nobody_takes_is_given_up_in_time() -> None:
    pages = {"/large": lambda: Page(200, "text/plain", bytes(32 << 20))}
    limits = Limits(answer_within=0.3)
    with (
        closing(PageServer("127.0.0.1", 0, pages, Events(), limits=limits)) as server,
        socket.create_connection(("127.0.0.1", port_of(server.address)), timeout=WAIT) as connection,
    ):
        connection.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        time.sleep(1)
        taken = 0
        with suppress(ConnectionResetError):
            while part := connection.recv(1 << 20):
                taken += len(part)
    assert taken < 32 << 20


def test_page_that_takes_long_keeps_no_other_waiting_and_is_made_once_for_all_that_wait() -> None:
    made, may_go_on = [], threading.Event()

    def slow() -> Page:
        made.append(1)
        assert may_go_on.wait(WAIT)
        return Page(200, "text/plain", b"slow")

    with closing(PageServer("127.0.0.1", 0, {**PAGES, "/slow": slow}, Events())) as server, ExitStack() as stack:
        there = ("127.0.0.1", port_of(server.address))
        waiting = [stack.enter_context(socket.create_connection(there, timeout=WAIT)) for _ in range(10)]
        for each in waiting:
            each.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        assert asked(server, "GET", "/healthz")[0].status == 200
        may_go_on.set()
        assert [each.recv(4096).endswith(b"slow") for each in waiting] == [True] * 10
    assert len(made) <= 2


def test_crowd_that_asks_for_one_page_pushes_out_nobody_who_asks_for_another() -> None:
    may_go_on = threading.Event()

    def waits(page: Page) -> Page:
        assert may_go_on.wait(WAIT)
        return page

    pages = {path: partial(waits, Page(200, "text/plain", path.encode())) for path in ("/healthz", "/metrics")}
    with closing(PageServer("127.0.0.1", 0, pages, Events())) as server, ExitStack() as stack:
        there = ("127.0.0.1", port_of(server.address))
        crowd = []
        for path in (b"/healthz", *[b"/metrics"] * 100):
            crowd.append(stack.enter_context(socket.create_connection(there, timeout=WAIT)))
            crowd[-1].sendall(b"GET %b HTTP/1.1\r\n\r\n" % path)
        probe = crowd.pop(0)
        assert crowd[36].recv(1) == b"", "64 are held in all"
        may_go_on.set()
        assert probe.recv(4096).endswith(b"/healthz")
        assert crowd[-1].recv(4096).endswith(b"/metrics")


def test_port_that_is_taken_raises(server: PageServer) -> None:
    with pytest.raises(OSError, match="in use"):
        PageServer("127.0.0.1", port_of(server.address), PAGES, Events())


def test_server_that_was_closed_listens_no_more(server: PageServer) -> None:
    port = port_of(server.address)
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
        assert ask("::", port_of(server.address), seconds=WAIT) == (True, '{"status": "alive"}')


# --- archiver.web.health.ask


def test_ask_of_a_living_service_says_yes(server: PageServer) -> None:
    assert ask("0.0.0.0", port_of(server.address), seconds=WAIT) == (True, '{"status": "alive"}')


def test_ask_of_a_stalled_service_says_no_and_what_it_said() -> None:
    pages = {"/healthz": PAGES["/late"]}
    with closing(PageServer("127.0.0.1", 0, pages, Events())) as server:
        assert ask("127.0.0.1", port_of(server.address), seconds=WAIT) == (False, '{"status": "stalled"}')


def test_ask_of_nobody_says_no_and_why(server: PageServer) -> None:
    port = port_of(server.address)
    server.close()
    alive, said = ask("127.0.0.1", port, seconds=WAIT)
    assert not alive
    assert f"no answer from 127.0.0.1:{port}: nothing listens there" in said


def test_ask_of_another_service_says_so_and_repeats_nothing() -> None:
    pages = {"/healthz": lambda: Page(200, "text/html", b"<h1>\x1b[31mhello")}
    with closing(PageServer("127.0.0.1", 0, pages, Events())) as server:
        alive, said = ask("127.0.0.1", port_of(server.address), seconds=WAIT)
    assert not alive
    assert "something else listens" in said
    assert "hello" not in said


@pytest.mark.parametrize(("size", "alive"), [(4096, True), (4097, False)])
def test_ask_reads_4_096_bytes_of_an_answer(size: int, *, alive: bool) -> None:
    pages = {"/healthz": lambda: Page(200, "application/json", b"{%s}" % (b" " * (size - 2)))}
    with closing(PageServer("127.0.0.1", 0, pages, Events())) as server:
        assert ask("127.0.0.1", port_of(server.address), seconds=WAIT)[0] is alive
