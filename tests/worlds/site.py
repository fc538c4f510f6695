"""A whole site on loopback: emulated provider, real S3 server, queue file, settings, and the command as a process.

Its `oracles` are what must hold after every scenario, whatever was broken on the way.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archiver.core.keys import multipart_probe_key, probe_key, schema_key
from archiver.core.model import TaskId
from archiver.demo.audio import EmulatedStem
from archiver.demo.emulator import API_KEY, Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from archiver.settings import load
from tests import ROOT
from tests.fakes.waiting import until
from tests.faults.runner import Order
from tests.fixtures.manifest_schemas import checked
from tests.house import note_proof
from tests.worlds.forks import ForkServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "stems/"
OF_PROBE = {probe_key(PREFIX), multipart_probe_key(PREFIX), schema_key(PREFIX, 1), schema_key(PREFIX, 2)}
"""The keys of objects that are no task's: of the probes, and of the manifests' schemas."""

Json = Any  # what json.loads gives; the tests say what they expect of it


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[Json]:
        """The JSON log lines on standard error."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    def named(self, event: str) -> list[Json]:
        """The log lines of one event."""
        return [line for line in self.events if line["event"] == event]


@dataclass(slots=True)
class Site:
    """One installation of the service and the world around it."""

    folder: Path
    s3: S3Server
    bucket: str
    emulator: Emulator
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    extra_env: dict[str, str] = field(default_factory=dict)
    server: ForkServer | None = None
    """Carries commands out that end by themselves, in a third of the time that a new interpreter takes."""

    def __post_init__(self) -> None:
        self.configure()

    # --- set-up

    @property
    def queue(self) -> Path:
        return self.folder / "queue.txt"

    @property
    def ledger(self) -> Path:
        return self.folder / "state" / "ledger.db"

    def configure(self, **sections: Mapping[str, object]) -> None:
        """Write the settings file anew, with these changes on top of the ones before."""
        base: dict[str, dict[str, object]] = {
            "provider": {"base_url": self.emulator.base_url, "api_key": API_KEY, "requests_per_10s": 1000},
            "queue": {"path": str(self.queue), "poll_interval": "500ms"},
            "store": {
                "bucket": self.bucket,
                "prefix": PREFIX,
                "endpoint_url": self.s3.endpoint_url,
                "region": "us-east-1",
                "addressing_style": "path",
            },
            "download": {"allow_http": True, "allow_private_addresses": True},
            "ledger": {"url": f"sqlite:///{self.ledger}"},
            "schedule": {
                "pending_first": "200ms",
                "pending_max": "1s",
                "retry_first": "200ms",
                "retry_max": "2s",
                "settled_after": "1ms",
            },
            "http": {"listen": ""},
            "log": {"format": "json", "level": "debug"},
        }
        for name, section in sections.items():
            self.settings.setdefault(name, {}).update(section)
        lines = []
        for name in dict.fromkeys([*base, *self.settings]):
            values = base.get(name, {}) | self.settings.get(name, {})
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        file = self.folder / "archiver.toml"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n")

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "ARCHIVER_CONFIG": str(self.folder / "archiver.toml"),
            **measured(),
            **self.extra_env,
        }

    def prove(self) -> None:
        """Have the store of these settings proven already, whatever it can do."""
        note_proof(load(self.folder / "archiver.toml", self.env).settings, now=datetime.now(UTC))

    # --- the command

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "archiver", *words]

    def run(self, *words: str, stdin: str = "", timeout: float = 90) -> Finished:
        """Run a command to its end; in a fork, where there is a server and that makes no difference."""
        if self.server is not None and self._forks(self.server):
            return self._forked(self.server, words, stdin, timeout)
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def _forks(self, server: ForkServer) -> bool:
        """Whether a fork would do: what can be imported is as it is there, and nothing is to be measured."""
        return "PYTHONPATH" not in self.extra_env and not measured() and not server.busy.locked()

    def _forked(self, server: ForkServer, words: Sequence[str], stdin: str, timeout: float) -> Finished:
        with tempfile.TemporaryDirectory() as folder:
            given, out, err = (Path(folder) / name for name in ("stdin", "stdout", "stderr"))
            given.write_text(stdin)
            order = Order(
                list(words), self.env, str(self.folder), str(out), errors=str(err), stdin=str(given), limit=timeout
            )
            ended = server.run(order)
            if ended.hung:
                raise subprocess.TimeoutExpired(list(words), timeout)
            return Finished(ended.code, out.read_text(), err.read_text())

    @contextmanager
    def daemon(self, *, argv: Sequence[str] | None = None, apart: bool = False) -> Iterator[Process]:
        """Run the daemon as a process; it is killed at the end, if it still lives.

        One that is to be frozen stands `apart`, in a process group of its own: the kernel wakes whoever is stopped in a
        group (by SIGHUP and SIGCONT) when the shell ends that the group was started from.
        """
        log = (self.folder / f"daemon-{time.monotonic_ns()}.log").open("wb+")
        process = subprocess.Popen(
            argv or self.command("run"),
            env=self.env,
            cwd=self.folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            process_group=0 if apart else None,
        )
        with closing(log):
            try:
                yield Process(process, Path(log.name))
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()

    # --- what came of it

    def client(self) -> S3Client:
        return self.s3.client()

    def objects(self) -> dict[str, bytes]:
        """Every object in the bucket, read back, but for the two of the probe."""
        with closing(self.client()) as client:
            keys = self._keys_by(client)
            return {key: client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def uploads(self) -> list[str]:
        """Keys of the multipart uploads that are still open; one of a proof that died is for the next one to abort."""
        with closing(self.client()) as client:
            found = client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in found.get("Uploads", ()) if upload["Key"] not in OF_PROBE]

    def show(self, task_id: str) -> Json:
        return json.loads(self.run("show", task_id, "--json").out)

    def status(self) -> Json:
        return json.loads(self.run("status", "--json").out)

    def wait_for(self, task_ids: Sequence[str], *, seconds: float = 60) -> None:
        """Wait until every task's manifest stands in the bucket."""
        wanted = {f"{PREFIX}{task_id}/manifest.json" for task_id in task_ids}
        give_up = time.monotonic() + seconds
        with closing(self.client()) as client:
            while missing := wanted - self._keys_by(client):
                if time.monotonic() > give_up:
                    raise AssertionError(f"not archived after {seconds} s: {sorted(missing)}")
                time.sleep(0.2)

    def _keys(self) -> set[str]:
        with closing(self.client()) as client:
            return self._keys_by(client)

    def _keys_by(self, client: S3Client) -> set[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())} - OF_PROBE

    def oracles(self, *tasks: EmulatedTask) -> None:
        """Assert integrity and no extras: every stem equals its source, every object stands in a manifest."""
        objects = {key: data for key, data in self.objects().items() if not key.startswith(f"{PREFIX}_archive/")}
        accounted: set[str] = set()
        for task in tasks:
            folder = f"{PREFIX}{task.task_id}/"
            manifest = checked(objects[f"{folder}manifest.json"])
            accounted |= {f"{folder}manifest.json", f"{folder}record-info.json"}
            accounted |= {stem["key"] for stem in manifest["stems"] if "key" in stem}
            assert {stem["name"]: stem.get("sha256") for stem in manifest["stems"]} == sources(task), task.task_id
            for stem in manifest["stems"]:
                assert hashlib.sha256(objects[stem["key"]]).hexdigest() == stem["sha256"]
                assert len(objects[stem["key"]]) == stem["bytes"]
        without = {TaskId(key.removeprefix(PREFIX).partition("/")[0]) for key in objects.keys() - accounted}
        for folder in (f"{PREFIX}{task_id}/" for task_id in without):
            ended = json.loads(objects[f"{folder}manifest.json"])
            assert (ended["state"] in {"failed", "missing"}, ended["stems"]) == (True, [])
            accounted |= {f"{folder}manifest.json"} | {f"{folder}record-info.json"} & set(objects)
        assert set(objects) == accounted
        assert self.uploads() == []


def sources(task: EmulatedTask) -> dict[str, str]:
    """Return the SHA-256 of each stem as the provider serves it."""
    assert task.stems is not None, "give the task its stems, so that they can be compared"
    return {
        name: audio.sha256 if isinstance(audio, EmulatedStem) else hashlib.sha256(audio).hexdigest()
        for name, audio in task.stems.items()
    }


@dataclass(slots=True)
class Process:
    """A daemon at work."""

    popen: subprocess.Popen[bytes]
    log_path: Path

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def stop(self, timeout: float = 45) -> int:
        """Send SIGTERM once the process heeds it, and return the exit code."""
        until(lambda: self.popen.poll() is not None or self._heeds(signal.SIGTERM), 30)
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout)

    def _heeds(self, number: int) -> bool:
        """Others may have done all its work before it was up."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> number - 1 & 1)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def events(self) -> list[Json]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def wait_event(self, name: str, *, seconds: float = 30, **fields: object) -> Json:
        """Wait until an event with these fields is logged, and return it."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            for line in self.events:
                if line["event"] == name and all(line.get(key) == value for key, value in fields.items()):
                    return line
            if self.popen.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {name} {fields} (exit {self.popen.poll()}) in:\n{self.log[-4000:]}")


def measured() -> dict[str, str]:
    """What a child process must be told to be part of a measurement of coverage; nothing when there is none."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


def stems_of(*names: str, size: int = 50_000, seed: str = "") -> dict[str, EmulatedStem]:
    """Synthetic audio for the named stems."""
    return {name: EmulatedStem(size, f"{seed}{name}") for name in names}
