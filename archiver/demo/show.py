"""The demo: the service as production runs it, on an emulated provider and a real S3 server, on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from archiver.core.keys import multipart_probe_key, probe_key
from archiver.core.manifest import seal_of
from archiver.core.model import ARCHIVE_FOLDER
from archiver.core.records.kinds.names import KindName
from archiver.demo import song
from archiver.demo.audio import Audio
from archiver.demo.emulator import Emulator
from archiver.demo.kinds import line_of, names_of
from archiver.demo.others import files_of_others, written_of
from archiver.demo.records import STEMS_OF, EmulatedTask, form_of
from archiver.demo.seaweed import S3Server, seaweed

BUCKET = "stem-archive"
PREFIX = "stems/"
FAILED = "demo-failed"
BACKFILL_SECONDS = 45.0
"""Seconds that the service may take before the demo gives it up."""

WIDE = 130
"""Columns of a terminal that has room for whole hashes."""

_BEFORE = """\
This archives the stems of a song as the service does it, and reads them back:
the provider is emulated, the S3 server is real, both are on this machine alone.
It takes about a quarter of a minute. [bold]One task is made to fail[/], demo-failed,
so that you see how that looks.
"""
_NEXT = {"next": "stem-archiver init   # your own key and bucket"}

_SETTINGS = """\
# The demo's settings: see config/archiver.example.toml for what each key means.

[provider]
base_url = "{base_url}"
api_key_file = "kie-api-key"
requests_per_10s = 60

[queue]
path = "queue.txt"

[store]
bucket = "{bucket}"
prefix = "{prefix}"
endpoint_url = "{endpoint_url}"
region = "{region}"
addressing_style = "path"

[download]
allow_http = true
allow_private_addresses = true

[ledger]
url = "sqlite:///ledger.sqlite"

[page]
listen = "127.0.0.1:0"

[schedule]
pending_first = "1s"
pending_max = "2s"
settled_after = "2s"
"""


def run_demo(console: Console, *, keep: Path | None = None, page: bool = False) -> int:
    """Archive a synthesized song through the real commands, and check what came out.

    What was archived, the ledger and the settings stay in `keep`; without it nothing is left, and nothing is left
    running in any case. With `page` it ends with the page on it, until SIGINT or SIGTERM. Returns 0 when every
    object is as it should be, 1 when something differs, 2 when `keep` cannot be used.
    """
    with ExitStack() as stack:
        stack.enter_context(_exit_on_signals())
        try:
            folder = stack.enter_context(_folder(keep))
        except OSError as fault:
            console.print(f"[bold red]--keep:[/] {escape(str(fault))}", highlight=False)
            return 2
        stack.enter_context(_own_environment())
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="stem-archiver-s3-"))
        console.print(_BEFORE, highlight=False)
        _say(console, f"A song: {len(song.INSTRUMENTS)} stems and two mixes, synthesized and encoded as MP3")
        stems = song.stems()
        _say(console, "A provider (its API and its CDN) and an S3 server (SeaweedFS), on loopback")
        with Emulator(stems) as emulator, seaweed(Path(data)) as s3:
            demo = _Demo(console, folder, stems, emulator, s3, keeps=keep is not None)
            code = demo.run()
            if page:
                demo.page()
            return code


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder that is there and empty, and without `keep` is gone at the end; raise OSError."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="stem-archiver-demo-") as folder:
            yield Path(folder)
        return
    kept = keep.absolute()
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(kept.iterdir()):
        raise FileExistsError(f"{kept} is not empty; name a folder that is, or a new one")
    yield kept


def _say(console: Console, text: str) -> None:
    console.print(f"[bold cyan]▸[/] {text}", highlight=False)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack, so that the servers end with us."""

    def leave(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _own_environment() -> Iterator[None]:
    """Keep the user's own settings, accounts and proxies away from this process and those it starts."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("ARCHIVER_", "AWS_")):
            del os.environ[name]
    here = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    os.environ.update(here | nowhere)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def demo_tasks(now: datetime, stems: Mapping[str, bytes]) -> Sequence[EmulatedTask]:
    """Return a task for each way in which the provider ends one; the ages are such that the deadlines differ."""

    def ago(days: float) -> datetime:
        return now - timedelta(days=days)

    with_origin = {name: stems[name] for name in ("vocal", "instrumental", "origin")}
    quick, slow = timedelta(seconds=83), timedelta(seconds=132)
    length = song.DURATION
    return (
        EmulatedTask(task_id="demo-separate", created_at=ago(3), ready_after=quick, duration=length),
        EmulatedTask(
            task_id="demo-split-stem", kind="split_stem", created_at=ago(0.1), ready_after=slow, duration=length
        ),
        EmulatedTask(task_id="demo-pending", created_at=now, pending_asks=3, duration=length),
        EmulatedTask(task_id=FAILED, answers="failed", created_at=ago(1), ready_after=quick),
        EmulatedTask(
            task_id="demo-callback",
            answers="callback_exception",
            created_at=ago(11),
            ready_after=quick,
            stems=with_origin,
            duration=length,
        ),
        EmulatedTask(task_id="demo-market-job", of=KindName.JOBS, created_at=ago(0.2), ready_after=quick),
        EmulatedTask(
            task_id="demo-music",
            of=KindName.MUSIC,
            created_at=ago(5),
            ready_after=slow,
            stems={name: stems[name] for name in ("origin", "instrumental")},
            duration=length,
        ),
        EmulatedTask(task_id="demo-wav", of=KindName.WAV, created_at=ago(7), stems={"chord": song.wav()}),
        *(
            EmulatedTask(task_id=f"demo-{kind.value}", of=kind, created_at=ago(6), ready_after=quick, stems=files)
            for kind, files in files_of_others().items()
        ),
    )


@dataclass(frozen=True, slots=True)
class _Stored:
    """One object, as it was read back."""

    key: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def task_id(self) -> str:
        return self.key.removeprefix(PREFIX).partition("/")[0]


@dataclass(frozen=True, slots=True)
class _Demo:
    console: Console
    folder: Path
    stems: Mapping[str, bytes]
    emulator: Emulator
    s3: S3Server
    keeps: bool

    def run(self) -> int:
        tasks = demo_tasks(datetime.now(UTC), self.stems)
        self.emulator.add(*tasks)
        self._write_settings()
        with (self.folder / "queue.txt").open("a") as queue:
            queue.writelines(f"{line_of(task)}\n" for task in tasks)
        with closing(self.s3.client()) as client:
            client.create_bucket(Bucket=BUCKET)
        command = self._shown("backfill")
        _say(
            self.console, f"{len(tasks)} task ids, of each kind one, stand in the queue file; now: [bold]{command}[/]\n"
        )
        code = self._command("backfill")
        _say(self.console, "What stands in the bucket, read back and hashed again:")
        stored = list(self._read_back())
        manifests = {item.task_id: json.loads(item.data) for item in stored if item.key.endswith("/manifest.json")}
        self._print_table(stored, manifests)
        _say(self.console, "The task that was made to fail: the provider made no audio of it.\n")
        self._command("show", FAILED)
        differences = list(_differences(stored, manifests, _expected(tasks, self.stems)))
        if code != 1:
            differences.insert(0, f"backfill: ended with {code}, not with 1, which tells of the failed task")
        return self._close(differences, len(stored))

    def page(self) -> None:
        """Serve the page of what was archived, until a signal."""
        _say(self.console, f"And the page: [bold]{self._shown('page')}[/], until Ctrl-C; open the second address")
        with subprocess.Popen(self._argv("page"), env=self._environment()) as serving:  # noqa: S603 - as above
            try:
                serving.wait()
            except (KeyboardInterrupt, SystemExit):
                serving.terminate()

    def _write_settings(self) -> None:
        key = self.folder / "kie-api-key"
        key.touch(mode=0o600)
        key.write_text(f"{self.emulator.api_key}\n")
        settings = _SETTINGS.format(
            base_url=self.emulator.base_url,
            endpoint_url=self.s3.endpoint_url,
            region=self.s3.region,
            bucket=BUCKET,
            prefix=PREFIX,
        )
        (self.folder / "archiver.toml").write_text(settings)

    def _argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "archiver", "--config", str(self.folder / "archiver.toml"), *words]

    def _shown(self, *words: str) -> str:
        return escape(shlex.join(["stem-archiver", *self._argv(*words)[3:]]))

    def _command(self, *words: str) -> int | None:
        """Run the service's own command on this terminal; None when it took too long."""
        try:
            return subprocess.run(  # noqa: S603 - this very program
                self._argv(*words), env=self._environment(), check=False, timeout=BACKFILL_SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            return None

    def _environment(self) -> dict[str, str]:
        """Our environment, and the store's credentials where a user would put them."""
        keys = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        return {**os.environ, **keys}

    def _read_back(self) -> Iterator[_Stored]:
        """Read every object of a task, and leave a copy of it as a file."""
        with closing(self.s3.client()) as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
                for entry in page.get("Contents", []):
                    own = entry["Key"].startswith(f"{PREFIX}{ARCHIVE_FOLDER}/")
                    if own or entry["Key"] in {probe_key(PREFIX), multipart_probe_key(PREFIX)}:
                        continue
                    stored = _Stored(entry["Key"], client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
                    copy = self.folder / "objects" / stored.key
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(stored.data)
                    yield stored

    def _print_table(self, stored: Sequence[_Stored], manifests: Mapping[str, Mapping[str, str]]) -> None:
        wide = self.console.width >= WIDE
        table = Table(box=SIMPLE_HEAD, highlight=False)
        table.add_column("key", overflow="fold")
        table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("sha256", style="dim", no_wrap=True)
        table.add_column("deadline left", justify="right", max_width=8)
        for index, item in enumerate(stored):
            last = index + 1 == len(stored) or stored[index + 1].task_id != item.task_id
            digest = item.sha256 if wide else item.sha256[:12]
            left = _left(manifests.get(item.task_id, {}))
            table.add_row(escape(item.key), f"{len(item.data):,}", digest, left, end_section=last)
        self.console.print(table, soft_wrap=False)

    def _close(self, differences: Sequence[str], count: int) -> int:
        for difference in differences[:10]:
            self.console.print(f"[bold red]✗[/] {escape(difference)}", highlight=False)
        if len(differences) > 10:  # noqa: PLR2004 - as above
            self.console.print(f"[bold red]✗[/] and {len(differences) - 10} more differences", highlight=False)
        if not differences:
            what = f"{count} objects, each equal to its source and to its manifest; none failed but the one announced"
            self.console.print(f"[bold green]✓[/] {what}", highlight=False)
        place = self.folder / "objects" / PREFIX / "demo-split-stem"
        kept = {
            "listen": f"{place}/",
            "read": f"{place}/manifest.json",
            "ask": shlex.join(self._argv("show", "demo-split-stem")),
        }
        gone = {"listen": "nothing is left behind; `demo --keep DIR` leaves the files, to listen to"}
        for label, text in ((kept if self.keeps else gone) | _NEXT).items():
            self.console.print(f"  [bold]{label:7}[/]{escape(text)}", highlight=False, soft_wrap=True)
        return 1 if differences else 0


def _left(manifest: Mapping[str, str]) -> str:
    deadline = manifest.get("deadline")
    if deadline is None:
        return "-"
    hours = int((datetime.fromisoformat(deadline) - datetime.now(UTC)).total_seconds() // 3600)
    return f"{hours // 24}d {hours % 24:02}h"


def _expected(tasks: Sequence[EmulatedTask], stems: Mapping[str, bytes]) -> Mapping[str, str | None]:
    """Return what must stand in the bucket: the SHA-256 of each file, None for the sidecars."""
    expected: dict[str, str | None] = {}
    for task in tasks:
        folder = f"{PREFIX}{task.task_id}"
        expected |= {f"{folder}/manifest.json": None, f"{folder}/record-info.json": None}
        if task.task_id == FAILED:
            continue
        files = {name: stems[name] for name in STEMS_OF[task.kind]} if task.stems is None else task.stems
        names = names_of(replace(task, stems=files))
        expected |= {f"{folder}/{names[name]}.{form_of(task, name)}": _sha256(data) for name, data in files.items()}
        expected |= {f"{folder}/{name}": _sha256(data) for name, data in written_of(task).items()}
    return expected


def _sha256(audio: Audio) -> str:
    return hashlib.sha256(audio).hexdigest() if isinstance(audio, bytes) else audio.sha256


def _differences(
    stored: Sequence[_Stored], manifests: Mapping[str, Mapping[str, object]], expected: Mapping[str, str | None]
) -> Iterator[str]:
    found = {item.key: item.sha256 for item in stored}
    yield from (f"{key}: is not in the bucket" for key in expected if key not in found)
    yield from (f"{key}: should not be in the bucket" for key in found if key not in expected)
    for key, sha256 in found.items():
        if expected.get(key) not in {None, sha256}:
            yield f"{key}: is not what the provider had"
    for task_id, manifest in manifests.items():
        if manifest.get("seal") != f"sha256:{seal_of(manifest)}":
            yield f"{PREFIX}{task_id}/manifest.json: its seal is broken"
        claims = {stem["key"]: stem["sha256"] for stem in _stems_of(manifest)}
        audio = {key: sha256 for key, sha256 in found.items() if key.startswith(f"{PREFIX}{task_id}/")}
        if claims != {key: sha256 for key, sha256 in audio.items() if expected.get(key) is not None}:
            yield f"{PREFIX}{task_id}/manifest.json: says other than what the bucket holds"


def _stems_of(manifest: Mapping[str, object]) -> Iterator[Mapping[str, str]]:
    stems = manifest.get("stems")
    for stem in stems if isinstance(stems, list) else []:
        if isinstance(stem, dict) and "key" in stem:
            yield stem
