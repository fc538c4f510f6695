"""A host that crawls, or is dead, beside honest tasks: the real daemon at its defaults, and two origins on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.audio import mp3
from tests.worlds.site import Site

SONG = mp3(50_000, 1)
CRAWLED = 2_000_000_000
DEAD = "127.0.0.1:9"
"""Nobody listens there."""
DEFAULT_SCHEDULE = dict.fromkeys(("pending_first", "pending_max", "retry_first", "retry_max"))


@dataclass
class Street:
    """An API, an honest origin and one that trickles 700 bytes each half second, on one port each."""

    stems: int
    honest: dict[str, float] = field(default_factory=dict)
    """When each honest task's audio was first asked for."""
    crawling: int = 0
    most_crawling: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        target = urlsplit(request.path)
        if "taskId" in target.query:
            self.tell(request, parse_qs(target.query)["taskId"][0])
        elif target.path.startswith("/slow"):
            self.crawl(request)
        else:
            with self.lock:
                self.honest.setdefault(target.path.split("/")[1], time.monotonic())
            send(request, SONG, "audio/mpeg")

    def tell(self, request: BaseHTTPRequestHandler, task_id: str) -> None:
        port = self.ports[1 if task_id.startswith("slow") else 0]
        stems = self.stems if task_id.startswith("slow") else 1
        where = DEAD if task_id.startswith("dead") else f"127.0.0.1:{port}"
        urls = {f"stem{n}Url": f"http://{where}/{task_id}/{n}.mp3" for n in range(stems)}
        data = {"taskId": task_id, "successFlag": "SUCCESS", "createTime": int(time.time() * 1000), "response": urls}
        send(request, json.dumps({"code": 200, "msg": "success", "data": data}).encode(), "application/json")

    def crawl(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(CRAWLED))
        request.end_headers()
        with self.lock:
            self.crawling += 1
            self.most_crawling = max(self.most_crawling, self.crawling)
        try:
            request.wfile.write(SONG[:700])
            while not self.closed.wait(0.5):
                request.wfile.write(bytes(700))
        except OSError:
            pass
        finally:
            with self.lock:
                self.crawling -= 1

    ports: tuple[int, int] = (0, 0)


def send(request: BaseHTTPRequestHandler, body: bytes, kind: str) -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def street_of(stems: int) -> Iterator[Street]:
    street = Street(stems)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            street.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    street.ports = (servers[0].server_port, servers[1].server_port)
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield street
    finally:
        street.closed.set()
        for server in servers:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize(
    ("slow", "stems", "concurrency"), [(1, 16, 16), (1, 16, "auto"), (20, 2, 16)], ids=["task", "auto", "tasks"]
)
def test_honest_tasks_are_asked_for_within_seconds_beside_what_crawls(
    site: Site, slow: int, stems: int, concurrency: int | str
) -> None:
    good = [f"good-{n:04}" for n in range(6)]
    with street_of(stems) as street:
        site.configure(
            provider={"base_url": f"http://127.0.0.1:{street.ports[0]}"}, download={"concurrency": concurrency}
        )
        site.queue.write_text("".join(f"slow-{n:04}\n" for n in range(slow)))
        with site.daemon() as daemon:
            most = min(8 * stems, 16, 4 if concurrency == "auto" else 16)
            until(lambda: street.most_crawling >= most, 30)
            begun = time.monotonic()
            with site.queue.open("a") as queue:
                queue.writelines(f"{name}\n" for name in good)
            try:
                until(lambda: len(street.honest) == len(good), 40)
                took = max(street.honest.values()) - begun
                print(f"{slow} x {stems}, {concurrency}: {took:.1f} s")
                site.wait_for(good)
                assert street.crawling >= 1, "what crawls goes on"
                failed = [line for line in daemon.events if line["event"] in {"stem.retry", "task.later"}]
                assert failed == [], "giving way is no failure"
            finally:
                street.closed.set()


def test_honest_tasks_are_archived_within_seconds_beside_older_ones_on_a_dead_host(site: Site) -> None:
    """Case 1.5: a closed port with 40 older tasks on it, and the default schedule."""
    good = [f"good-{n:04}" for n in range(3)]
    with street_of(1) as street:
        site.configure(provider={"base_url": f"http://127.0.0.1:{street.ports[0]}"}, schedule=DEFAULT_SCHEDULE)
        site.queue.write_text("".join(f"dead-{n:04}\n" for n in range(40)))
        with site.daemon() as daemon:
            paused = daemon.wait_event("dependency.paused", seconds=60)
            assert (paused["dependency"], paused["host"]) == ("origin", DEAD)
            begun = time.monotonic()
            with site.queue.open("a") as queue:
                queue.writelines(f"{name}\n" for name in good)
            site.wait_for(good, seconds=40)
            print(f"dead host: {time.monotonic() - begun:.1f} s")
            assert {line.get("host") for line in daemon.events if line["event"] == "dependency.paused"} == {DEAD}


def until(true: object, seconds: float) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
