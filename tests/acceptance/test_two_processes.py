"""Two processes on one ledger, and what each append and each transaction leaves on the disk before it returns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from archiver.core.model import TaskId
from archiver.demo.records import EmulatedTask
from tests.house import QueueFile
from tests.worlds.site import Site, stems_of


def test_daemon_and_backfills_at_once_on_one_ledger_do_each_task_once(site: Site) -> None:
    tasks = [EmulatedTask(task_id=f"shared-{n:04}", stems=stems_of("vocal", "drums", seed=str(n))) for n in range(12)]
    site.emulator.add(*tasks)
    site.queue.write_text("".join(f"{task.task_id}\n" for task in tasks))
    with site.daemon() as daemon:
        backfills = [
            subprocess.Popen(
                site.command("backfill", "--json"),
                env=site.env,
                cwd=site.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]
        said = [json.loads(process.communicate(timeout=120)[0]) for process in backfills]
        site.wait_for([task.task_id for task in tasks])
        assert daemon.stop() == 0
    assert [each["verdict"] for each in said] == ["done", "done"]
    fetched = Counter(seen.path for seen in site.emulator.requests if seen.listener == "cdn")
    assert set(fetched.values()) == {1}, "a stem was fetched twice"
    assert len(fetched) == 24
    site.oracles(*tasks)


@contextmanager
def system_calls() -> Iterator[list[str]]:
    """Name the functions of `os` that are called meanwhile, in order, without replacing any."""
    called: list[str] = []

    def note(frame: FrameType, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__module__", "") == "posix":
            called.append(str(getattr(function, "__name__", "")))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


def test_append_returns_only_when_lines_and_a_new_files_name_are_on_the_disk(tmp_path: Path) -> None:
    queue = QueueFile(str(tmp_path / "queue.txt"))
    for syncs in (2, 1):  # the file and its folder, then the file alone
        with system_calls() as called:
            queue.append([TaskId("task-0001"), TaskId("task-0002")])
        kept = [name for name in called if name in ("write", "fsync")]
        assert kept == ["write", "write", *["fsync"] * syncs]


def test_second_run_on_a_ledger_says_who_holds_it_and_exits_3_until_that_one_is_gone(site: Site) -> None:
    with site.daemon() as daemon:
        daemon.wait_event("daemon.started")
        second = site.run("run")
        assert second.code == 3
        assert f"has its daemon already: process {daemon.popen.pid} on " in second.err
        assert "since 20" in second.err
        assert site.run("backfill", "-", stdin="").code == 0, "a backfill may run beside it"
        daemon.popen.kill()
        daemon.popen.wait()
    with site.daemon() as third:
        third.wait_event("daemon.started")
        assert third.stop() == 0
