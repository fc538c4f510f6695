"""`run` and any number of `worker`s on one PostgreSQL ledger, as processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from archiver.demo.emulator import EmulatedTask, Emulator
from archiver.demo.seaweed import S3Server
from tests.integration.site import Site, stems_of


@pytest.fixture
def site(tmp_path: Path, s3_server: S3Server, bucket: str, postgres_url: str) -> Iterator[Site]:
    with Emulator() as emulator:
        yield Site(tmp_path, s3_server, bucket, emulator, settings={"ledger": {"url": postgres_url}})


def give(site: Site, count: int) -> list[EmulatedTask]:
    """Let the provider have so many tasks, and the queue file their ids."""
    tasks = [
        EmulatedTask(task_id=f"shared-{n:04}", stems=stems_of("vocal", "drums", seed=str(n))) for n in range(count)
    ]
    site.emulator.add(*tasks)
    with site.queue.open("a") as lines:
        lines.writelines(f"{task.task_id}\n" for task in tasks)
    return tasks


def fetches(site: Site) -> Counter[str]:
    """How often each stem was fetched."""
    return Counter(seen.path for seen in site.emulator.requests if seen.listener == "cdn")


def test_two_intakes_and_two_workers_on_one_ledger_do_each_task_once_and_stop_clean(site: Site) -> None:
    tasks = give(site, 12)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(site.daemon(argv=site.command(command)))
            for command in ("run", "run", "worker", "worker")
        ]
        site.wait_for([task.task_id for task in tasks])
        assert [process.stop() for process in processes] == [0, 0, 0, 0]
    counts = fetches(site)
    assert len(counts) == 24
    assert set(counts.values()) == {1}, "a stem was fetched twice"
    for process in processes[:2]:
        assert not [line for line in process.events if line["event"] == "task.claimed"], "an intake did a worker's work"
    site.oracles(*tasks)
