"""Servers that are one program: rclone, moto, localbucket, s3rver, nanio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from archiver.demo.seaweed import HOST, S3Server, free_ports
from tests.fakes.s3_servers.process import program, serving

KEY, SECRET = "AKIDTHEREISONLYONE", "a-secret-of-the-tests-0123456789"


def _server() -> tuple[S3Server, str]:
    (port,) = free_ports(1)
    return S3Server(f"http://{HOST}:{port}", KEY, SECRET), str(port)


@contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """Run `rclone serve s3` over a folder: it overwrites, and names the checksum that it was told."""
    server, port = _server()
    (folder / "data").mkdir()
    address = ["--addr", f"{HOST}:{port}", "--auth-key", f"{KEY},{SECRET}"]
    command = [program("rclone"), "serve", "s3", *address, str(folder / "data")]
    none = {"RCLONE_CONFIG": "", "RCLONE_CACHE_DIR": str(folder / "cache")}
    with serving(folder, server, command, env=none) as running:
        yield running


@contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """Run moto as a server: it believes whatever it is told, and forgets all with its end."""
    server, port = _server()
    with serving(folder, server, [program("moto_server"), "-H", HOST, "-p", port]) as running:
        yield running


@contextmanager
def localbucket(folder: Path) -> Iterator[S3Server]:
    """Run localbucket over a folder: it knows no If-Match, no list of uploads and no credentials."""
    server, port = _server()
    (folder / "data").mkdir()
    command = [program("localbucket"), str(folder / "data"), "--host", HOST, "--port", port]
    with serving(folder, server, command) as running:
        yield running


@contextmanager
def s3rver(folder: Path) -> Iterator[S3Server]:
    """Run s3rver over a folder: it overwrites, and knows neither a list of uploads nor their abort."""
    server, port = _server()
    (folder / "data").mkdir()
    command = [program("s3rver"), "-d", str(folder / "data"), "-a", HOST, "-p", port, "-s"]
    with serving(folder, replace(server, access_key="S3RVER", secret_key="S3RVER"), command) as running:
        yield running


@contextmanager
def nanio(folder: Path) -> Iterator[S3Server]:
    """Run nanio over a folder: it overwrites, and looks at no checksum."""
    server, port = _server()
    (folder / "data").mkdir()
    command = [program("nanio"), "serve", "--data-dir", str(folder / "data"), "--host", HOST, "--port", port]
    known = {"NANIO_ACCESS_KEY": KEY, "NANIO_SECRET_KEY": SECRET}
    with serving(folder, server, [*command, "--no-access-log"], env=known) as running:
        yield running
