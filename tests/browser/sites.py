"""A site of files and nothing more, which gives ranges, and can be slow, cut, or refuse: to try scripts on."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests import ROOT

STATIC = ROOT / "archiver/web/page/static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)
BLANK = b"<!doctype html><html lang='en'><title>blank</title><body></body></html>"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8"}
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Site:
    """What is served, by path, and what was asked for."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Paths with their Range."""

    def audio(self, name: str, data: bytes) -> str:
        """Serve an MP3; return its path."""
        self.files[f"/audio/{name}"] = data
        return f"/audio/{name}"


@contextmanager
def serving() -> Iterator[Site]:
    """Serve the static files and whatever is added to `files`, on the loopback, under the page's policy."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_port}", {"/": BLANK})
    server.site = site  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        site: Site = self.server.site  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        data = site.files.get(path)
        if data is None and (file := STATIC / Path(path).name).is_file():
            data = file.read_bytes()
        if data is None:
            self._answer(404, b"not here", {})
            return
        asked = self.headers.get("Range", "")
        if path.startswith("/audio/"):
            site.asked.append((path, asked))
        kind = {"Content-Type": TYPES.get(Path(path).suffix, "text/html" if path == "/" else "audio/mpeg")}
        if found := _RANGE.fullmatch(asked):
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            kind["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._answer(206, data[first : last + 1], kind)
        else:
            self._answer(200, data, kind)

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", POLICY)
        if self.path.startswith("/audio/"):  # as deploy/aws/cors.json lets a bucket answer
            self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
            self.send_header("Access-Control-Expose-Headers", "Content-Range, Content-Length, ETag")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Say nothing."""
