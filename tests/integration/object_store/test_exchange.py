"""One PUT and its answer: what is taken for an answer, and which connection is kept."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from archiver.adapters.http1 import Head
from archiver.adapters.object_store.exchange import StoreConnections
from tests.fakes.scripted import HttpServer, Reply
from tests.fakes.tls import identity

HEAD = b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n'


def server(*answers: bytes, tls: ssl.SSLContext | None = None) -> HttpServer:
    """Answer each request with the next of these bytes; none: the connection ends."""
    scripted = HttpServer(tls=tls)
    scripted.says(*(Reply(raw=answer, hang_up=not answer) for answer in answers))
    return scripted


class Talk:
    """Requests to one server, over connections of their own."""

    def __init__(self, server: HttpServer, read: float) -> None:
        self.server = server
        self._origin = ("http", "127.0.0.1", server.port)
        self._connections = StoreConnections(most=2, connect_timeout=5, read_timeout=read)

    def put(self, data: bytes = b"audio") -> Head:
        return self._connections.put(self._origin, HEAD % len(data), memoryview(data))

    def close(self) -> None:
        self._connections.close()


@contextmanager
def talking(*answers: bytes, read: float = 5.0) -> Iterator[Talk]:
    with server(*answers) as scripted, closing(Talk(scripted, read)) as talk:
        yield talk


def test_a_body_of_many_blocks_arrives_whole_and_the_answers_head_comes_back() -> None:
    data = bytes(range(256)) * 2_621
    with talking(OK) as talk:
        answer = talk.put(data)
    assert [each.body for each in talk.server.requests] == [data]
    assert (answer.status, answer.headers) == (200, [(b"ETag", b'"e"'), (b"Content-Length", b"0")])


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 4\r\n\r\n<no>",
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_was_read_to_its_end_leaves_its_connection_for_the_next(answer: bytes) -> None:
    with talking(answer, OK) as talk:
        talk.put()
        assert talk.put().status == 200
    assert talk.server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore than was said",
        b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % 65_537,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_an_answer_whose_end_is_not_sure_counts_and_its_connection_is_closed(answer: bytes) -> None:
    with talking(answer, OK) as talk:
        assert talk.put().status in {200, 500}
        assert talk.put().status == 200
    assert talk.server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * 131_072),
    ],
)
def test_what_is_no_final_answer_is_unclear_and_its_connection_is_closed(answer: bytes) -> None:
    with talking(answer, OK) as talk:
        with pytest.raises(httpx.RemoteProtocolError):
            talk.put()
        assert talk.put().status == 200
    assert talk.server.connections == 2


def test_a_server_that_keeps_silent_is_given_up_after_the_pools_read_timeout() -> None:
    with talking(b"HTTP/1.1 200", OK, read=0.2) as talk, pytest.raises(httpx.ReadTimeout):
        talk.put()


def test_a_server_that_cannot_be_reached_is_an_error_of_the_connection() -> None:
    with talking() as talk:
        talk.server.close()
        with pytest.raises(Exception, match="refused"):
            talk.put()


def over_tls(tls: ssl.SSLContext, host: str) -> int:
    """PUT once over TLS to a server that answers on loopback; return the answer's status."""
    connections = StoreConnections(most=1, connect_timeout=5, read_timeout=5)
    with server(OK, tls=tls) as listening, closing(connections):
        return connections.put(("https", host, listening.port), HEAD % 5, memoryview(b"audio")).status


@pytest.mark.parametrize("where", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle of the profile"])
def test_certificates_are_trusted_as_botocore_trusts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    tls = identity(tmp_path, ["localhost"]).server
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        over_tls(tls, "localhost")
    if where.isupper():
        monkeypatch.setenv(where, str(tmp_path / "localhost.pem"))
    else:
        (tmp_path / "config").write_text(f"[profile p]\nca_bundle = {tmp_path}/localhost.pem\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "p")
    assert over_tls(tls, "localhost") == 200


def test_certificate_of_another_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = identity(tmp_path, ["s3.test"]).server
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "s3.test.pem"))
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        over_tls(tls, "localhost")
