"""The world of one fault: provider, CDN, S3 and host on loopback, one service at work in it, and what must hold after.

The service is the real one with its real adapters. Only its time is ours: waits cost nothing, and its
jobs run as often as the daemon would run them, by a clock that moves when the test says so. Secrets are
planted wherever the world can put one.
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3

from archiver.core.errors import LedgerFault
from archiver.core.model import TaskId
from archiver.core.reports import TaskRow
from archiver.core.states import TaskState
from archiver.demo.seaweed import S3Server
from archiver.settings import Settings
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin, RangedFile
from tests.fakes.s3_proxy import S3Proxy
from tests.fakes.scripted import HttpServer, Reply, Request, reply
from tests.fakes.tls import identity
from tests.fixtures.ledgers import release, retry
from tests.house import (
    DaemonProcess,
    Job,
    Ledger,
    Machine,
    Role,
    SockAddr,
    configure,
    daemon,
    jsonable,
    note_proof,
    s3_client,
    tcp_connect,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Json = Any  # what json.loads gives; the tests say what they expect of it

PREFIX = "stems/"
VICTIM = "victim-0001"
FRESH = "fresh-00002"
CDN = "cdn.example"
ELSEWHERE = "other.example"
INSIDE = "inside.example"
HOST = "127.0.0.1"
PUBLIC = "93.184.216.34"
"""Stands for the CDN: connections to it are led to the scripted origin."""

POLL = timedelta(seconds=30)
LIVENESS = 2 * POLL
WATCHED = timedelta(minutes=15)
"""So long each minute is looked at; what waits for hours is looked for each ten minutes."""
RECOVERY = timedelta(hours=7)
"""Longer than any wait of a task that will be tried again by itself."""

SMALL = {"vocal": 30_000, "instrumental": 21_000}
LARGE = {"vocal": (5 << 20) + 300_000, "instrumental": 30_000}
"""Bytes by stem; the large one goes up in two parts. One alone would be no plausible separation."""

API_KEY = "kie-planted-api-key-9d1f7c"
SIGNED_QUERY = "planted-signature-b7a2e0"
CALLBACK_TOKEN = "planted-callback-token-51c3"
BOT_TOKEN = "bot8123456789:AAplanted-bot-token_0f5e"
PROXY_PASSWORD = "planted-proxy-password-77"
USERINFO = "planted-userinfo-4c90"
RESCUE_TOKEN = "planted-rescue-token-e11d"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEPr//////////wEaCXVzLWVhc3QtMSJHMEUCIQDplantedSessionToken+a3b8=="


# ---------------------------------------------------------------- time


@dataclass(slots=True)
class Time:
    """The service's time: `at` moves only by `advance`, and waits inside a call cost nothing."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    elapsed: float = 0.0
    """Seconds that really passed, however the wall clock jumped."""
    _skipped: float = 0.0
    _speed: float = 1.0
    _since: float = field(default_factory=time.monotonic)
    _began: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.at

    def now(self) -> datetime:
        return self.at

    @property
    def of_others(self) -> datetime:
        """The time on other machines, whose clocks are right."""
        return self._began + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self._skipped + (time.monotonic() - self._since) * self._speed

    def run_at(self, speed: float) -> None:
        """Let the monotonic clock run so many times as fast as ours."""
        self._skipped, self._since, self._speed = self.monotonic(), time.monotonic(), speed

    def sleep(self, seconds: float) -> None:
        self._skipped += seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        if not condition.wait(0.001):
            self._skipped += seconds

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.elapsed += seconds
        self._skipped += seconds

    def jump(self, span: timedelta) -> None:
        """Set the wall clock, as an operator or NTP does; the monotonic clock knows nothing of it."""
        self.at += span


# ---------------------------------------------------------------- what the provider and the CDN say

ApiFault = Callable[[Request], Reply | None]
"""Answers a request in the API's place, or leaves it alone with None."""

CdnFault = Callable[[Request, bytes], Reply | None]
"""The same for the CDN, which would have answered with these bytes."""


@lru_cache
def audio(task_id: str, stem: str, size: int) -> bytes:
    return mp3(size, hash_of(f"{task_id}/{stem}"))


def certificates(folder: Path) -> tuple[Mapping[str, ssl.SSLContext | None], Path]:
    """Make the certificates of a world, and the file of what a client must trust to believe them."""
    names = [CDN, ELSEWHERE, "127.0.0.1"]
    made = {
        "good": identity(folder, names),
        "expired": identity(folder, [INSIDE, *names], expired=True),
        "wrong": identity(folder, ["wrong.example"]),
    }
    trusted = folder / "trusted"
    trusted.write_bytes(b"".join(path.read_bytes() for path in folder.glob("*.pem")))
    return {"none": None, **{name: each.server for name, each in made.items()}}, trusted


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


@dataclass(slots=True)
class World:
    """One bucket, one queue, one ledger, and everything outside that can break."""

    folder: Path
    s3: S3Server
    bucket: str
    api: HttpServer
    cdn: Origin
    proxy: S3Proxy
    client: S3Client
    """Goes to the bucket past the proxy."""
    certificates: Mapping[str, ssl.SSLContext | None]
    """`good`, `wrong` (of another host), `expired`, and `none` for no TLS at all."""
    later: ExitStack
    """Ends what a fault starts."""
    tls: bool = False
    time: Time = field(default_factory=Time)
    sizes: Mapping[str, int] = field(default_factory=lambda: dict(SMALL))
    created_at: datetime | None = None
    """When the provider says that tasks were created; None: now."""
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    names: dict[str, str] = field(
        default_factory=lambda: {CDN: PUBLIC, ELSEWHERE: PUBLIC, INSIDE: "10.0.0.7", HOST: HOST}
    )
    """Addresses by name; any other name does not exist."""
    api_fault: ApiFault | None = None
    record_fault: Callable[[dict[str, Any]], object] | None = None
    """Changes the `data` of a good record."""
    cdn_fault: CdnFault | None = None
    session: boto3.session.Session | None = None
    store_timeout: float = 1.0
    """Seconds that the service waits for an answer of the store."""
    repairs: list[Callable[[], object]] = field(default_factory=list)
    """What `mend` does beside lifting the faults."""
    asked: dict[str, int] = field(default_factory=dict)
    """How often record-info was asked about each id."""
    rescues: int = 0
    cdn_seen: list[Request] = field(default_factory=list)
    log: io.StringIO = field(default_factory=io.StringIO)
    _api_lock: threading.Lock = field(default_factory=threading.Lock)

    # --- the queue

    @property
    def queue(self) -> Path:
        return self.folder / "queue.txt"

    @property
    def ledger(self) -> Path:
        return self.folder / "state" / "ledger.db"

    def prove(self) -> None:
        """Have the store proven already."""
        note_proof(self.configured(), now=self.time.at)

    def accept(self, task_id: str) -> None:
        """Append an id to the queue file."""
        with self.queue.open("a") as lines:
            lines.write(f"{task_id}\n")

    # --- the API

    def answer_api(self, request: Request) -> Reply:
        with self._api_lock:
            return _dated(self._answer_api(request), self.time.of_others)

    def _answer_api(self, request: Request) -> Reply:
        target = urlsplit(request.target)
        task_id = parse_qs(target.query).get("taskId", [""])[0]
        if task_id:
            self.asked[task_id] = self.asked.get(task_id, 0) + 1
        if self.api_fault is not None and (broken := self.api_fault(request)) is not None:
            return broken
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return envelope(401, "You do not have access permissions")
        if target.path.endswith("/credit"):
            return envelope(200, data=1000)
        if target.path.endswith("/download-url"):
            self.rescues += 1
            url = json.loads(request.body)["url"].partition("?")[0]
            return envelope(200, data=f"{url}?token={RESCUE_TOKEN}")
        data: object = self.record(task_id)
        if self.record_fault is not None:
            data = self.record_fault(self.record(task_id))
        return envelope(200, data=data)

    def record(self, task_id: str) -> dict[str, Any]:
        """Return what record-info says of a finished task, with every secret that a record can hold."""
        created = int((self.created_at or self.time.at).timestamp() * 1000)
        urls = {f"{stem}Url": self.url_of(task_id, stem) for stem in self.sizes}
        return {
            "taskId": task_id,
            "callbackUrl": f"https://hooks.example/done?token={CALLBACK_TOKEN}",
            "successFlag": "SUCCESS",
            "createTime": created,
            "completeTime": created + 90_000,
            "errorCode": None,
            "errorMessage": f"cannot read https://api.telegram.org/file/{BOT_TOKEN}/song.mp3",
            "response": {"id": None, "originUrl": None, "pianoUrl": None, "originData": None, **urls},
        }

    def url_of(self, task_id: str, stem: str) -> str:
        """The vocal's link is signed in its query; the others' are plain."""
        query = f"?sig={SIGNED_QUERY}" if stem == "vocal" else ""
        return f"http{'s' if self.tls else ''}://{CDN}/{task_id}/{stem}.mp3{query}"

    # --- the CDN

    def publish(self, task_id: str) -> None:
        """Let the CDN have the task's stems."""
        for stem in self.sizes:
            body = self.source(task_id, stem)
            self.cdn.script(partial(self._serve, body, RangedFile(body)), path=f"/{task_id}/{stem}.mp3")

    def source(self, task_id: str, stem: str) -> bytes:
        """Return the bytes that the CDN has."""
        return audio(task_id, stem, self.sizes[stem])

    def _serve(self, body: bytes, whole: RangedFile, request: Request) -> Reply:
        self.cdn_seen.append(request)
        if self.cdn_fault is not None and (broken := self.cdn_fault(request, body)) is not None:
            return broken
        return whole(request)

    def resolve(self, host: str, port: int) -> list[SockAddr]:
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(self.names[host], port)]

    def connect(self, address: SockAddr, timeout: float) -> socket.socket:
        return tcp_connect(("127.0.0.1", self.cdn.port) if address[0] == PUBLIC else address, timeout)

    # --- the end of the fault

    def mend(self) -> None:
        """Let everything work again."""
        self.api_fault = self.record_fault = self.cdn_fault = None
        self.proxy.calm()
        for repair in self.repairs:
            repair()

    # --- the service

    def configured(self) -> Settings:
        """Return the settings as they stand now."""
        base: dict[str, dict[str, object]] = {
            "provider": {"base_url": self.api.url, "api_key": API_KEY, "requests_per_10s": 1000, "timeout": "5s"},
            "queue": {"path": str(self.queue), "poll_interval": POLL},
            "store": {
                "bucket": self.bucket,
                "prefix": PREFIX,
                "endpoint_url": self.proxy.url,
                "region": "us-east-1",
                "addressing_style": "path",
                "single_put_max": "5MiB",
                "part_size": "5MiB",
            },
            "download": {"allow_http": not self.tls, "read_timeout": "5s", "concurrency": 4, "tasks_in_flight": 2},
            "ledger": {"url": f"sqlite:///{self.ledger}"},
            "verify": {},
        }
        merged = {name: section | self.settings.get(name, {}) for name, section in base.items()}
        return Settings.model_validate(merged)

    def _client(self, **options: Any) -> S3Client:  # noqa: ANN401 - what the service gives to s3_client
        # One try of botocore's own: its waits between tries are real, and would hide what S3Store does.
        return s3_client(
            **options, session=self.session or self.s3.session, read_timeout=self.store_timeout, attempts=1
        )

    @contextmanager
    def running(self) -> Iterator[Running]:
        """Run the service until the block is left."""
        settings = self.configured()
        environ = {"AWS_SECRET_ACCESS_KEY": self.s3.secret_key, "AWS_SESSION_TOKEN": SESSION_TOKEN}
        log = configure("debug", "json", self.log, secrets=settings.secrets(environ))
        machine = Machine(
            clock=self.time.now,
            monotonic=self.time.monotonic,
            steady=lambda: self.time.elapsed,
            sleep=self.time.sleep,
            wait=self.time.wait,
            resolve=self.resolve,
            connect=self.connect,
            patience=timedelta(milliseconds=300),
            s3_client=self._client,
        )
        with daemon(settings, Role.RUN, log=log, machine=machine) as process:
            try:
                yield Running(self, process)
            finally:
                parts = process.parts
                parts.dispatcher.stop()
                parts.dispatcher.wait_idle(10)
                with suppress(LedgerFault):
                    release(parts.adapters.ledger, parts.adapters.owner, now=self.time.at)

    # --- what came of it

    @property
    def events(self) -> list[Json]:
        """Every line that was logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def objects(self, suffix: str = "") -> dict[str, bytes]:
        """Every object in the bucket whose key ends so, read back."""
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        keys = [entry["Key"] for entry in found if entry["Key"].endswith(suffix)]
        return {key: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def uploads(self) -> list[str]:
        """Keys of the multipart uploads that are still open."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in found.get("Uploads", ())]

    def put(self, key: str, body: bytes) -> None:
        """Put an object into the bucket, past the service."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        """Take an object out of the bucket, as an operator does."""
        self.client.delete_object(Bucket=self.bucket, Key=key)


@contextmanager
def world(
    folder: Path,
    s3: S3Server,
    bucket: str,
    client: S3Client,
    certificates: Mapping[str, ssl.SSLContext | None],
    *,
    tls: bool = False,
) -> Iterator[World]:
    """Build a world in which everything works."""
    secured = certificates["good" if tls else "none"]
    with (
        HttpServer(tls=secured) as api,
        Origin(tls=secured) as cdn,
        S3Proxy(upstream=s3.endpoint_url) as proxy,
        ExitStack() as later,
    ):
        whole = World(folder, s3, bucket, api, cdn, proxy, client, certificates, later, tls)
        api.answer = whole.answer_api
        yield whole


def _dated(answer: Reply, now: datetime) -> Reply:
    """Return the answer with the time of the provider's clock, as its servers send it."""
    if answer.raw is None or not answer.raw.startswith(b"HTTP/1.1 "):
        return answer
    line, end, rest = answer.raw.partition(b"\r\n")
    return replace(answer, raw=line + end + f"Date: {format_datetime(now, usegmt=True)}\r\n".encode() + rest)


def envelope(code: int, msg: str = "success", *, data: object = None, status: int = 200) -> Reply:
    """Return an answer as the provider's API wraps it: packed, in chunks."""
    return reply({"code": code, "msg": msg, "data": data}, status=status, chunked=True, packed=True)


# ---------------------------------------------------------------- a service at work


@dataclass(slots=True)
class Running:
    """The service, driven as the daemon drives it, by the world's clock."""

    world: World
    process: DaemonProcess
    _jobs: dict[str, Job] = field(init=False)
    _due: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._jobs = self.process.jobs()

    @property
    def ledger(self) -> Ledger:
        return self.process.parts.adapters.ledger

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass, and run the jobs whose time has come."""
        self.world.time.advance(seconds)
        now = self.world.time.elapsed
        for name, job in self._jobs.items():
            if self._due.get(name, now) <= now:
                job.run()
                self._due[name] = now + job.every.total_seconds()
        if not self.process.parts.dispatcher.wait_idle(20):
            raise AssertionError("a task hangs")
        if self.process.parts.dispatcher.fault is not None:
            raise self.process.parts.dispatcher.fault

    def pass_time(self, span: timedelta, step: float = 1.0) -> None:
        """Work for so long."""
        until = self.world.time.at + span
        while self.world.time.at < until:
            self.step(step)

    def until_archived(self, task_id: str, within: timedelta) -> timedelta:
        """Work until the task is archived; return how long that took, raise AssertionError past `within`."""
        began = self.world.time.at
        while self.state(task_id) is not TaskState.ARCHIVED:
            waited = self.world.time.at - began
            if waited > within:
                raise AssertionError(f"{task_id} is not archived {within} after the fault: {self.show(task_id)}")
            self.step(3 if waited < LIVENESS else 60 if waited < WATCHED else 600)
        return self.world.time.at - began

    def show(self, task_id: str) -> TaskRow | None:
        return self.ledger.reports.show(TaskId(task_id))

    def state(self, task_id: str) -> TaskState | None:
        row = self.show(task_id)
        return None if row is None else row.state

    def retry(self, task_id: str) -> None:
        """Put the task back to work, as the operator does."""
        assert retry(self.ledger, [TaskId(task_id)], now=self.world.time.at) == [task_id]

    def status(self) -> Json:
        """What `status --json` and `show --json` say."""
        overview = self.ledger.reports.overview(now=self.world.time.at, at_risk=timedelta(hours=48))
        shown = [self.show(task_id) for task_id in (VICTIM, FRESH)]
        return {"status": jsonable(overview), "show": [row and jsonable(row) for row in shown]}
