"""The whole integrity rule on the way in: what readinto hands out is what the origin has, to the last byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx

from archiver.adapters.downloader.answer import (
    Hiccup,
    body_fault,
    media_type,
    rest_of,
    same_version,
    validator,
    whole_length,
)
from archiver.adapters.downloader.formats import UNKNOWN, Container
from archiver.adapters.downloader.limits import BodyLimits, MinimumRate
from archiver.adapters.downloader.others import looks_like
from archiver.adapters.downloader.sniff import ENOUGH, enough_of, sniff
from archiver.adapters.downloader.sound import Sound, doubt_of, sound_in
from archiver.adapters.downloader.throttle import Throttle
from archiver.adapters.downloader.transport import Response
from archiver.adapters.http1 import Reader
from archiver.core.errors import (
    AddressForbidden,
    ArchiverError,
    BodyChanged,
    BodyEmpty,
    BodyLong,
    BodyNotAudio,
    BodyShort,
    BodyTooLarge,
    Interrupted,
    LinkSpent,
    Preempted,
)
from archiver.core.records.kinds.names import Media
from archiver.ports.runtime import UNWATCHED, Checkpoint, Watch
from archiver.ports.transfer import Received, Suspended, uncounted

Reopen = Callable[[Mapping[str, str]], Response]
"""Asks for the same URL again with more header fields; follows redirects, judges no status."""

RESUMES = 5
"""Tries to go on after a cut before it counts as a failure; PROGRESS makes the count start again."""
PROGRESS = 64 * 1024
RESUME_FIRST = 0.25
"""Seconds before the first of them; doubles with each."""
COMPARED = 64 * 1024
NOTED, NOTED_EVERY = 256 * 1024, 0.1
"""Bytes, or seconds, after which `received` is told of what came: blocks may be small, and many."""
FRAMING_FREE = 16 * 1024
"""Bytes of chunks' framing that do not count for the cap, beside one for every FRAMING_SHARE of the body."""
FRAMING_SHARE = 8
_PAGES = (b"<", b"{", b"[")
"""The first bytes of HTML, XML and JSON, and of no audio."""


class VerifyingBody:
    """A body that ends only where the origin's does; satisfies archiver.ports.transfer.Download.

    How the end is verified: an announced length by counting, a chunked body by its last chunk. A body
    that merely ends with its connection is asked for once more from its end on: the origin's word on
    the whole length settles it, and where there is none the whole body is read again and must have
    the same hash.

    A cut goes on with Range and If-Range when the origin gave a strong validator, and so does a body that was
    broken off (Preempted): it is Suspended then. A body that failed stays failed: each further readinto raises
    the same error.
    """

    def __init__(
        self,
        response: Response,
        *,
        reopen: Reopen,
        limits: BodyLimits,
        throttle: Throttle,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        checkpoint: Checkpoint,
        watch: Watch = UNWATCHED,
        received: Received = uncounted,
        media: Media = Media.AUDIO,
    ) -> None:
        self._media = media
        self._first = self._response = response
        self._reader: Reader = response.stream.reader
        self._length = self._whole = whole_length(response)
        self._reopen = reopen
        self._limits = limits
        self._throttle = throttle
        self._rate = MinimumRate(limits, clock)
        self._sleep = sleep
        self._checkpoint = checkpoint
        self._watch = watch
        self._received = received
        self._unnoted, self._noted_at = 0, 0.0
        """Bytes that `received` was not told of yet, and when it was told last."""
        self._validator = validator(response.headers)
        self._head = memoryview(b"")
        self._container: Container | None = None
        self._sound = Sound()
        self._hash = hashlib.sha256()
        self._size = 0
        self._filled = 0
        """Bytes that the readinto under way has put into its buffer, or that the suspended one had."""
        self._suspended = False
        self._tries = self._cut_at = self._framing = 0
        self._midway = self._verified = False
        self._failure: ArchiverError | None = None

    def look(self) -> None:
        """Receive the first bytes and judge them.

        Raises BodyTooLarge, BodyEmpty, BodyNotAudio, BodyShort, BodySlow or OriginBusy.
        """
        if self._whole is not None and self._whole > self._limits.max_bytes:
            raise BodyTooLarge(f"{self._whole} bytes announced, {self._limits.max_bytes} allowed")
        self._head = self._first_bytes()
        self._cap(len(self._head), self._reader.framing)
        head, cut_is_likely = bytes(self._head), self._reader.ended and not self._reader.framed
        found = sniff(head, whole=self._reader.ended, declared=media_type(self._first.headers), media=self._media)
        if found is not None and not (found is UNKNOWN and cut_is_likely):
            self._container, self._sound = found, sound_in(head, found)
            return
        if cut_is_likely and head.lstrip()[:1] not in _PAGES:
            raise BodyShort(f"closed after {len(head)} bytes, too few to tell")
        raise BodyNotAudio(f"not {self._media} but {looks_like(head)}") if head else BodyEmpty("no bytes")

    def _cap(self, got: int, framing: int) -> None:
        if not self._fits(got, framing):
            raise BodyTooLarge(f"more than {self._limits.max_bytes} bytes")

    def _fits(self, got: int, framing: int) -> bool:
        """Return whether the cap allows so much: of the framing what is more than an honest sender's counts too."""
        return got + max(0, framing - FRAMING_FREE - got // FRAMING_SHARE) <= self._limits.max_bytes

    def _first_bytes(self) -> memoryview:
        self._rate.start()
        head = self._filled_up(memoryview(b""), ENOUGH)
        enough = enough_of(bytes(head)) if len(head) == ENOUGH else ENOUGH
        return self._filled_up(head, enough) if enough > ENOUGH else head

    def _filled_up(self, head: memoryview, enough: int) -> memoryview:
        """Return `head` and what comes behind it, `enough` bytes together where the body has so many."""
        view, got = memoryview(bytearray(enough)), len(head)
        view[:got] = head
        try:
            while got < enough and not self._reader.ended:
                size = self._take(self._reader, view[got:])
                self._count(size)
                if size and not got:
                    self._checkpoint("download.first_byte")
                got += size
        except httpx.TransportError as error:
            raise body_fault(error, got=got, length=self._whole) from error
        return view[:got]

    @property
    def length(self) -> int | None:
        """Bytes announced by the origin; None when it announced none."""
        return self._length

    @property
    def extension(self) -> str:
        """From the first bytes, never from the URL."""
        return self._known.extension

    @property
    def content_type(self) -> str:
        """The media type that belongs to `extension`."""
        return self._known.content_type

    def doubt(self, duration: float | None) -> str:
        """See `archiver.ports.transfer.Download`."""
        return doubt_of(self._known, self._sound, self._size, duration)

    @property
    def _known(self) -> Container:
        if self._container is None:
            raise BodyNotAudio("the first bytes have not been judged")
        return self._container

    @property
    def sha256(self) -> str:
        """Lower-case hex of all bytes handed out."""
        return self._hash.hexdigest()

    @property
    def size(self) -> int:
        """Bytes handed out so far."""
        return self._size

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` and return its size, or, only at the body's verified end, the fewer bytes left.

        Raises BodyShort, BodySlow, BodyLong, BodyChanged, BodyTooLarge or OriginBusy.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._read(buffer)
        except (LinkSpent, AddressForbidden) as error:
            # Only resuming asks again; the next transfer meets the same answer at its start, and judges it.
            self._failure = BodyShort(f"the rest is not to be had: {error}")
            raise self._failure from error
        except ArchiverError as error:
            self._failure = error
            raise

    def resumed(self, received: Received) -> None:
        """Go on after Suspended, with the next readinto, and call `received` with what comes."""
        self._received = received

    def forget(self) -> None:
        """See `archiver.ports.transfer.Body`."""
        self._filled = 0

    def _read(self, buffer: memoryview) -> int:
        try:
            self._fill(buffer)
        except Preempted as preempted:
            if self._validator is None:
                raise
            self._suspended = True
            raise Suspended(self._size + self._filled) from preempted
        filled, self._filled = self._filled, 0
        self._hash.update(buffer[:filled])
        self._size += filled
        if self._reader.ended and not self._head and not self._verified:
            self._verify_end()
        return filled

    def _fill(self, buffer: memoryview) -> None:
        if self._suspended:
            self._ask_for_the_rest()
        else:
            self._filled = self._hand_out_head(buffer)
        self._rate.start()
        while self._filled < len(buffer) and not self._reader.ended:
            self._receive(buffer[self._filled :], self._size + self._filled)

    def _ask_for_the_rest(self) -> None:
        self._cut_at, self._tries = self._size + self._filled, 0
        while True:
            try:
                self._go_on(self._cut_at)
            except Hiccup:
                if self._tries == RESUMES:
                    raise
                self._sleep(RESUME_FIRST * 2**self._tries)
                self._tries += 1
                self._count(0)
            else:
                self._suspended = False
                return

    def _hand_out_head(self, buffer: memoryview) -> int:
        size = min(len(buffer), len(self._head))
        buffer[:size] = self._head[:size]
        self._head = self._head[size:]
        return size

    def _receive(self, view: memoryview, at: int) -> None:
        try:
            size = self._take(self._reader, view)
        except httpx.TransportError as cut:
            self._resume(cut, at)
            return
        self._filled += size
        self._cap(at + size, self._framing + self._reader.framing)
        try:
            self._count(size)
        except Preempted:
            # What is whole is kept: a piece, of which no byte is lost so, or all of it.
            if size < len(view) and not self._reader.ended:
                raise
        if not self._midway and not self._reader.ended:
            self._midway = True
            self._checkpoint("download.mid_body")

    def _take(self, reader: Reader, view: memoryview) -> int:
        """Receive some bytes, no more than the throttle allows; the wait for it is not the origin's."""
        if not self._throttle.on:
            size = reader.receive(view)
            self._watch.progress()
            return size
        share, size = self._throttle.take(len(view)), 0
        self._rate.start()
        try:
            size = reader.receive(view[:share])
            self._watch.progress()
        finally:
            self._throttle.give_back(share - size)
        return size

    def _count(self, size: int) -> None:
        now = self._rate.count(size)
        self._unnoted += size
        if self._unnoted >= NOTED or now - self._noted_at >= NOTED_EVERY or self._reader.ended:
            unnoted, self._unnoted, self._noted_at = self._unnoted, 0, now
            self._received(unnoted)

    def _resume(self, cut: httpx.TransportError, at: int) -> None:
        self._response.close()
        self._watch.progress()  # given up, it raises here: what was cut off for that is not to be resumed
        if at - self._cut_at >= PROGRESS:
            self._tries = 0
        self._cut_at = at
        resumable = isinstance(cut, httpx.ReadError | httpx.ReadTimeout) and self._validator is not None
        while resumable and self._tries < RESUMES:
            self._sleep(RESUME_FIRST * 2**self._tries)
            self._tries += 1
            self._count(0)
            try:
                self._go_on(at)
            except Hiccup:
                continue
            return
        raise body_fault(cut, got=at, length=self._whole) from cut

    def _go_on(self, at: int) -> None:
        response = self._reopen({"Range": f"bytes={at}-", "If-Range": self._validator or ""})
        try:
            self._whole = rest_of(self._first, response, at=at, length=self._whole)
        except BaseException:
            response.close()
            raise
        self._framing += self._reader.framing
        self._response, self._reader = response, response.stream.reader

    def _verify_end(self) -> None:
        if self._whole is None and not self._reader.framed:
            self._whole = self._look_again()
        if self._whole is not None and self._size != self._whole:
            kind = BodyShort if self._size < self._whole else BodyLong
            raise kind(f"{self._size} bytes came, the origin has {self._whole}")
        if self._reader.length is not None and self._response.stream.overruns():
            raise BodyLong(f"more bytes came than the {self._whole} announced")
        self._verified = True
        self._checkpoint("download.body_done")

    def _look_again(self) -> int:
        for extra in ({"Range": f"bytes={self._size}-"}, {}):
            response = self._reopen(extra)
            try:
                if not same_version(self._first.headers, response.headers):
                    raise BodyChanged("the origin offers another version by now")
                whole = whole_length(response)
                if whole is None and response.status_code == httpx.codes.OK:
                    whole = self._compare(response.stream.reader)
                if whole is not None:
                    return whole
            finally:
                response.close()
        raise BodyShort(f"nothing tells whether {self._size} bytes are all")

    def _compare(self, reader: Reader) -> int:
        digest, buffer, got = hashlib.sha256(), memoryview(bytearray(COMPARED)), 0
        try:
            while (size := self._take(reader, buffer)) and self._fits(got, reader.framing):
                self._count(size)
                digest.update(buffer[:size])
                got += size
        except httpx.TransportError as error:
            raise body_fault(error, got=got, length=None) from error
        if digest.digest() != self._hash.digest():
            raise BodyShort(f"{self._size} bytes came at first, {got} others at a second look")
        return got

    def interrupt(self) -> None:
        """Have what is waited for now end at once; may be called from another thread."""
        self._response.stream.interrupt()

    def close(self) -> None:
        """End the transfer; the connection is kept when the whole body was read."""
        unnoted, self._unnoted = self._unnoted, 0
        with suppress(ArchiverError, Interrupted, Preempted):
            self._received(unnoted)
        self._response.close()
