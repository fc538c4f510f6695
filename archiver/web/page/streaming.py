"""Bytes of the bucket on their way to a browser: each answer has a thread, which ends with the connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from archiver.core.errors import ArchiverError, Interrupted, StoreBusy, StorePaused
from archiver.core.reading import ObjectAbsent, ObjectChanged, ObjectCold
from archiver.preservation.fetching import WrongBytes

PIECE = 64 * 1024
"""Bytes of one block."""
MOST = 24
"""Streams at a time, whoever asks."""
_PATIENCE = 5.0
"""Seconds that one more waits for its turn."""
_TAKEN_WITHIN = 30.0
"""Seconds after which nobody takes a block any more: the server has hung up long before."""

Put = Callable[[bytes], None]
"""Hands a block on; raises Gone once nobody takes it."""
Work = Callable[[Put], None]
"""Puts all of a body, and raises where it must break off."""

_SAID: tuple[tuple[type[Exception], int, str], ...] = (
    (ObjectAbsent, 404, "the store has no such object any more"),
    (ObjectChanged, 409, "another object stands there by now: open the page anew"),
    (ObjectCold, 409, "the object lies in an archived class of the store, and must be restored first"),
    (StorePaused, 502, "the store refuses us"),
    (StoreBusy, 503, "the store does not answer just now"),
    (Interrupted, 503, "the page is being stopped"),
)


class Gone(Exception):
    """Nobody takes the bytes any more."""


def refusal(fault: Exception) -> tuple[int, str]:
    """Return status and words of what keeps bytes from coming."""
    for kind, status, words in _SAID:
        if isinstance(fault, kind):
            return status, words
    return 502, "the store gives other bytes than were stored" if isinstance(fault, WrongBytes) else "it cannot be read"


class Streams:
    """Turns and threads of all that flows. At most MOST at once; the threads are made when they are needed."""

    def __init__(self, broken: Callable[[Exception], object]) -> None:
        self._broken = broken
        self._turns = asyncio.Semaphore(MOST)
        self._threads = ThreadPoolExecutor(MOST, thread_name_prefix="page-stream")

    def answer(self, work: Work, headers: Mapping[str, str], status: int = 200) -> Response:
        """Return the answer whose body `work` puts."""
        return _Streamed(self, work, headers, status)

    async def run(self, work: Work, flow: _Flow) -> None:
        """Do the work in its turn, and tell of what breaks it off."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            await flow.refuse(503, f"{MOST} files are being listened to or fetched at once: try again in a moment")
            return
        try:
            await self._worked(work, flow)
        finally:
            self._turns.release()

    async def _worked(self, work: Work, flow: _Flow) -> None:
        try:
            await flow.loop.run_in_executor(self._threads, work, flow.put)
        except Gone:
            return
        except (ArchiverError, WrongBytes, Interrupted) as fault:
            self._broken(fault)
            await flow.refuse(*refusal(fault))
            return
        finally:
            flow.gone.set()
        await flow.finish()


class _Flow:
    """One answer on its way out. Its head goes before the first block, so that a fault before that has its status."""

    def __init__(self, send: Send, status: int, headers: Mapping[str, str]) -> None:
        self.loop = asyncio.get_running_loop()
        self.gone = threading.Event()
        self._send = send
        self._status = status
        self._headers = headers
        self._has_begun = False

    def put(self, block: bytes) -> None:
        """Hand a block on, from the thread of the work; return once it is taken."""
        if self.gone.is_set():
            raise Gone
        try:
            asyncio.run_coroutine_threadsafe(self._block(block), self.loop).result(_TAKEN_WITHIN)
        except (OSError, TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            self.gone.set()
            raise Gone from error

    async def _block(self, block: bytes) -> None:
        await self._begin()
        await self._send({"type": "http.response.body", "body": block, "more_body": True})

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            raw = [(name.lower().encode(), text.encode("latin-1")) for name, text in self._headers.items()]
            await self._send({"type": "http.response.start", "status": self._status, "headers": raw})

    async def finish(self) -> None:
        """End it in order."""
        with suppress(OSError, TimeoutError):
            await self._begin()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, status: int, words: str) -> None:
        """Say why nothing comes; where some came already the answer stays without its end, which browsers notice."""
        if self._has_begun:
            return
        raw = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        self._has_begun = True
        with suppress(OSError, TimeoutError):
            await self._send({"type": "http.response.start", "status": status, "headers": raw})
            await self._send({"type": "http.response.body", "body": f"{words}\n".encode()})


class _Streamed(Response):
    """An answer whose body is put by a thread."""

    def __init__(self, streams: Streams, work: Work, headers: Mapping[str, str], status: int) -> None:
        super().__init__(status_code=status)
        self._streams = streams
        self._work = work
        self._given = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Answer; to HEAD without asking the store."""
        flow = _Flow(send, self.status_code, self._given)
        if scope["method"] == "HEAD":
            await flow.finish()
        else:
            await self._streams.run(self._work, flow)


def asked_range(request: Request, size: int) -> tuple[int, int] | None:
    """Return begin and end of the one range that is asked for; None where the whole is, or what is no such range."""
    unit, _, text = request.headers.get("range", "").partition("=")
    first, _, last = text.partition("-")
    if unit.strip().lower() != "bytes" or not (first.isascii() and first.isdigit()) or len(text) > _DIGITS:
        return None
    if last and not (last.isascii() and last.isdigit()):
        return None
    return int(first), min(size, int(last) + 1) if last else size


_DIGITS = 40


def plain(status: int, words: str) -> Response:
    """Return a short answer in words."""
    return PlainTextResponse(f"{words}\n", status_code=status)
