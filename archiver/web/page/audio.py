"""Audio of tasks: pieces for the player, files and archives to keep, links to give away."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from archiver.core.errors import ArchiverError, Interrupted, StoreBusy
from archiver.core.manifest_fields import plain_name_fault
from archiver.core.model import Receipt, TaskId
from archiver.core.reports import TaskRow
from archiver.preservation.fetching import Fetching, WrongBytes
from archiver.preservation.wanted import names_of, safe_title
from archiver.preservation.zip_stream import Entry, ZipStream, read_once
from archiver.web.page.breaks import Breaks
from archiver.web.page.parts import Parts
from archiver.web.page.shelf import Shelf, receipt_of
from archiver.web.page.streaming import PIECE, Put, Streams, Work, asked_range, plain, refusal

LINK_LASTS = timedelta(minutes=10)
_KEPT = "private, max-age=604800, immutable"
_AUDIO = ("audio/", "video/mp4", "application/ogg")


def audio_url(task: str, stem: str, receipt: Receipt) -> str:
    """Return where the player has a stem from: another address as soon as another object is meant."""
    return f"/task/{task}/audio/{quote(stem, safe='')}?{urlencode({'e': receipt.etag, 's': receipt.sha256[:16]})}"


def file_name(row: TaskRow, stem: str, receipt: Receipt) -> str:
    """Return what a stem is saved as: one plain name."""
    title, last = safe_title(row.title), receipt.key.rpartition("/")[2]
    suffix = last.rpartition(".")[2] if "." in last else "bin"
    name = f"{title or row.task_id} - {stem}.{suffix}"
    return f"{row.task_id}.bin" if plain_name_fault(name) else name


def _attachment(name: str, kind: str, size: int | None = None) -> dict[str, str]:
    plainly = "".join(each if each.isascii() and each.isprintable() and each not in '"\\%' else "_" for each in name)
    disposition = f"attachment; filename=\"{plainly}\"; filename*=UTF-8''{quote(name, safe='')}"
    length = {} if size is None else {"Content-Length": str(size)}
    return {"Content-Type": kind, "Content-Disposition": disposition, "Cache-Control": "no-store", **length}


class Audio:
    """The routes' endpoints; all are asked from the event loop, and nothing in it waits for the store."""

    def __init__(self, parts: Parts, shelf: Shelf) -> None:
        self._parts = parts
        self._shelf = shelf
        self._streams = Streams(self._broken)
        self.breaks = Breaks(parts.clock)

    def routes(self) -> Sequence[Route]:
        """Return all of them."""
        return [
            Route("/task/{task}/audio/{stem}", self.piece),
            Route("/task/{task}/file/{stem}", self.file),
            Route("/task/{task}/zip", self.zip),
        ]

    def _broken(self, fault: Exception) -> None:
        event = "fixity.doubted" if isinstance(fault, WrongBytes) else "page.broke_off"
        self._parts.log.warning(event, reason=str(fault))

    def piece(self, request: Request) -> Response:
        """Answer the player: the range that it asks for of that very object."""
        found = self._found(request)
        if isinstance(found, Response):
            return found
        row, stem, receipt = found
        if self._parts.soundings is not None:
            self._parts.soundings.give_way()
        if request.query_params.get("e") != receipt.etag:
            return plain(409, "another object stands there by now: open the page anew")
        if self._parts.words.audio == "presigned":
            return self._signed(row, stem, receipt)
        kind = receipt.content_type if receipt.content_type.startswith(_AUDIO) else "application/octet-stream"
        headers = {"Content-Type": kind, "Cache-Control": _KEPT, "ETag": f'"{receipt.etag}"', "Accept-Ranges": "bytes"}
        asked = asked_range(request, receipt.size)
        if asked is None:
            headers["Content-Length"] = str(receipt.size)
            return self._streams.answer(partial(self._whole, receipt), headers)
        begin, end = asked
        if begin >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{receipt.size}"})
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{receipt.size}"
        headers["Content-Length"] = str(end - begin)
        return self._streams.answer(partial(self._span, receipt, begin, end), headers, 206)

    def file(self, request: Request) -> Response:
        """Answer with one stem to be kept."""
        found = self._found(request)
        if isinstance(found, Response):
            return found
        row, stem, receipt = found
        headers = _attachment(file_name(row, stem, receipt), "application/octet-stream", receipt.size)
        whole: Work = partial(self._whole, receipt)
        return self._streams.answer(partial(self._noted, row.task_id, stem, whole), headers)

    def zip(self, request: Request) -> Response:
        """Answer with all that is stored of the task, as one archive."""
        row = self._shelf.found(request)
        if isinstance(row, Response):
            return row
        stored = [(each.name, each.receipt) for each in row.stems if each.receipt is not None]
        names = names_of(stored)
        entries = [Entry(names[stem], each.key, each.size, each.sha256) for stem, each in stored]
        stream = ZipStream(row.task_id, self._parts.words.prefix, row.ended_at or row.accepted_at, tuple(entries))
        title = safe_title(row.title)
        name = f"{title} ({row.task_id}).zip" if title else f"{row.task_id}.zip"

        def work(put: Put) -> None:
            stream.write(self._fetching(), _in_pieces(put))

        headers = _attachment(name, "application/zip")
        return self._streams.answer(partial(self._noted, row.task_id, "The zip of all", work), headers)

    def _noted(self, task: TaskId, what: str, work: Work, put: Put) -> None:
        try:
            work(put)
        except (ArchiverError, WrongBytes, Interrupted) as fault:
            self.breaks.note(task, what, refusal(fault)[1])
            raise

    def link(self, row: TaskRow, stem: str, receipt: Receipt) -> str:
        """Return a link to the store that lasts LINK_LASTS: a secret. Raises StorePaused without credentials."""
        name, seconds = file_name(row, stem, receipt), int(LINK_LASTS.total_seconds())
        return self._parts.archive().link(receipt.key, name=name, seconds=seconds)

    def _signed(self, row: TaskRow, stem: str, receipt: Receipt) -> Response:
        try:
            return RedirectResponse(self.link(row, stem, receipt), 307, {"Cache-Control": "no-store"})
        except ArchiverError as fault:
            return plain(*refusal(fault))

    def _found(self, request: Request) -> tuple[TaskRow, str, Receipt] | Response:
        row = self._shelf.found(request)
        if isinstance(row, Response):
            return row
        stem = request.path_params["stem"]
        receipt = receipt_of(row, stem)
        return plain(404, "there is no such stem") if receipt is None else (row, stem, receipt)

    def _fetching(self) -> Fetching:
        return self._parts.fetching()

    def _span(self, receipt: Receipt, begin: int, end: int, put: Put) -> None:
        bandwidth = self._fetching().bandwidth
        view = memoryview(bytearray(min(PIECE, end - begin)))
        with closing(self._parts.archive().span(receipt.key, begin, end, etag=receipt.etag)) as body:
            left = end - begin
            while left:
                share = bandwidth.take(min(len(view), left)) if bandwidth.on else min(len(view), left)
                came = body.readinto(view[:share])
                if not came:
                    raise StoreBusy("the object ended before all of it came")
                if bandwidth.on and came < share:
                    bandwidth.give_back(share - came)
                left -= came
                put(bytes(view[:came]))

    def _whole(self, receipt: Receipt, put: Put) -> None:
        """Put the whole object; its last piece only once all of it is proven."""
        held = _Held(put)
        read_once(self._fetching(), receipt, held.write)
        held.release()


class _Held:
    """Keeps the last block back."""

    def __init__(self, put: Put) -> None:
        self._put = _in_pieces(put)
        self._block = b""

    def write(self, data: memoryview) -> None:
        if self._block:
            self._put(self._block)
        self._block = bytes(data)

    def release(self) -> None:
        self._put(self._block)


def _in_pieces(put: Put) -> Put:
    """Return what puts long blocks in pieces of PIECE bytes."""

    def pieces(block: bytes) -> None:
        for at in range(0, len(block), PIECE):
            put(block[at : at + PIECE])

    return pieces
