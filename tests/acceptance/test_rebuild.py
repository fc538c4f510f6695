"""A ledger that is gone, and comes back out of a real bucket: by the commands, killed at any moment too."""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from archiver.core.model import task_id
from archiver.core.whole_task import WholeTask
from archiver.demo.records import EmulatedTask
from tests.faults.runner import Order
from tests.fixtures.whole_tasks import manifest_in_format_2, whole_tasks
from tests.house import ledger_at
from tests.worlds.site import PREFIX, Site, stems_of

DONE = (0, 2)
"""2 where the one that was killed had just come to its end: the ledger has tasks then."""
KILLS = int(os.environ.get("ARCHIVER_REBUILD_KILLS", "100"))
MANY = int(os.environ.get("ARCHIVER_REBUILD_TASKS", "3000"))


def tasks_in(site: Site) -> list[WholeTask]:
    with closing(ledger_at(f"sqlite:///{site.ledger}")) as ledger:
        return list(ledger.rebuilds.page("", 100_000))


def without_ledger(site: Site) -> None:
    shutil.rmtree(site.ledger.parent)


def test_ledger_comes_back_from_the_bucket_alone_and_nothing_is_archived_twice(site: Site) -> None:
    tasks = [EmulatedTask(task_id=f"kept-{n:04}", stems=stems_of("vocal", "drums", seed=str(n))) for n in range(3)]
    failed = EmulatedTask(task_id="failed-0001", answers="failed", stems=stems_of("vocal", seed="f"))
    site.emulator.add(*tasks, failed)
    site.queue.write_text("".join(f"{task.task_id}\n" for task in (*tasks, failed)))
    assert site.run("backfill").code == 1
    known = tasks_in(site)
    assert site.run("rebuild").code == 2, "it has tasks"
    without_ledger(site)
    asked, objects = len(site.emulator.requests), site.objects()
    done = site.run("rebuild", "--json")
    found = json.loads(done.out)
    assert (done.code, found["exit_code"], found["tasks"], found["folders"]) == (0, 0, 4, 4), done.err
    assert found["ledger"]["tasks"] == {"archived": 3, "failed": 1}
    assert tasks_in(site) == known
    compared = site.run("rebuild", "--check")
    assert compared.code == 0, compared.out
    assert "0 differences" in compared.out
    assert (len(site.emulator.requests), site.objects()) == (asked, objects), "it asked, or wrote"
    site.client().put_object(Bucket=site.bucket, Key=f"{PREFIX}holiday/sea.jpg", Body=b"jpeg")
    assert "holiday" in site.run("rebuild", "--check").out
    assert site.run("backfill").code == 1, "failed is failed"
    assert len([seen for seen in site.emulator.requests if seen.listener == "cdn"]) == 6, "each stem once"


def test_run_and_backfill_refuse_a_ledger_that_is_half_rebuilt(site: Site) -> None:
    site.prove()
    with closing(ledger_at(f"sqlite:///{site.ledger}")) as ledger:
        ledger.rebuilds.begin(now=datetime.now(UTC))
    site.queue.write_text("some-task-0001\n")
    for command in ("run", "backfill"):
        refused = site.run(command)
        assert refused.code == 3
        assert "being rebuilt" in refused.err
    assert site.run("rebuild").code == 0
    assert tasks_in(site) == []


def drawn(count: int) -> list[WholeTask]:
    found: list[WholeTask] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        found.append(data.draw(whole_tasks(task_id(f"task-{len(found):06}"), PREFIX)))

    draw()
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rebuild_that_is_killed_a_hundred_times_ends_as_one_that_was_not(site: Site, tmp_path: Path) -> None:
    assert site.server is not None
    client = site.client()
    # Few are drawn, for that is slow; each stands there under many ids.
    some = drawn(60)
    for number in range(MANY):
        whole, own = some[number % len(some)], f"task-{number:06}"
        text = manifest_in_format_2(whole, task_id=own).decode()
        client.put_object(Bucket=site.bucket, Key=f"{PREFIX}{own}/manifest.json", Body=text.encode())
    assert site.run("rebuild", timeout=300).code == 0
    known, kills = tasks_in(site), 0
    assert len(known) == MANY
    while kills < KILLS:
        without_ledger(site)
        for _ in range(10):
            output = tmp_path / f"killed-{kills}"
            after = random.uniform(0.05, 3)
            order = Order(["rebuild"], site.env, str(site.folder), str(output), kill_after=after)
            if site.server.run(order).code in DONE:
                break
            kills += 1
        else:
            assert site.run("rebuild", timeout=300).code in DONE
        assert tasks_in(site) == known
    print(f"\nkilled {kills} times among {MANY} tasks: the same ledger each time")
