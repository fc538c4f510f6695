"""HttpDownloader through an HTTP proxy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from archiver.core.errors import AddressForbidden, OriginBusy
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin, RangedFile
from tests.fakes.relay import HttpProxy
from tests.fakes.scripted import Reply
from tests.fakes.tls import identity
from tests.fixtures.fetching import fetch
from tests.house import AGENT, downloader

SONG = mp3(300_000)
HOST = "cdn.test"


def only_the_proxy(host: str, port: int) -> Sequence[tuple[str, int]]:
    if host != "proxy.test":
        raise AssertionError(f"{host} was looked up here")
    return [("127.0.0.1", port)]


@pytest.mark.parametrize("credentials", ["", "user:p%40ss"])
def test_plain_http_is_forwarded(credentials: str) -> None:
    with Origin() as cdn, HttpProxy(routes={HOST: cdn.port}, credentials=credentials.replace("%40", "@")) as way:
        at = f"{credentials}@" if credentials else ""
        with downloader(
            proxy=f"http://{at}proxy.test:{way.port}", resolve=only_the_proxy, allow_private_addresses=False
        ) as client:
            url = cdn.script(Reply(SONG), host=HOST)
            assert fetch(client, url + "?q=1") == SONG
            assert fetch(client, url) == SONG
        assert way.heads[0].startswith(f"GET http://{HOST}:{cdn.port}/stem.mp3?q=1 HTTP/1.1\r\n".encode())
        assert cdn.connections == 1


def test_https_goes_through_a_tunnel_and_the_password_stays_outside(tmp_path: Path) -> None:
    known = identity(tmp_path, [HOST])
    with Origin(tls=known.server) as cdn, HttpProxy(routes={HOST: cdn.port}, credentials="user:secret") as way:
        with downloader(
            proxy=f"http://user:secret@proxy.test:{way.port}",
            resolve=only_the_proxy,
            allow_private_addresses=False,
            allow_http=False,
            ssl_context=known.client,
        ) as client:
            url = cdn.script(RangedFile(SONG, cuts=[100_000]), host=HOST)
            assert fetch(client, url) == SONG
        assert [head.split(b"\r\n")[0] for head in way.heads] == [f"CONNECT {HOST}:{cdn.port} HTTP/1.1".encode()] * 2
        assert {name for seen in cdn.requests for name in seen.headers} == {
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "range",
            "if-range",
        }
        assert cdn.requests[0].headers["user-agent"] == AGENT


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_refuses_us_is_busy(tmp_path: Path, scheme: str) -> None:
    with (
        HttpProxy(routes={}, credentials="user:right") as way,
        downloader(proxy=f"http://user:wrong@127.0.0.1:{way.port}") as client,
        pytest.raises(OriginBusy, match="407") as caught,
    ):
        fetch(client, f"{scheme}://{HOST}/x")
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n\r\nspoken into the tunnel", b"HTTP/1.1 503 No\r\n\r\n", b"", b"hello\r\n"]
)
def test_proxy_that_opens_no_tunnel_is_busy(answer: bytes) -> None:
    with (
        Origin() as cdn,
        HttpProxy(routes={HOST: cdn.port}, answer=answer) as way,
        downloader(proxy=f"http://127.0.0.1:{way.port}", read_timeout=0.3) as client,
    ):
        with pytest.raises(OriginBusy):
            fetch(client, f"https://{HOST}:1/x")
        assert cdn.requests == []


def test_dead_proxy_is_busy() -> None:
    with HttpProxy(routes={}) as gone:
        port = gone.port
    with downloader(proxy=f"http://127.0.0.1:{port}") as client, pytest.raises(OriginBusy, match="the proxy"):
        fetch(client, f"https://{HOST}/x")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://localhost/",
        "http://a.localhost./",
    ],
)
def test_literal_private_address_is_refused_before_the_proxy_is_asked(url: str) -> None:
    with (
        HttpProxy(routes={}) as way,
        downloader(proxy=f"http://127.0.0.1:{way.port}", allow_private_addresses=False) as client,
    ):
        with pytest.raises(AddressForbidden):
            fetch(client, url)
        assert way.heads == []


@pytest.mark.parametrize("proxy", ["https://p:1", "socks5://p:1", "p:8080", "http://", "http://h:port", ""])
def test_other_kinds_of_proxy_are_a_fault_of_the_settings(proxy: str) -> None:
    with pytest.raises(ValueError, match="prox"), downloader(proxy=proxy):
        pass


def test_environment_names_no_proxy_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Origin() as cdn, downloader() as client:
        assert fetch(client, cdn.script(Reply(SONG))) == SONG
