"""A healthy service on a slow line: every block is progress, also while a buffer fills or a part leaves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta

from archiver.adapters.object_store.exchange import StoreConnections
from archiver.core.errors import Stuck
from archiver.core.model import StemName, TaskId
from archiver.service.liveness import Liveness, TaskWatch
from tests.fakes.audio import mp3
from tests.fakes.events import Events
from tests.fakes.origin import Origin
from tests.fakes.scripted import Reply
from tests.house import downloader

TRANSFERS, SIZE, RATE = 6, 768 * 1024, 5 * 512 * 1024
"""Case 1.27 in small: each transfer takes two seconds, and nobody may be silent for one."""
WITHIN = timedelta(seconds=1)
TASK = TaskId("task-one")


class Line:
    """Lets all who share it send or receive RATE bytes a second together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def carry(self, size: int) -> None:
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + size / RATE
            wait = self._free_at - time.monotonic()
        time.sleep(max(0.0, wait))


class Far:
    """A server at the end of the line: sends SIZE bytes of audio for a GET, takes the body of a PUT."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._audio = mp3(SIZE, 7)
        self._listener = socket.socket()
        # What a kernel takes ahead is not carried yet: little, as on a line of that rate.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(conn,), daemon=True).start()

    def _talk(self, conn: socket.socket) -> None:
        with conn, conn.makefile("rb") as stream:
            method = stream.readline().split()[0]
            while stream.readline() != b"\r\n":
                pass
            if method == b"GET":
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                self._in_pieces(lambda at: conn.sendall(self._audio[at : at + 16 * 1024]))
            else:
                self._in_pieces(lambda _: stream.read(16 * 1024))
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _in_pieces(self, move: Callable[[int], object]) -> None:
        for at in range(0, SIZE, 16 * 1024):
            self._line.carry(16 * 1024)
            move(at)

    def close(self) -> None:
        self._listener.close()


@contextmanager
def watched() -> Iterator[tuple[TaskWatch, Events, list[str]]]:
    """A watch, what it logs, and a list that fills with who was ever late or given up; looked at ten times a second."""
    liveness, events, late, ended = Liveness(), Events(), list[str](), threading.Event()
    liveness.expect("work", WITHIN)
    watch = TaskWatch(events, progress=lambda: liveness.progress("work"), within=WITHIN, heeded_within=WITHIN)
    liveness.tasks = watch

    def look() -> None:
        while not ended.wait(0.1):
            watch.give_up()
            late.extend([*liveness.late(), *liveness.stuck()])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch, events, late
    finally:
        ended.set()
        thread.join()


def test_slow_healthy_line_shared_by_all_transfers_is_never_late() -> None:
    with closing(Far(Line())) as far, watched() as (watch, _, late), downloader(watch=watch) as client:
        connections = StoreConnections(most=1, connect_timeout=5, read_timeout=60, watch=watch)

        def transfer(number: int) -> None:
            buffer = memoryview(bytearray(SIZE))
            with watch.at_work(TASK, StemName(f"stem-{number}")):
                with client.open(f"http://127.0.0.1:{far.port}/{number}.mp3") as body:
                    assert body.readinto(buffer) == SIZE
                head = b"PUT /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (number, SIZE)
                assert connections.put(("http", "127.0.0.1", far.port), head, buffer).status == 200

        with closing(connections), ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(transfer, range(TRANSFERS)))
    assert late == []


def test_transfer_of_which_no_byte_comes_is_cut_off_and_ends_as_stuck() -> None:
    with Origin() as cdn, watched() as (watch, events, _), downloader(watch=watch, read_timeout=60.0) as client:
        url = cdn.script(Reply(mp3(100_000, 7), stall=50_000, headers=(("ETag", '"v1"'),)))
        began = time.monotonic()
        with watch.at_work(TASK, StemName("vocal")), client.open(url) as body:
            try:
                body.readinto(memoryview(bytearray(100_000)))
            except Stuck:
                took = time.monotonic() - began
            else:
                raise AssertionError("it was not given up")
    assert took < 5, "not after the read timeout"
    assert [(each["task_id"], each["stem"]) for each in events.of("task.stuck")] == [(TASK, "vocal")]
