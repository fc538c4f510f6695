"""HttpDownloader over TLS: whom it believes."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from archiver.core.errors import AddressForbidden, OriginBusy
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin, RangedFile
from tests.fakes.scripted import Reply
from tests.fakes.tls import Identity, identity
from tests.fixtures.fetching import fetch
from tests.house import downloader

SONG = mp3(300_000)
HOST = "cdn.test"


def to_loopback(host: str, port: int) -> list[tuple[str, int]]:
    return [("127.0.0.1", port)]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("tls"), [HOST, "127.0.0.1"])


@pytest.mark.parametrize("reply", [Reply(SONG), Reply(SONG, framing="chunked"), Reply(SONG, close=True)])
@pytest.mark.parametrize("host", [HOST, f"{HOST}.", "127.0.0.1"])
def test_body_over_tls_is_the_origins(known: Identity, host: str, reply: Reply) -> None:
    with (
        Origin(tls=known.server) as cdn,
        downloader(ssl_context=known.client, resolve=to_loopback, allow_http=False) as client,
    ):
        url = cdn.script(reply, host=host)
        assert fetch(client, url) == SONG
        assert fetch(client, url) == SONG
        assert cdn.connections == (2 if reply.close else 1)


@pytest.mark.parametrize("reset", [False, True])
def test_cut_over_tls_goes_on(known: Identity, reset: bool) -> None:
    with Origin(tls=known.server) as cdn, downloader(ssl_context=known.client, resolve=to_loopback) as client:
        first = Reply(SONG, headers=(("ETag", '"v1"'),), cut=150_000, reset=reset)
        assert fetch(client, cdn.script(first, RangedFile(SONG), host=HOST)) == SONG


def test_close_delimited_over_tls_gets_its_second_look(known: Identity) -> None:
    with Origin(tls=known.server) as cdn, downloader(ssl_context=known.client, resolve=to_loopback) as client:
        url = cdn.script(Reply(SONG, framing="close", cut=150_000), RangedFile(SONG), host=HOST)
        with pytest.raises(OriginBusy, match="150000 bytes came, the origin has 300000"):
            fetch(client, url)


def hang_up(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            listener.accept()[0].close()


def test_address_that_takes_connections_and_speaks_no_tls_gives_way_to_the_names_next(known: Identity) -> None:
    with (
        socket.create_server(("127.0.0.2", 0)) as deaf,
        Origin(tls=known.server) as cdn,
        downloader(
            ssl_context=known.client, resolve=lambda _, port: [deaf.getsockname()[:2], ("127.0.0.1", port)]
        ) as client,
    ):
        threading.Thread(target=hang_up, args=(deaf,), daemon=True).start()
        assert fetch(client, cdn.script(Reply(SONG), host=HOST)) == SONG


def test_unknown_certificate_is_busy_and_says_so(known: Identity) -> None:
    with (
        Origin(tls=known.server) as cdn,
        downloader(resolve=to_loopback, ssl_context=ssl.create_default_context()) as client,
    ):
        url = cdn.script(Reply(SONG), host=HOST)
        with pytest.raises(OriginBusy, match="certificate is not valid: self-signed"):
            fetch(client, url)
    assert cdn.requests == []


def test_certificate_of_another_host_is_busy(known: Identity) -> None:
    with (
        Origin(tls=known.server) as cdn,
        downloader(ssl_context=known.client, resolve=to_loopback) as client,
        pytest.raises(OriginBusy, match="Hostname mismatch"),
    ):
        fetch(client, cdn.script(Reply(SONG), host="other.test"))
    assert cdn.requests == []


def test_expired_certificate_is_busy(tmp_path: Path) -> None:
    old = identity(tmp_path, [HOST], expired=True)
    with (
        Origin(tls=old.server) as cdn,
        downloader(ssl_context=old.client, resolve=to_loopback) as client,
        pytest.raises(OriginBusy, match="expired"),
    ):
        fetch(client, cdn.script(Reply(SONG), host=HOST))


def test_plain_http_on_a_tls_port_is_busy(known: Identity) -> None:
    with Origin() as cdn, downloader(ssl_context=known.client, resolve=to_loopback, connect_timeout=0.3) as client:
        cdn.script(Reply(SONG))
        with pytest.raises(OriginBusy, match="TLS with"):
            fetch(client, f"https://{HOST}:{cdn.port}/stem.mp3")


def test_redirect_from_https_to_http_is_refused(known: Identity) -> None:
    with (
        Origin(tls=known.server) as cdn,
        Origin() as plain,
        downloader(ssl_context=known.client, resolve=to_loopback, allow_http=False) as client,
    ):
        plain.script(Reply(SONG))
        url = cdn.script(Reply(status=301, headers=(("Location", plain.url_of()),)), host=HOST)
        with pytest.raises(AddressForbidden, match="only https"):
            fetch(client, url)
        assert plain.connections == 0


def test_certificate_that_is_trusted_anew_is_believed_without_a_new_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    ours = identity(tmp_path / "ours", [HOST])
    identity(tmp_path / "others", [HOST])
    trusted = tmp_path / "trusted.pem"
    shutil.copy(tmp_path / "others" / f"{HOST}.pem", trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with Origin(tls=ours.server) as cdn, downloader(resolve=to_loopback, allow_http=False, ssl_context=None) as client:
        with pytest.raises(OriginBusy, match="certificate"):
            fetch(client, cdn.script(Reply(SONG), host=HOST))
        shutil.copy(tmp_path / "ours" / f"{HOST}.pem", trusted)
        client.renew_trust()
        assert fetch(client, cdn.script(Reply(SONG), host=HOST)) == SONG
