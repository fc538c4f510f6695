"""The provider on loopback: its API and, as another origin, its CDN. For the demo, tests and benchmarks.

Bodies, headers and oddities follow the provider's docs and recordings of its traffic: errors inside
HTTP 200, `data: null` for an unknown id, millisecond epochs, null stems, gzip and chunks from the API,
no rate headers, the ban on Python's default User-Agent. What nobody has recorded is the emulator's
own choice and says so.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import secrets
import signal
import socket
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Lock, Thread
from types import TracebackType
from typing import ClassVar, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

Kind = Literal["separate_vocal", "split_stem", "split_stem_advanced"]

Answers = Literal[
    "success",
    "success_without_urls",
    "pending",
    "pending_with_error",
    "create_failed",
    "failed",
    "callback_exception",
    "callback_exception_without_urls",
]
"""What record-info says once the task is ready; `failed` is GENERATE_AUDIO_FAILED."""

Seconds = float

API_KEY = "emulated-key-0123456789abcdef"
CALLBACK_URL = "https://example.com/callback?secret=emulated-callback-secret"
"""What every record echoes; its query must never be written down by whoever reads the record."""
LINK_LIFE = timedelta(minutes=20)
"""How long a link of download-url lives (provider's docs)."""
RETENTION = timedelta(days=14)
PACE = 20
PACE_WINDOW: Seconds = 9.9
"""The docs say 10 s; requests paced exactly by their sender may arrive a little closer together."""

FLAT_STEMS = (
    "instrumental",
    "vocal",
    "backing_vocals",
    "drums",
    "bass",
    "guitar",
    "piano",
    "keyboard",
    "percussion",
    "strings",
    "synth",
    "fx",
    "brass",
    "woodwinds",
)
"""Every stem with a `…Url` field of its own, in the order of the docs' examples."""

STEMS_OF: Mapping[Kind, tuple[str, ...]] = {
    "separate_vocal": ("instrumental", "vocal"),
    "split_stem": tuple(name for name in FLAT_STEMS if name not in {"instrumental", "piano"}),
    "split_stem_advanced": ("vocal", "instrumental"),
}

_FLAGS: Mapping[Answers, tuple[str, int | None, str | None]] = {
    "success": ("SUCCESS", None, None),
    "success_without_urls": ("SUCCESS", None, None),
    "pending": ("PENDING", None, None),
    "pending_with_error": ("PENDING", 413, "Uploaded audio matches existing work of art"),
    "create_failed": ("CREATE_TASK_FAILED", 500, "Internal Error - Please try again later."),
    "failed": ("GENERATE_AUDIO_FAILED", 500, "Internal Error - Please try again later."),
    "callback_exception": ("CALLBACK_EXCEPTION", None, None),
    "callback_exception_without_urls": ("CALLBACK_EXCEPTION", 500, "Callback process error"),
}

_LABELS = {"vocal": "Vocals", "fx": "FX"}
_PARTLY_LISTED = {"keyboard", "percussion", "strings", "synth"}
"""In the docs' example of split_stem, originData lists only these."""


@dataclass(frozen=True)
class EmulatedStem:
    """Audio of any size that costs next to nothing: MP3 frames of silence with noise in their spare bytes.

    No two blocks of it are equal, and no two stems with different `seed`; the last frame may be cut.
    """

    size: int
    """Bytes."""
    seed: str

    BLOCK: ClassVar[int] = 156 * 417
    """Bytes; 417 is a frame of 128 kbit/s at 44.1 kHz."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, span: slice) -> bytes:
        """Return the bytes of a span with step 1."""
        start, stop, _ = span.indices(self.size)
        return b"".join(bytes(chunk) for chunk in self.chunks(start, stop))

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Return the bytes from `start` up to `stop`, in pieces of at most BLOCK."""
        while start < stop:
            number, offset = divmod(start, self.BLOCK)
            frame, rest = self._first_frame(number), self._rest
            piece = frame[offset:] if offset < len(frame) else rest[offset - len(frame) :]
            piece = piece[: stop - start]
            yield piece
            start += len(piece)

    @cached_property
    def etag(self) -> str:
        """A strong validator, from what makes up the content rather than from all of it."""
        return f'"{hashlib.md5(f"{self.seed} {self.size}".encode(), usedforsecurity=False).hexdigest()}"'

    @cached_property
    def sha256(self) -> str:
        """Lower-case hex of all the bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def _rest(self) -> memoryview:
        noise = Random(self.seed)
        return memoryview(b"".join(_frame(noise.randbytes(381)) for _ in range(155)))

    def _first_frame(self, number: int) -> memoryview:
        return memoryview(_frame(number.to_bytes(8, "big") + bytes(373)))


def _frame(spare: bytes) -> bytes:
    return b"\xff\xfb\x90\x00" + bytes(32) + spare


@dataclass(frozen=True)
class _Recorded:
    """Audio that stands in memory, with the same interface as EmulatedStem."""

    data: bytes

    def __len__(self) -> int:
        return len(self.data)

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        yield memoryview(self.data)[start:stop]

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


Audio = bytes | EmulatedStem


@dataclass(frozen=True, kw_only=True)
class EmulatedTask:
    """One task, and what the provider will say about it."""

    task_id: str
    kind: Kind = "separate_vocal"
    answers: Answers = "success"
    created_at: datetime | None = None
    """None: when the task is added."""
    ready_after: timedelta = timedelta()
    """PENDING until so long after created_at, which is also when it counts as completed."""
    pending_asks: int = 0
    """PENDING for the first so many asks."""
    stems: Mapping[str, Audio] | None = None
    """Audio by stem; None: the stems of its kind, with the emulator's audio. `origin` is the source mix."""
    duration: Seconds = 245.6
    """As the record claims."""
    link_status: int | None = None
    """What the CDN answers to the record's own links in place of the audio; links of download-url work."""
    api_key: str | None = None
    """Of the account that made it, to others it is unknown (not recorded); None: known to all."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, as it was answered."""

    listener: Literal["api", "cdn"]
    method: str
    path: str
    """With its query, as it was sent."""
    headers: Mapping[str, str]
    """By lower-case name."""
    status: int
    """Of HTTP; the API's errors are mostly inside a 200."""
    at: float
    """time.monotonic() when it was answered, before the body was sent."""


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    def query(self, name: str) -> str:
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    pieces: Iterable[bytes | memoryview] = ()
    length: int | None = None
    """Bytes; None: sent in chunks."""


@dataclass(frozen=True, slots=True)
class _File:
    task: EmulatedTask
    path: str
    audio: EmulatedStem | _Recorded


Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Emulator:
    """The provider, from entering the context to leaving it; both listeners are then closed.

    `clock` decides readiness, expiry and the life of links; pace is measured in real time, for each key of its own.
    """

    def __init__(
        self,
        audio: Mapping[str, Audio] | None = None,
        *,
        api_key: str = API_KEY,
        further_keys: Collection[str] = (),
        clock: Clock = _now,
        enforce_pace: bool = False,
    ) -> None:
        self.api_key = api_key
        self._audio = audio or {}
        self._clock = clock
        self._paces = {f"Bearer {key}": _Pace() if enforce_pace else None for key in (api_key, *further_keys)}
        self._lock = Lock()
        self._requests: list[Seen] = []
        self._tasks: dict[str, EmulatedTask] = {}
        self._files: dict[str, _File] = {}
        self._asks: Counter[str] = Counter()
        self._links: dict[str, tuple[str, datetime]] = {}
        self._api = _Listener(lambda asked: self._seen("api", asked, self._answer_api(asked)))
        self._cdn = _Listener(lambda asked: self._seen("cdn", asked, self._answer_cdn(asked)))
        self.base_url = self._api.url
        """What `provider.base_url` should be."""
        self.cdn_url = self._cdn.url

    def __enter__(self) -> Self:
        self._api.start()
        self._cdn.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()
        self._cdn.close()

    def add(self, *tasks: EmulatedTask) -> None:
        """Make the tasks known. Raises KeyError when one needs a stem for which there is no audio."""
        for given in tasks:
            stems = given.stems or {name: self._audio[name] for name in STEMS_OF[given.kind]}
            task = replace(given, created_at=given.created_at or self._clock(), stems=stems)
            files = [_File(task, _path(task, stem), _wrapped(audio)) for stem, audio in stems.items()]
            with self._lock:
                self._files |= {file.path: file for file in files}
                self._tasks[task.task_id] = task

    @property
    def requests(self) -> list[Seen]:
        """All requests so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    def calls(self, task_id: str) -> int:
        """How often record-info was answered about this id, known or not."""
        with self._lock:
            return self._asks[task_id]

    def _seen(self, listener: Literal["api", "cdn"], asked: _Asked, reply: _Reply) -> _Reply:
        seen = Seen(listener, asked.method, asked.target, asked.headers, reply.status, time.monotonic())
        with self._lock:
            self._requests.append(seen)
        return reply

    # --- the API

    def _answer_api(self, asked: _Asked) -> _Reply:
        if _banned(asked):
            return _BANNED
        key = asked.headers.get("authorization", "")
        if key not in self._paces:
            # Which HTTP status goes with it here is not recorded; 200 is the one a careless client misses.
            return _json(asked, 401, "You do not have access permissions")
        pace = self._paces[key]
        if pace is not None and not pace.admits(time.monotonic()):
            return _json(asked, 429, "Rate limit exceeded", status=429)
        match asked.method, asked.path:
            case "GET", "/api/v1/vocal-removal/record-info":
                return _json(asked, 200, "success", data=self._record(asked.query("taskId"), key))
            case "GET", "/api/v1/chat/credit":
                return _json(asked, 200, "success", data=5916.25)
            case "POST", "/api/v1/common/download-url":
                return self._download_url(asked)
        return _json(asked, 404, "Not Found", data=None, status=404)

    def _record(self, task_id: str, key: str) -> object:
        with self._lock:
            self._asks[task_id] += 1
            asks = self._asks[task_id]
            task = self._tasks.get(task_id)
        if task is None or (task.api_key is not None and key != f"Bearer {task.api_key}"):
            return None
        ready = asks > task.pending_asks and self._clock() >= _completed_at(task)
        return _record_data(task if ready else replace(task, answers="pending"), self.cdn_url)

    def _download_url(self, asked: _Asked) -> _Reply:
        try:
            url = str(json.loads(asked.body)["url"])
        except (ValueError, KeyError, TypeError):
            url = ""
        path = unquote(urlsplit(url).path)
        file = self._files.get(path)
        if not url.startswith(f"{self.cdn_url}/") or file is None or self._expired(file):
            return _json(asked, 422, "url is wrong", data=None)
        token = secrets.token_hex(16)
        with self._lock:
            self._links[token] = path, self._clock() + LINK_LIFE
        return _json(asked, 200, "success", data=f"{self.cdn_url}{quote(path)}?token={token}")

    # --- the CDN

    def _answer_cdn(self, asked: _Asked) -> _Reply:
        if _banned(asked):
            return _BANNED
        if "authorization" in asked.headers:
            return _text(403, "the key does not belong here")
        file = self._files.get(asked.path)
        if file is None or self._expired(file):
            return _text(404, "not found")
        token = asked.query("token")
        if token and not self._opens(token, file):
            return _text(403, "this link has expired")
        if file.task.link_status is not None and not token:
            return _text(file.task.link_status, "refused")
        if asked.method not in {"GET", "HEAD"}:
            return _text(405, "method not allowed")
        return _served(asked, file.audio)

    def _opens(self, token: str, file: _File) -> bool:
        path, until = self._links.get(token, ("", self._clock()))
        return path == file.path and self._clock() < until

    def _expired(self, file: _File) -> bool:
        return self._clock() >= _completed_at(file.task) + RETENTION


class _Pace:
    """PACE requests in any PACE_WINDOW; those that are turned away do not count (provider's docs)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._admitted: deque[Seconds] = deque(maxlen=PACE)

    def admits(self, now: Seconds) -> bool:
        with self._lock:
            if len(self._admitted) == PACE and now - self._admitted[0] < PACE_WINDOW:
                return False
            self._admitted.append(now)
            return True


def _banned(asked: _Asked) -> bool:
    return asked.headers.get("user-agent", "").startswith("Python-urllib")


def _text(status: int, text: str) -> _Reply:
    return _Reply(status, {"Content-Type": "text/plain; charset=UTF-8"}, [text.encode()], len(text.encode()))


_BANNED = _text(403, "error code: 1010")


def _json(asked: _Asked, code: int, msg: str, *, status: int = 200, **data: object) -> _Reply:
    body = json.dumps({"code": code, "msg": msg} | data, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json;charset=UTF-8", "cf-cache-status": "DYNAMIC"}
    if "gzip" in asked.headers.get("accept-encoding", ""):
        return _Reply(status, headers | {"Content-Encoding": "gzip"}, [gzip.compress(body, 1)])
    return _Reply(status, headers, [body])


# --- what record-info says


def _record_data(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    flag, code, message = _FLAGS[task.answers]
    pending = task.answers in {"pending", "pending_with_error"}
    return {
        "taskId": task.task_id,
        "musicId": str(uuid.uuid5(uuid.NAMESPACE_URL, task.task_id)),
        "callbackUrl": CALLBACK_URL,
        "musicIndex": 0,
        "completeTime": None if pending else _milliseconds(_completed_at(task)),
        "response": _response(task, cdn_url),
        "successFlag": flag,
        "createTime": _milliseconds(_created_at(task)),
        "errorCode": code,
        "errorMessage": message,
    }


def _response(task: EmulatedTask, cdn_url: str) -> dict[str, object] | None:
    if task.answers == "success_without_urls":
        stems: Iterable[str] = ()
    elif task.answers in {"success", "callback_exception"}:
        stems = task.stems or ()
    else:
        return None
    urls = {stem: f"{cdn_url}{_path(task, stem)}" for stem in stems}
    flat = {} if task.kind == "split_stem_advanced" else urls
    return {
        "id": None,
        "originUrl": flat.get("origin"),
        "originData": _origin_data(task, urls),
        **{_field(stem): flat.get(stem) for stem in FLAT_STEMS},
    }


def _origin_data(task: EmulatedTask, urls: Mapping[str, str]) -> list[object]:
    items = {
        stem: {
            "duration": task.duration,
            "audio_url": url,
            "stem_type_group_name": _group(task, stem),
            "id": str(_audio_id(task, stem)),
        }
        for stem, url in urls.items()
        if stem != "origin"
    }
    if task.kind == "split_stem":
        return [item for stem, item in items.items() if stem in _PARTLY_LISTED]
    if task.kind == "split_stem_advanced" and items:
        return [{"extract": items["vocal"], "remove": items["instrumental"]}]
    return list(items.values())


def _field(stem: str) -> str:
    first, *more = stem.split("_")
    return first + "".join(map(str.capitalize, more)) + "Url"


def _group(task: EmulatedTask, stem: str) -> str:
    if task.kind == "split_stem_advanced":
        return "Lead Vocal"
    return _LABELS.get(stem, stem.replace("_", " ").title())


def _audio_id(task: EmulatedTask, stem: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{task.task_id}/{stem}")


def _path(task: EmulatedTask, stem: str) -> str:
    """The CDN's path, spaces and all: those of advanced tasks come raw (seen in client code)."""
    if task.kind == "split_stem_advanced":
        return f"/r/{_audio_id(task, stem)}_{_group(task, stem)}.mp3"
    return f"/s/{_audio_id(task, stem)}_{_group(task, stem).replace(' ', '_')}.mp3"


def _created_at(task: EmulatedTask) -> datetime:
    if task.created_at is None:
        raise ValueError("a task gets its creation time when it is added")
    return task.created_at


def _completed_at(task: EmulatedTask) -> datetime:
    return _created_at(task) + task.ready_after


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# --- what the CDN serves


def _wrapped(audio: Audio) -> EmulatedStem | _Recorded:
    return _Recorded(audio) if isinstance(audio, bytes) else audio


def _served(asked: _Asked, audio: EmulatedStem | _Recorded) -> _Reply:
    headers = {"Content-Type": "audio/mpeg", "ETag": audio.etag, "Accept-Ranges": "bytes"}
    size = len(audio)
    span = _range(asked, audio)
    if span is None:
        return _Reply(200, headers, audio.chunks(0, size), size)
    start, stop = span
    if start >= stop:
        return _Reply(416, {"Content-Range": f"bytes */{size}"}, (), 0)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return _Reply(206, headers, audio.chunks(start, stop), stop - start)


def _range(asked: _Asked, audio: EmulatedStem | _Recorded) -> tuple[int, int] | None:
    """Return the span asked for (empty: not satisfiable), or None for the whole; RFC 9110, section 14."""
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("range", ""))
    if asked.method != "GET" or wanted is None or not any(wanted.groups()):
        return None
    if asked.headers.get("if-range", audio.etag) != audio.etag:
        return None
    first, last = wanted.groups()
    if first and last and int(last) < int(first):
        return None
    size = len(audio)
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


# --- the wire


class _Listener(ThreadingHTTPServer):
    """One origin on a free loopback port, with a thread for each connection."""

    daemon_threads = False  # so that closing waits for them
    request_queue_size = 128

    def __init__(self, answer: Callable[[_Asked], _Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, name=self.url)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, cut those that are open, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A client that hangs up is none of our business; anything else is a bug and shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the emulator, and writes its reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each reply waits 40 ms for the peer's delayed ACK
    server: _Listener

    def do_GET(self) -> None:
        """Answer; the same for every method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.answer(_Asked(self.command, self.path, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self._send_body(reply)

    do_HEAD = do_GET  # noqa: N815 - the base class's spelling
    do_POST = do_GET  # noqa: N815 - the base class's spelling

    def _send_body(self, reply: _Reply) -> None:
        if reply.length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(reply.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.length is not None:
            for piece in reply.pieces:
                self.wfile.write(piece)
            return
        for piece in reply.pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
        self.wfile.write(b"0\r\n\r\n")

    def version_string(self) -> str:
        return "cloudflare"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: `Emulator.requests` remembers."""


# --- as a process of its own


def main() -> None:
    """Serve `--tasks` tasks of `--stems` stems each until SIGTERM or SIGINT.

    Once it listens, `--port-file` holds a JSON object: base_url, cdn_url, api_key, task_ids.
    """
    options = _options()
    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)  # before there are threads, which inherit it
    with Emulator() as emulator:
        ids = [uuid.uuid5(uuid.NAMESPACE_URL, f"benchmark {number}").hex for number in range(options.tasks)]
        emulator.add(*(_synthetic(task_id, options.stems, options.size) for task_id in ids))
        ready = {"base_url": emulator.base_url, "cdn_url": emulator.cdn_url, "api_key": emulator.api_key}
        draft = options.port_file.with_name(f"{options.port_file.name}.new")
        draft.write_text(json.dumps(ready | {"task_ids": ids}))
        draft.replace(options.port_file)
        signal.sigwait(endings)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m archiver.demo.emulator", description=main.__doc__)
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the addresses")
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--stems", type=int, default=12, choices=range(1, len(FLAT_STEMS) + 1), help="of each task")
    parser.add_argument("--size", type=int, default=5 << 20, help="bytes of each stem")
    return parser.parse_args()


def _synthetic(task_id: str, stems: int, size: int) -> EmulatedTask:
    audio = {stem: EmulatedStem(size, f"{task_id}/{stem}") for stem in FLAT_STEMS[:stems]}
    return EmulatedTask(task_id=task_id, kind="split_stem", stems=audio)


if __name__ == "__main__":
    main()
