"""The provider on loopback: its API and, as another origin, its CDN. For the demo, tests and benchmarks.

Bodies, headers and oddities follow the provider's docs and recordings of its traffic: errors inside
HTTP 200, `data: null` for an unknown id, millisecond epochs, null stems, gzip and chunks from the API,
no rate headers, the ban on Python's default User-Agent. The emulator's own
choices, where nobody has recorded any, say so.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import signal
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, unquote, urlsplit

from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.table import KINDS
from archiver.demo.audio import Audio, EmulatedStem, Recorded, in_pieces
from archiver.demo.kinds import KINDS_EMULATED, data_of
from archiver.demo.listener import Listener, Reply, Request, json_reply, text_reply
from archiver.demo.records import FLAT_STEMS, STEMS_OF, EmulatedTask, Seconds, completed_at, path_of

API_KEY = "emulated-key-0123456789abcdef"
LINK_LIFE = timedelta(minutes=20)
"""The life of a link of download-url (provider's docs)."""
RETENTION = timedelta(days=14)
REQUESTS = 20
WINDOW: Seconds = 9.9
"""The docs say 10 s; requests that their sender spaces exactly may arrive a little closer together."""


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
class _File:
    task: EmulatedTask
    path: str
    audio: EmulatedStem | Recorded


_KIND_AT = {KINDS[kind].path: kind for kind in KINDS_EMULATED}
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Emulator:
    """The provider, from entering the context to leaving it; both listeners are then closed.

    `clock` decides readiness, expiry and the life of links; requests are counted in real time, for each key of its own.
    """

    def __init__(
        self,
        audio: Mapping[str, Audio] | None = None,
        *,
        api_key: str = API_KEY,
        further_keys: Collection[str] = (),
        clock: Clock = _now,
        enforce_rate_limit: bool = False,
    ) -> None:
        self.api_key = api_key
        self._audio = audio or {}
        self._clock = clock
        self._limits = {
            f"Bearer {key}": _RateLimit() if enforce_rate_limit else None for key in (api_key, *further_keys)
        }
        self._lock = Lock()
        self._requests: list[Seen] = []
        self._tasks: dict[str, EmulatedTask] = {}
        self._files: dict[str, _File] = {}
        self._asks: Counter[str] = Counter()
        self._links: dict[str, tuple[str, datetime]] = {}
        self._api = Listener(lambda request: self._seen("api", request, self._answer_api(request)))
        self._cdn = Listener(lambda request: self._seen("cdn", request, self._answer_cdn(request)))
        self.base_url = self._api.url
        """The setting `provider.base_url`."""
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
            stems = given.stems
            if stems is None:
                stems = {name: self._audio[name] for name in STEMS_OF[given.kind]}
            task = replace(given, created_at=given.created_at or self._clock(), stems=stems)
            files = [_File(task, path_of(task, stem), in_pieces(audio)) for stem, audio in stems.items()]
            with self._lock:
                self._files |= {file.path: file for file in files}
                self._tasks[task.task_id] = task

    @property
    def requests(self) -> list[Seen]:
        """All requests so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    def calls(self, task_id: str) -> int:
        """Return how often record-info was answered about this id, known or not: at its kind's path, if it has one."""
        with self._lock:
            return self._asks[task_id]

    def _seen(self, listener: Literal["api", "cdn"], request: Request, reply: Reply) -> Reply:
        seen = Seen(listener, request.method, request.target, request.headers, reply.status, time.monotonic())
        with self._lock:
            self._requests.append(seen)
        return reply

    # --- the API

    def _answer_api(self, request: Request) -> Reply:
        if _banned(request):
            return _BANNED
        key = request.headers.get("authorization", "")
        if key not in self._limits:
            # Which HTTP status goes with it here is not recorded; 200 is the one a careless client misses.
            return json_reply(request, 401, "You do not have access permissions")
        limit = self._limits[key]
        if limit is not None and not limit.admits(time.monotonic()):
            return json_reply(request, 429, "Rate limit exceeded", status=429)
        match request.method, request.path:
            case "GET", path if path in _KIND_AT:
                return self._answer_record(request, _KIND_AT[path], key)
            case "GET", "/api/v1/chat/credit":
                return json_reply(request, 200, "success", data=5916.25)
            case "POST", "/api/v1/common/download-url":
                return self._download_url(request)
        return json_reply(request, 404, "Not Found", data=None, status=404)

    def _answer_record(self, request: Request, kind: KindName, key: str) -> Reply:
        data = self._record(request.query("taskId"), kind, key)
        if data is None and kind is KindName.JOBS:
            return json_reply(request, 422, "recordInfo is null", data=None)
        return json_reply(request, 200, "success", data=data)

    def _record(self, task_id: str, kind: KindName, key: str) -> object:
        with self._lock:
            task = self._tasks.get(task_id)
            known = task is not None and task.of is kind
            if known or kind is KindName.SEPARATION:
                self._asks[task_id] += 1
            asks = self._asks[task_id]
        if task is None or not known or (task.api_key is not None and key != f"Bearer {task.api_key}"):
            return None
        ready = asks > task.pending_asks and self._clock() >= completed_at(task)
        return data_of(task if ready else replace(task, answers="pending"), self.cdn_url)

    def _download_url(self, request: Request) -> Reply:
        try:
            url = str(json.loads(request.body)["url"])
        except (ValueError, KeyError, TypeError):
            url = ""
        path = unquote(urlsplit(url).path)
        file = self._files.get(path)
        if not url.startswith(f"{self.cdn_url}/") or file is None or self._expired(file):
            return json_reply(request, 422, "url is wrong", data=None)
        token = secrets.token_hex(16)
        with self._lock:
            self._links[token] = path, self._clock() + LINK_LIFE
        return json_reply(request, 200, "success", data=f"{self.cdn_url}{quote(path)}?token={token}")

    # --- the CDN

    def _answer_cdn(self, request: Request) -> Reply:
        if _banned(request):
            return _BANNED
        if "authorization" in request.headers:
            return text_reply(403, "the key does not belong here")
        file = self._files.get(request.path)
        if file is None or self._expired(file):
            return text_reply(404, "not found")
        token = request.query("token")
        if token and not self._opens(token, file):
            return text_reply(403, "this link has expired")
        if file.task.link_status is not None and not token:
            return text_reply(file.task.link_status, "refused")
        if request.method not in {"GET", "HEAD"}:
            return text_reply(405, "method not allowed")
        return _served(request, file.audio)

    def _opens(self, token: str, file: _File) -> bool:
        path, until = self._links.get(token, ("", self._clock()))
        return path == file.path and self._clock() < until

    def _expired(self, file: _File) -> bool:
        return self._clock() >= completed_at(file.task) + RETENTION


class _RateLimit:
    """REQUESTS requests in any WINDOW; those that are turned away do not count (provider's docs)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._admitted: deque[Seconds] = deque(maxlen=REQUESTS)

    def admits(self, now: Seconds) -> bool:
        with self._lock:
            if len(self._admitted) == REQUESTS and now - self._admitted[0] < WINDOW:
                return False
            self._admitted.append(now)
            return True


def _banned(request: Request) -> bool:
    return request.headers.get("user-agent", "").startswith("Python-urllib")


_BANNED = text_reply(403, "error code: 1010")


# --- what the CDN serves


_TYPES = {"wav": "audio/wav", "png": "image/png", "mp4": "video/mp4"}


def _served(request: Request, audio: EmulatedStem | Recorded) -> Reply:
    media = _TYPES.get(request.path.rpartition(".")[2], "audio/mpeg")
    headers = {"Content-Type": media, "ETag": audio.etag, "Accept-Ranges": "bytes"}
    size = len(audio)
    span = _range(request, audio)
    if span is None:
        return Reply(200, headers, audio.chunks(0, size), size)
    start, stop = span
    if start >= stop:
        return Reply(416, {"Content-Range": f"bytes */{size}"}, (), 0)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Reply(206, headers, audio.chunks(start, stop), stop - start)


def _range(request: Request, audio: EmulatedStem | Recorded) -> tuple[int, int] | None:
    """Return the span asked for (empty: not satisfiable), or None for the whole; RFC 9110, section 14."""
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if request.method != "GET" or wanted is None or not any(wanted.groups()):
        return None
    if request.headers.get("if-range", audio.etag) != audio.etag:
        return None
    first, last = wanted.groups()
    if first and last and int(last) < int(first):
        return None
    size = len(audio)
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


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
