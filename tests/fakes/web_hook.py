"""An HTTP server that keeps what it is sent: the far end of heartbeats and notifications."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebHook:
    """What came, and how it is answered."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.status = 200
        self.seen: list[tuple[str, str, str]] = []
        """(method, path, body) of each request."""

    def wait_for(self, text: str, *, seconds: float = 60) -> str:
        """Wait until a request whose path or body holds `text` came, and return its body."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            for _, path, body in list(self.seen):
                if text in path or text in body:
                    return body
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in {self.seen}")


@contextmanager
def web_hook() -> Iterator[WebHook]:
    """Listen on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hook.seen.append((self.command, self.path, body.decode()))
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = WebHook(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
