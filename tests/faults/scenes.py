"""Sets the scenes of tests/faults/points.py, stops runs in them, and lets the next start finish."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from archiver.core.model import TaskId
from archiver.core.states import TaskEvent, TaskState
from archiver.demo.audio import EmulatedStem
from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests.faults.points import Point, Scene, Size
from tests.faults.runner import Ended, How, Order, Stop, marker_of
from tests.house import Ledger, ledger_at
from tests.worlds.forks import ForkServer
from tests.worlds.site import OF_PROBE, Site

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1 << 20
PART = 5 * MIB
SMALL = 600_000
"""Bytes; more than a socket gives at once, so that there is a middle."""
LARGE = 2 * PART + SMALL
"""A first, a middle and a last part."""
PAGE = b"<html><body>Not found</body></html>"

STORE = {"single_put_max": "5MiB", "part_size": "5MiB"}
FEW = {"concurrency": 4, "tasks_in_flight": 2}
SOON = {"pending_first": "100ms", "retry_first": "100ms"}


@dataclass(slots=True)
class Stage:
    """One site on which runs are stopped, and the tasks that it was given."""

    site: Site
    server: ForkServer
    fresh: bool = False
    tasks: list[EmulatedTask] = field(default_factory=list)
    _runs: int = 0

    def __post_init__(self) -> None:
        # Reading all of the system's certificates is a quarter of a start, and nothing here speaks TLS.
        first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
        one = self.site.folder / "ca.pem"
        one.write_text(first + end)
        self.site.extra_env["SSL_CERT_FILE"] = str(one)
        self.site.configure(store=STORE, download=FEW, queue={"poll_interval": "100ms"}, schedule=SOON)

    def give(self, task: EmulatedTask) -> Path:
        """Make the task known to the provider and write the file of ids that names it alone."""
        self.tasks.append(task)
        self.site.emulator.add(task)
        file = self.site.folder / f"{task.task_id}.txt"
        file.write_text(f"{task.task_id}\n")
        return file

    def run(self, *argv: str, stop: Stop | None = None, kill_after: float | None = None) -> Run:
        """Start a process and wait until it has ended."""
        output = self.next_output
        self._runs += 1
        order = Order(
            list(argv),
            self.site.env,
            str(self.site.folder),
            str(output),
            stop=stop,
            kill_after=kill_after,
            fresh=self.fresh,
        )
        return Run(self.server.run(order), output)

    @property
    def next_output(self) -> Path:
        """Where the next run will write."""
        return self.site.folder / f"run-{self._runs:03}.log"

    def open_ledger(self) -> Ledger:
        return ledger_at(f"sqlite:///{self.site.ledger}")


@dataclass(frozen=True, slots=True)
class Run:
    """A process that has ended."""

    ended: Ended
    output: Path

    @property
    def reached(self) -> bool:
        return marker_of(self.output).exists()

    def __str__(self) -> str:
        return f"{self.ended}, reached: {self.reached}\n{self.output.read_text(errors='replace')[-6000:]}"


def task_of(name: str, size: Size, scene: Scene) -> EmulatedTask:
    """Return a task whose stems go into the store as `size` says."""
    seeds = {"vocal": f"{name}/vocal", "instrumental": f"{name}/instrumental"}
    if scene is Scene.DUPLICATES:
        seeds["instrumental"] = seeds["vocal"]
    elif size is Size.MULTIPART:
        del seeds["instrumental"]
    length = LARGE if size is Size.MULTIPART else SMALL
    return EmulatedTask(task_id=name, stems={stem: EmulatedStem(length, seed) for stem, seed in seeds.items()})


# ---------------------------------------------------------------- what stands before


@dataclass(frozen=True, slots=True)
class Cast:
    """A scene in the making: on which stage, with which task, and the file that names it."""

    stage: Stage
    task: EmulatedTask
    size: Size
    file: Path

    def killed_at(self, single: Stop, multipart: Stop) -> None:
        """Let a run be killed at a step, and make sure that it was."""
        run = self.stage.run("backfill", str(self.file), stop=multipart if self.size is Size.MULTIPART else single)
        assert (run.ended.code, run.reached) == (-9, True), str(run)

    def ended_with(self, code: int) -> None:
        run = self.stage.run("backfill", str(self.file))
        assert run.ended.code == code, str(run)

    def says(self, **changes: object) -> None:
        """From now on the provider says otherwise about the task."""
        self.stage.site.emulator.add(replace(self.task, **changes))  # type: ignore[arg-type]  # fields by name


def _nothing(_: Cast) -> None:
    pass


def _no_ledger(cast: Cast) -> None:
    shutil.rmtree(cast.stage.site.ledger.parent, ignore_errors=True)


def _committed(cast: Cast) -> None:
    cast.killed_at(Stop("put.done", "SIGKILL"), Stop("multipart.completed", "SIGKILL"))


def _dead(cast: Cast) -> None:
    cast.killed_at(Stop("put.begun", "SIGKILL"), Stop("multipart.part", "SIGKILL", nth=2))


def _unheard(cast: Cast) -> None:
    cast.killed_at(Stop("put.begun", "SIGKILL"), Stop("multipart.created", "SIGKILL"))


def _pending(cast: Cast) -> None:
    cast.says(pending_asks=1)


def _not_audio(cast: Cast) -> None:
    cast.stage.site.configure(schedule={"retry_first": "500ms"})
    cast.says(stems={**(cast.task.stems or {}), "vocal": PAGE})


def _refused(cast: Cast) -> None:
    _not_audio(cast)
    cast.ended_with(1)
    cast.says()
    long_ago = 0
    with closing(sqlite3.connect(cast.stage.site.ledger)) as db, db:
        db.execute("UPDATE stems SET not_before = ? WHERE state = 'refused'", (long_ago,))
        db.execute("UPDATE tasks SET not_before = ? WHERE task_id = ?", (long_ago, cast.task.task_id))


def _spent_link(cast: Cast) -> None:
    cast.says(link_status=403)


def _bad_key(cast: Cast) -> None:
    cast.stage.site.configure(provider={"api_key": "wrong-key-000000000000"})


def _paused(cast: Cast) -> None:
    _bad_key(cast)
    cast.ended_with(3)
    _mend(cast)


def _rotated(cast: Cast) -> None:
    queue = cast.stage.site.queue
    before = task_of(f"{cast.task.task_id}-before", Size.SINGLE, Scene.FRESH)
    cast.stage.give(before).replace(queue)
    run = cast.stage.run("run", stop=Stop("ledger.taken_in", "SIGTERM"))
    assert (run.ended.code, run.reached) == (0, True), str(run)


def _fails(cast: Cast) -> None:
    cast.says(answers="failed")


def _failed(cast: Cast) -> None:
    _fails(cast)
    cast.ended_with(1)
    cast.says()


_SET: dict[Scene, Callable[[Cast], None]] = {
    Scene.FRESH: _nothing,
    Scene.NO_LEDGER: _no_ledger,
    Scene.COMMITTED: _committed,
    Scene.DEAD: _dead,
    Scene.UNHEARD: _unheard,
    Scene.DUPLICATES: _nothing,
    Scene.PENDING: _pending,
    Scene.NOT_AUDIO: _not_audio,
    Scene.REFUSED: _refused,
    Scene.SPENT_LINK: _spent_link,
    Scene.BAD_KEY: _bad_key,
    Scene.PAUSED: _paused,
    Scene.ROTATED: _rotated,
    Scene.FAILS: _fails,
    Scene.FAILED: _failed,
}


def _mend(cast: Cast) -> None:
    """End the trouble of the scene; refused links stay, for there is a way round them."""
    if not cast.task.link_status:
        cast.stage.site.configure(provider={"api_key": API_KEY})


# ---------------------------------------------------------------- the stop, and what follows


def stop_at(stage: Stage, point: Point, size: Size, how: How) -> None:
    """Set the scene with a task of its own, stop a run there, and make sure that it really was stopped there."""
    name = f"{point.name}-{size}-{how}".lower().replace(" ", "-").replace("'", "")
    task = task_of(name, size, point.scene)
    cast = Cast(stage, task, size, stage.give(task))
    _SET[point.scene](cast)
    with _mended_meanwhile(stage.next_output, cast) if point.scene is Scene.NOT_AUDIO else nullcontext():
        run = stage.run(*_argv(point, cast), stop=Stop(point.step, how, point.nth))
    assert run.reached, f"{point.name}, {how}: the step was never passed: {run}"
    assert not run.ended.hung, f"{point.name}, {how}: hung: {run}"
    if how == "SIGKILL":
        assert run.ended.code == -9, str(run)
    elif how == "SIGTERM":
        assert run.ended.code == point.on_sigterm, str(run)
    else:
        assert run.ended.code in {0, 1, 3}, str(run)
    _mend(cast)
    if point.scene is Scene.FAILS:
        cast.says()


@contextmanager
def _mended_meanwhile(output: Path, cast: Cast) -> Iterator[None]:
    """Let the origin have the audio again as soon as the step was reached: a third page would be refused."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and not marker_of(output).exists():
            over.wait(0.005)
        cast.says()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _argv(point: Point, cast: Cast) -> list[str]:
    if point.command == "run":
        _hand_over(point, cast)
        return ["run"]
    return ["retry", "--all-failed"] if point.command == "retry" else ["backfill", str(cast.file)]


def _hand_over(point: Point, cast: Cast) -> None:
    """Bring the id into the daemon's queue file; in a new file where it is rotated."""
    queue = cast.stage.site.queue
    if point.scene is Scene.ROTATED:
        cast.file.replace(queue)
        return
    with queue.open("a") as appended:
        appended.write(cast.file.read_text())


def finish(stage: Stage, point: Point) -> None:
    """Start once more, plainly, and check that all ends as it would have without the stops."""
    ids = [task.task_id for task in stage.tasks]
    if point.command == "run":
        with stage.site.daemon() as daemon:
            stage.site.wait_for(ids)
            assert daemon.stop() == 0, daemon.log[-6000:]
    else:
        if point.scene is Scene.FAILS:
            stage.run("retry", "--all-failed")
        file = stage.site.folder / "all.txt"
        file.write_text("".join(f"{each}\n" for each in ids))
        run = stage.run("backfill", str(file))
        assert run.ended.code == 0, str(run)
    # There a sidecar had to say what came before, and later what came after all.
    check(stage, replaced=_REPLACED.get(point.scene, ()), again=point.scene is Scene.FAILS)


_REPLACED = {
    Scene.REFUSED: ("/manifest.json",),
    Scene.FAILED: ("/manifest.json", "/record-info.json"),
    Scene.FAILS: ("/manifest.json", "/record-info.json"),
}


def check(stage: Stage, *, replaced: tuple[str, ...] = (), again: bool = False) -> None:
    """The oracles: integrity, no extras, no second version, and every id archived in the ledger.

    Only a sidecar has a second version, and only where it was `replaced` for good reason.
    """
    stage.site.oracles(*stage.tasks)
    found = versions(stage.site)
    if again:
        # Who finds the manifest of a failure that the ledger has not, asks again, and may write of a second failure.
        assert all(count in {2, 3} for key, count in found.items() if key.endswith("/manifest.json"))
        found = {key: 2 if key.endswith("/manifest.json") else count for key, count in found.items()}
    now = datetime.now(UTC)
    with closing(stage.open_ledger()) as ledger:
        for key in _of_quarantined(stage, ledger):
            found[key] = min(found[key], 1)
        for task in stage.tasks:
            row = ledger.reports.show(TaskId(task.task_id))
            assert row is not None, f"{task.task_id} is lost"
            assert row.state is TaskState.ARCHIVED, row
        overview = ledger.reports.overview(now=now, at_risk=timedelta())
        assert overview.tasks[TaskState.ARCHIVED] == sum(overview.tasks.values()) == len(stage.tasks)
        assert (overview.working, overview.pauses) == (0, ())
        assert ledger.uploads.of_dead(lambda _: False) == []
    assert found == {key: 2 if key.endswith(replaced) else 1 for key in stage.site._keys()}
    assert list((stage.site.folder / "state").glob("*.owners/*.lock")) == [], "an owner's lock is left"


def _of_quarantined(stage: Stage, ledger: Ledger) -> Iterator[str]:
    """Yield manifests that may tell once more of the same end: of tasks that were quarantined after the first."""
    for key in stage.site._keys():
        task, _, name = key.removeprefix("stems/").partition("/")
        row = ledger.reports.show(TaskId(task)) if name == "manifest.json" else None
        if row is not None and any(each.event == TaskEvent.QUARANTINED for each in row.history):
            yield key


def versioning(client: S3Client, bucket: str) -> None:
    """Make the bucket keep what is overwritten, so that an overwritten object leaves its trace."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def versions(site: Site) -> dict[str, int]:
    """How many versions, delete markers included, there are of each key but the probe's."""
    found: dict[str, int] = {}
    with closing(site.client()) as client:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=site.bucket):
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                found[entry["Key"]] = found.get(entry["Key"], 0) + 1
    return {key: count for key, count in found.items() if key not in OF_PROBE}
