"""What supervisors are answered while a start takes long."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from archiver.adapters.systemd import Systemd
from archiver.app.starting import answering
from archiver.settings.model import Http
from tests.fakes.events import Events
from tests.fakes.waiting import until


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


def asked(port: int, path: str) -> tuple[int, object] | None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return None


def test_long_start_is_alive_and_not_ready_and_then_the_address_is_free(tmp_path: Path) -> None:
    port, address = free_port(), str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        with answering(Http(listen=f"127.0.0.1:{port}"), Systemd(address), Events(), after=0) as started:
            until(lambda: asked(port, "/healthz"))
            assert asked(port, "/healthz") == (200, {"status": "starting"})
            assert asked(port, "/readyz") == (503, {"status": "starting"})
            started()
            assert asked(port, "/healthz") is None
            socket.create_server(("127.0.0.1", port)).close()
        told = manager.recv(4096) + manager.recv(4096)
    assert b"STATUS=starting" in told
    assert b"EXTEND_TIMEOUT_USEC=60000000" in told


def test_quick_start_answers_nothing() -> None:
    port = free_port()
    with answering(Http(listen=f"127.0.0.1:{port}"), Systemd(None), Events(), after=30) as started:
        started()
        assert asked(port, "/healthz") is None


def test_start_that_hangs_is_answered_for_no_longer() -> None:
    port = free_port()
    with answering(Http(listen=f"127.0.0.1:{port}"), Systemd(None), Events(), after=0, longest=0.5):
        until(lambda: asked(port, "/healthz"))
        until(lambda: asked(port, "/healthz") is None)


def test_address_that_is_taken_keeps_nobody_from_starting() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as other,
        answering(Http(listen=f"127.0.0.1:{other.getsockname()[1]}"), Systemd(None), Events(), after=0) as started,
    ):
        started()
