"""The listener for callbacks: from bytes for breadth, over real sockets for what only those show."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from archiver.app.clock import utc_now
from archiver.app.listeners import taking_callbacks
from archiver.core.callback import signature_of
from archiver.core.model import TaskId, task_id
from archiver.core.records.kinds.names import KindName
from archiver.settings import Settings
from archiver.web.callbacks import PATH, Callbacks, CallbackServer
from archiver.web.listener import Limits
from archiver.web.messages import Refused, RequestReader
from tests.fakes.events import Events
from tests.fakes.time import NOW
from tests.fixtures.profiles import examples

WINDOW = timedelta(minutes=5)
KEY = "whk_test_0123456789abcdef"
TASK = TaskId("3e63b4cc88d52611159371f6af5571e7")

Headers = Sequence[tuple[bytes, bytes]]


class Endpoint:
    """The callbacks with their time in our hands."""

    def __init__(self) -> None:
        self.now = NOW
        self.woken: list[TaskId] = []
        self.events = Events()
        self.callbacks = Callbacks(
            key=KEY, wake=lambda task, _: self.woken.append(task), clock=lambda: self.now, log=self.events
        )

    def post(self, body: bytes, headers: Headers) -> int:
        return self.ask("POST", PATH, headers, [body])

    def ask(self, method: str, path: str, headers: Headers, chunks: Sequence[bytes]) -> int:
        """Read one request as it comes over a socket, and return the status that answers it."""
        lines = [f"{method} {path} HTTP/1.1".encode("latin-1", "replace")]
        lines += [b"%b: %b" % each for each in headers] + [b"Transfer-Encoding: chunked", b"", b""]
        pieces = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
        reader = RequestReader()
        try:
            for piece in (b"\r\n".join(lines), *pieces, b"0\r\n\r\n"):
                request = reader.feed(piece)
        except Refused as refused:
            return self.callbacks.refuse(refused.status, "")
        assert request is not None
        return self.callbacks.status_of(request)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


def body_of(task: str = TASK) -> bytes:
    urls = {"vocal_url": "https://evil.example/vocal.mp3?token=planted"}
    return json.dumps({"code": 200, "data": {"task_id": task, "vocal_separation_info": urls}}).encode()


def signed(at: datetime = NOW, task: TaskId = TASK) -> Headers:
    stamp = str(int(at.timestamp()))
    return [
        (b"X-Webhook-Timestamp", stamp.encode()),
        (b"X-Webhook-Signature", signature_of(KEY, task, stamp).encode()),
    ]


def test_callback_that_the_provider_signed_wakes_its_task_and_is_answered_200(endpoint: Endpoint) -> None:
    assert endpoint.post(body_of(), signed()) == 200
    assert endpoint.woken == [TASK]


def test_key_that_is_changed_is_the_only_one_that_is_taken_from_then_on(endpoint: Endpoint) -> None:
    endpoint.callbacks.change_key("another-key-of-the-provider")
    assert endpoint.post(body_of(), signed()) == 401
    endpoint.callbacks.change_key(KEY)
    assert endpoint.post(body_of(), signed()) == 200
    assert endpoint.woken == [TASK]


class CountedTime(datetime):
    """A moment that counts how often a span to another one is asked for."""

    asked: ClassVar[int] = 0

    def __sub__(self, other: Any) -> Any:  # noqa: ANN401
        CountedTime.asked += 1
        return super().__sub__(other)


def test_signature_that_is_noted_costs_the_same_however_many_are_remembered(endpoint: Endpoint) -> None:
    endpoint.now = CountedTime.fromtimestamp(NOW.timestamp(), UTC)
    CountedTime.asked = 0
    for number in range(500):
        assert endpoint.post(body_of(f"{number:032x}"), signed(task=task_id(f"{number:032x}"))) == 200
    assert len(endpoint.woken) == 500
    assert CountedTime.asked <= 1000


def test_signature_of_a_time_that_was_over_is_noted_anew_behind_one_that_lasts(endpoint: Endpoint) -> None:
    assert endpoint.post(body_of(), signed(NOW)) == 200
    endpoint.now = NOW - timedelta(minutes=9)
    other = task_id("f" * 32)
    assert endpoint.post(body_of(other), signed(endpoint.now, other)) == 200
    endpoint.now = NOW + timedelta(minutes=4)
    for _ in range(2):
        assert endpoint.post(body_of(other), signed(endpoint.now, other)) == 200
    assert endpoint.woken == [TASK, other, other]


def test_callback_that_comes_again_is_answered_200_and_wakes_nothing(endpoint: Endpoint) -> None:
    for _ in range(3):
        assert endpoint.post(body_of(), signed()) == 200
    assert endpoint.post(body_of().replace(b"vocal.mp3", b"other.mp3"), signed()) == 200
    assert endpoint.woken == [TASK]
    assert endpoint.post(body_of(), signed(NOW + timedelta(seconds=1))) == 200, "the provider calls once more"
    assert endpoint.woken == [TASK, TASK]


def test_replay_of_a_callback_from_the_future_wakes_nothing_for_as_long_as_it_is_valid(endpoint: Endpoint) -> None:
    ahead = signed(NOW + WINDOW)
    for wait in (timedelta(), WINDOW, 2 * WINDOW):
        endpoint.now = NOW + wait
        assert endpoint.post(body_of(), ahead) == 200
    assert endpoint.woken == [TASK]
    endpoint.now = NOW + 2 * WINDOW + timedelta(seconds=1)
    assert endpoint.post(body_of(), ahead) == 401


@pytest.mark.parametrize(
    "headers",
    [
        [],
        signed()[:1],
        signed()[1:],
        signed(task=TaskId("another-task")),
        signed(NOW - WINDOW - timedelta(seconds=1)),
        signed(NOW + WINDOW + timedelta(seconds=1)),
        [signed()[0], (b"X-Webhook-Signature", b"\xff\xfe")],
    ],
)
def test_callback_without_a_signature_of_its_own_and_of_now_is_refused_401(
    endpoint: Endpoint, headers: Headers
) -> None:
    assert endpoint.post(body_of(), headers) == 401
    assert endpoint.woken == []


def test_body_of_more_than_64_kib_is_refused_413(endpoint: Endpoint) -> None:
    assert endpoint.ask("POST", PATH, signed(), list(padded(body_of(), 65_536))) == 200
    assert endpoint.ask("POST", PATH, signed(), list(padded(body_of(), 65_537))) == 413
    assert endpoint.woken == [TASK]


def padded(body: bytes, length: int) -> Iterator[bytes]:
    """Pad a body to a length, in pieces."""
    whole = body.ljust(length)
    yield from (whole[start : start + 5000] for start in range(0, length, 5000))


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", PATH, 405), ("POST", "/", 404), ("POST", "/metrics", 404)]
)
def test_anything_but_a_post_to_the_one_path_is_refused(
    endpoint: Endpoint, method: str, path: str, status: int
) -> None:
    assert endpoint.ask(method, path, signed(), [body_of()]) == status
    assert endpoint.woken == []


def test_refusals_are_logged_once_a_minute_with_their_number_and_nothing_of_the_request(endpoint: Endpoint) -> None:
    for _ in range(5):
        endpoint.post(body_of(), [])
    endpoint.now += timedelta(minutes=1)
    endpoint.post(b"planted", [])
    first, second = endpoint.events.of("callback.refused")
    assert (first["requests"], second["requests"]) == (1, 5)
    assert "planted" not in repr(endpoint.events.seen)
    assert TASK not in repr(endpoint.events.seen)


# --- whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just(TASK),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["taskId", "task_id", "data"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)
BODIES = st.binary(max_size=400) | JSON.map(json.dumps).map(str.encode) | st.just(body_of())
NAMES = st.sampled_from([b"x-webhook-timestamp", b"x-webhook-signature", b"content-length", b"content-type"])
STAMPS = st.sampled_from([value for _, value in signed()])
FIELDS = st.tuples(NAMES | st.binary(max_size=20), STAMPS | st.binary(max_size=80))
HEADERS = st.just(signed()) | st.lists(FIELDS, max_size=6)
PATHS = st.just(PATH) | st.text(max_size=40).map(lambda text: f"/{text}")


@given(
    method=st.sampled_from(["POST", "GET", "PUT", "HEAD", "OPTIONS", "BREW"]),
    path=PATHS,
    headers=HEADERS,
    chunks=st.lists(BODIES, max_size=3),
)
@run_with(max_examples=examples(150))
def test_whatever_comes_is_never_a_fault_of_ours_and_wakes_nothing_without_its_signature(
    method: str, path: str, headers: Headers, chunks: Sequence[bytes]
) -> None:
    endpoint = Endpoint()
    status = endpoint.ask(method, path, headers, chunks)
    assert 200 <= status < 500
    first = [next((value for each, value in headers if each.lower() == name.lower()), None) for name, _ in signed()]
    if (method, path, first) != ("POST", PATH, [value for _, value in signed()]):
        assert endpoint.woken == []
        assert status >= 400
    assert set(endpoint.woken) <= {TASK}


# --- real sockets


class Listener:
    def __init__(self, limits: Limits | None = None) -> None:
        self.woken: list[TaskId] = []
        self.was_woken = threading.Event()
        self.events = Events()
        callbacks = Callbacks(key=KEY, wake=self.wake, clock=lambda: datetime.now(UTC), log=self.events)
        self.server = CallbackServer("127.0.0.1", 0, callbacks, self.events, limits=limits)
        self.host, port = self.server.address.split(":")
        self.port = int(port)

    def wake(self, task: TaskId, _kind: KindName | None) -> None:
        self.woken.append(task)
        self.was_woken.set()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=60)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    listener = Listener()
    with closing(listener.server):
        yield listener


def test_callback_over_a_socket_is_answered_and_wakes_its_task(listener: Listener) -> None:
    headers = {name.decode(): value.decode() for name, value in signed(datetime.now(UTC))}
    answer = httpx.post(f"http://{listener.server.address}{PATH}", content=body_of(), headers=headers, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"status": "received"})
    assert "server" not in answer.headers
    assert listener.was_woken.wait(60)
    assert listener.woken == [TASK]


def test_connections_that_send_too_slowly_are_ended() -> None:
    head = b"POST /callbacks/vocal-removal HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{"
    listener = Listener(Limits(head_within=1.0, request_within=1.0))
    with closing(listener.server), ExitStack() as stack:
        clients = [stack.enter_context(closing(listener.connect())) for _ in range(3)]
        for client, begun in zip(clients, (b"", b"POST", head), strict=True):
            client.sendall(begun)
        for client in clients:
            assert client.recv(1) == b"", "nothing was asked"
    assert listener.woken == []


@pytest.mark.parametrize(
    ("rubbish", "status"),
    [
        (b"\x16\x03\x01\x00\r\n\r\n", b"400"),
        ((b"POST / HTTP/1.1\r\nX: " + b"a" * 20_000)[:16_384], b"431"),
    ],
)
def test_request_that_is_no_http_or_has_an_endless_head_is_refused(
    listener: Listener, rubbish: bytes, status: bytes
) -> None:
    with closing(listener.connect()) as client:
        client.sendall(rubbish)
        assert client.recv(12) == b"HTTP/1.1 " + status


def test_callback_of_a_client_that_waits_to_be_told_to_go_on_is_answered(listener: Listener) -> None:
    head = b"POST /callbacks/vocal-removal HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with closing(listener.connect()) as client:
        client.sendall(head)
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(12) == b"HTTP/1.1 400"


def test_callback_that_is_cut_off_wakes_nobody_and_is_no_fault_of_ours(listener: Listener) -> None:
    woken = list(listener.woken)
    with closing(listener.connect()) as client:
        client.sendall(b"POST /callbacks/vocal-removal HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert listener.woken == woken
    assert listener.events.of("http.failed") == []


def test_address_in_use_is_an_os_error(listener: Listener) -> None:
    callbacks = Callbacks(key=KEY, wake=lambda *_: None, clock=lambda: NOW, log=Events())
    with pytest.raises(OSError, match="in use"):
        CallbackServer(listener.host, listener.port, callbacks, Events())


def test_service_whose_address_for_callbacks_is_taken_says_so_and_works_on(listener: Listener, tmp_path: Path) -> None:
    events, listen = Events(), listener.server.address
    settings = Settings.model_validate(
        {
            "store": {"bucket": "stems", "region": "us-east-1"},
            "ledger": {"url": f"sqlite:///{tmp_path}/ledger.db"},
            "callback": {"enabled": True, "listen": listen, "hmac_key": KEY},
        }
    )
    callbacks = Callbacks(key=KEY, wake=lambda *_: None, clock=utc_now, log=events)
    with taking_callbacks(settings.callback, callbacks, events):
        [said] = events.of("callback.unavailable")
    assert said["listen"] == listen


def test_closed_listener_takes_no_more_connections() -> None:
    listener = Listener()
    listener.server.close()
    with pytest.raises(ConnectionRefusedError):
        listener.connect()
