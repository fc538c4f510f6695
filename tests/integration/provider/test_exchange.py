"""One exchange with the provider's API: broken bodies and connections, and where the key goes."""

from __future__ import annotations

import gzip
import json
import socket
import time
import traceback
import tracemalloc
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from archiver.adapters.provider.client import KieApi
from archiver.core.errors import (
    ApiBusy,
    ArchiverError,
    KeyRefused,
)
from archiver.core.model import Phase
from tests.fakes.events import Events
from tests.fakes.scripted import DROP, HttpServer, Reply, reply
from tests.fakes.serving import Server, port_of
from tests.fakes.time import Seconds
from tests.fixtures.record_api import PENDING, TASK
from tests.house import API_KEY
from tests.integration.provider.conftest import Make

# ---------------------------------------------------------------------- bodies and connections


def test_fetch_when_the_answer_has_neither_length_nor_chunks_reads_to_the_end(
    api: KieApi, provider: HttpServer
) -> None:
    raw = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(PENDING).encode()
    provider.says(Reply(raw=raw, hang_up=True))
    assert api.fetch(TASK).phase is Phase.PENDING


@pytest.mark.parametrize(
    "field",
    ["X Powered By: cdn", "Content-Type : application/json", "Content-Encoding: none", "Content-Encoding: UTF-8"],
)
def test_fetch_reads_a_head_as_browsers_do(api: KieApi, provider: HttpServer, field: str) -> None:
    body = json.dumps(PENDING).encode()
    provider.says(
        Reply(raw=b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n" % (field.encode(), len(body)) + body)
    )
    assert api.fetch(TASK).phase is Phase.PENDING


@pytest.mark.parametrize(
    "answer",
    [
        reply(PENDING, cut=3),
        reply(PENDING, chunked=True, cut=3),
        reply(PENDING, chunked=True, packed=True, cut=60),
        reply(gzip.compress(json.dumps(PENDING).encode(), mtime=0)[:-9], headers={"Content-Encoding": "gzip"}),
        reply(json.dumps(PENDING).encode(), headers={"Content-Encoding": "gzip"}),
        reply(PENDING, headers={"Content-Encoding": "br"}),
        reply(PENDING, headers={"Content-Encoding": "gzip, gzip"}),
        DROP,
        Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n", hang_up=True),
        Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, hang_up=True),
    ],
    ids=str,
)
def test_fetch_when_the_answer_is_broken_is_busy(impatient: KieApi, provider: HttpServer, answer: Reply) -> None:
    provider.says(answer)
    with pytest.raises(ApiBusy):
        impatient.fetch(TASK)


@pytest.mark.parametrize("chunked", [False, True])
def test_fetch_when_the_answer_is_over_1_mib_is_busy(api: KieApi, provider: HttpServer, *, chunked: bool) -> None:
    filled = json.dumps(PENDING).encode().ljust(1 << 20)
    provider.says(reply(filled, chunked=chunked))
    assert api.fetch(TASK).phase is Phase.PENDING
    provider.says(reply(filled + b" ", chunked=chunked))
    with pytest.raises(ApiBusy, match="larger than 1048576"):
        api.fetch(TASK)


def test_fetch_when_the_answer_is_a_gzip_bomb_does_not_unpack_it(api: KieApi, provider: HttpServer) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    provider.says(reply(bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    with pytest.raises(ApiBusy, match="larger than"):
        api.fetch(TASK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20


@pytest.mark.parametrize(
    "answer",
    [
        replace(reply(PENDING), delay=60),
        replace(reply(PENDING), drip=0.05),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b" " * 99, drip=0.05),
    ],
    ids=["silence", "head by the byte", "body by the byte"],
)
def test_fetch_when_the_answer_does_not_end_gives_up_in_time(
    impatient: KieApi, provider: HttpServer, answer: Reply
) -> None:
    provider.says(answer)
    began = time.monotonic()
    with pytest.raises(ApiBusy, match="Timeout"):
        impatient.fetch(TASK)
    assert 1.4 < time.monotonic() - began < 3
    assert len(provider.requests) == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nx:" + b" " * 60_000 + b"\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx:" + b" " * 60_000 + b"\x0b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b" " * 60_000 + b"\n\0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"e" * 60_000 + b"\r\n \r\n") * 20,
        b"HTTP/1.1 200 OK\r\n" + (b"x: " + b"y" * 60_000 + b"\r\n") * 20 + b"\r\n{}",
        b"HTTP/1.1 103 Hints\r\nx: " + b"y" * 40_000 + b"\r\n\r\nHTTP/1.1 200 OK\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
    ],
    ids=["NUL", "form feed", "blanks in a chunk's line", "extensions", "endless head", "interim answers"],
)
def test_answer_that_is_hostile_is_busy_in_no_time(api: KieApi, provider: HttpServer, raw: bytes) -> None:
    provider.says(Reply(raw=raw, hang_up=True))
    began = time.thread_time()
    with pytest.raises(ApiBusy, match="ProtocolError"):
        api.fetch(TASK)
    assert time.thread_time() - began < 0.5


def test_fetch_when_nobody_listens_is_busy(make: Make, fake_time: Seconds) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = port_of(nobody)
    with pytest.raises(ApiBusy, match="ConnectError"):
        make(base_url=f"http://127.0.0.1:{port}").fetch(TASK)
    assert len(fake_time.waits) == 2


def test_fetch_when_a_kept_connection_was_dropped_connects_anew(api: KieApi, provider: HttpServer) -> None:
    provider.says(replace(reply(PENDING), hang_up=True))
    for _ in range(3):
        assert api.fetch(TASK).phase is Phase.PENDING


def test_fetch_when_the_other_side_speaks_no_tls_never_shows_it_the_key(make: Make) -> None:
    with Eavesdropper() as ear:
        with pytest.raises(ApiBusy):
            make(base_url=f"https://127.0.0.1:{ear.port}", allow_http=False, timeout=0.3).fetch(TASK)
        heard = bytes(ear.heard)
    assert heard
    assert API_KEY.encode() not in heard


# ---------------------------------------------------------------------- where the key goes


@dataclass(slots=True, kw_only=True)
class Eavesdropper(Server):
    """Takes whatever it is sent and says nothing."""

    heard: bytearray = field(default_factory=bytearray)

    def talk(self, wire: socket.socket, number: int) -> None:
        """See Server."""
        while piece := wire.recv(65536):
            self.heard += piece


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fetch_when_redirected_does_not_follow(api: KieApi, provider: HttpServer, status: int) -> None:
    with Eavesdropper() as ear:
        target = f"http://127.0.0.1:{ear.port}/api/v1/vocal-removal/record-info"
        provider.says(reply(PENDING, status=status, headers={"Location": target}))
        with pytest.raises(ApiBusy, match=r"provider\.base_url"):
            api.fetch(TASK)
        time.sleep(0.05)
        assert ear.connections == 0


def test_fetch_through_a_proxy_shows_it_only_the_host(make: Make, provider: HttpServer) -> None:
    provider.says(reply("no such host", status=502))
    api = make(base_url="https://api.example.com", allow_http=False, proxy=provider.url.replace("//", "//u:PLANTED@"))
    with pytest.raises(ApiBusy) as caught:
        api.fetch(TASK)
    assert {(each.method, each.target) for each in provider.requests} == {("CONNECT", "api.example.com:443")}
    assert all("bearer" not in str(each.headers).lower() for each in provider.requests)
    assert "PLANTED" not in "".join(traceback.format_exception(caught.value))


def test_proxy_in_the_environment_is_not_used(
    make: Make, provider: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    make().fetch(TASK)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("base_url", "allow_http"),
    [
        ("http://api.kie.ai", False),
        ("ftp://api.kie.ai", True),
        ("api.kie.ai", True),
        ("", True),
        ("https://", True),
        ("https://user:PLANTED@api.kie.ai", True),
        ("https://api.kie.ai?x=PLANTED", True),
        ("https://api.kie.ai#PLANTED", True),
        ("https://api.kie.ai:port", True),
    ],
)
def test_client_when_the_base_url_cannot_be_used_is_not_built(make: Make, base_url: str, *, allow_http: bool) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        make(base_url=base_url, allow_http=allow_http)
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nonsense", "http://u:PLANTED@127.0.0.1:port"])
def test_client_when_the_proxy_cannot_be_used_is_not_built(make: Make, proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        make(proxy=proxy)
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("user_agent", ["a\nX-Evil: 1", "café"])
def test_client_when_the_agent_cannot_be_sent_is_not_built(make: Make, user_agent: str) -> None:
    with pytest.raises(ValueError, match="User-Agent"):
        make(user_agent=user_agent)


def test_key_when_rotated_is_used_at_the_next_request(make: Make, provider: HttpServer) -> None:
    keys = iter(["first-key-1", "second-key-2\n"])
    api = make(api_key=lambda: next(keys))
    api.fetch(TASK)
    api.fetch(TASK)
    assert [each.headers["authorization"] for each in provider.requests] == [
        "Bearer first-key-1",
        "Bearer second-key-2",
    ]


@pytest.mark.parametrize("key", ["", "  \n", "PLANTED\nX-Evil: 1", "PLANTED\x00", "PLANTED\u00e9", "PLAN TED"])
def test_key_when_no_header_can_carry_it_is_refused_unshown(make: Make, provider: HttpServer, key: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        make(api_key=key).fetch(TASK)
    assert "PLAN" not in "".join(traceback.format_exception(caught.value))
    assert provider.requests == []


def test_key_when_its_file_cannot_be_read_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="No such file"):
        make(api_key=(tmp_path / "absent").read_text).fetch(TASK)


def test_key_when_an_answer_repeats_it_is_masked(api: KieApi, provider: HttpServer) -> None:
    provider.says(reply({"code": 401, "msg": f"nobody knows {API_KEY}", "data": None}))
    with pytest.raises(KeyRefused) as refused:
        api.fetch(TASK)
    assert str(refused.value).endswith("nobody knows ***")
    provider.says(reply({"code": 200, "msg": "success", "data": {"taskId": TASK, "errorMessage": API_KEY}}))
    record = api.fetch(TASK)
    assert record.error_message == "***"
    assert API_KEY not in record.document


def test_key_shows_in_no_repr_error_or_event(
    make: Make, provider: HttpServer, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    api = make()
    shown = [repr(api), str(vars(api))]
    echo = {"code": 500, "msg": "cannot fetch https://x.example/a?token=PLANTED-query\x1b[31m"}
    for answer in (reply(echo), reply(PENDING, cut=2), reply("<html>"), reply("", status=401), DROP):
        provider.says(answer)
        with pytest.raises(ArchiverError) as caught:
            api.fetch(TASK)
        shown.append("".join(traceback.format_exception(caught.value)))
    shown += [repr(events.seen), caplog.text]
    assert "api.retry" in "".join(shown)
    for secret in (API_KEY, "PLANTED", "\x1b"):
        assert secret not in "".join(shown)
