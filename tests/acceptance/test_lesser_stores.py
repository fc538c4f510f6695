"""Stores that cannot do all: a file that one cannot take delays no other, and one without ETags is an archive."""

from __future__ import annotations

import shutil

import pytest

from archiver.demo.records import EmulatedTask
from tests.fakes.s3_damage import MODES
from tests.fakes.s3_proxy import S3Proxy
from tests.worlds.site import Site, stems_of

MIB = 1 << 20


@pytest.mark.parametrize("proven", [pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(300)]), False])
def test_large_file_whose_upload_the_store_refuses_delays_none_of_thirty_small_ones(site: Site, proven: bool) -> None:
    """The refusal is known from the proof already, or comes when the file is to be stored."""
    large = EmulatedTask(
        task_id="unstorable-1", stems=stems_of("vocal", size=12 * MIB) | stems_of("drums", size=30_000)
    )
    small = [
        EmulatedTask(task_id=f"small-{number:04}", stems=stems_of("vocal", "drums", size=20_000, seed=str(number)))
        for number in range(30)
    ]
    site.emulator.add(large, *small)
    with S3Proxy(upstream=site.s3.endpoint_url) as proxy:
        refused = MODES["no-multipart"].inflict(proxy)
        site.configure(
            store={"endpoint_url": proxy.url, "single_put_max": "5MiB", "part_size": "5MiB"},
            download={"buffer_budget": "10MiB", "concurrency": 2, "tasks_in_flight": 2},
        )
        if not proven:
            site.prove()  # as one that takes uploads in parts
        done = site.run("backfill", "-", stdin="\n".join(task.task_id for task in (large, *small)))
    assert done.code == 1, done.err
    assert refused.hits > 0
    assert done.named("dependency.paused") == []
    ids = {task.task_id for task in small}
    assert not ids & {line["task_id"] for line in done.named("task.later")}, "one was put off"
    assert {line["task_id"] for line in done.named("task.archived")} >= ids
    stems = {stem["name"]: stem for stem in site.show(large.task_id)["stems"]}
    assert (stems["drums"]["state"], stems["vocal"]["state"]) == ("stored", "refused")
    code = "store.no_multipart" if proven else "store.misfit"
    assert stems["vocal"]["reason"].startswith(code), stems["vocal"]
    assert site.uploads() == []


def test_store_without_etags_is_archived_to_and_a_fresh_ledger_stores_nothing_twice(site: Site) -> None:
    task = EmulatedTask(task_id="bare-000001", stems=stems_of("vocal", size=6 * MIB) | stems_of("drums", size=30_000))
    site.emulator.add(task)
    with S3Proxy(upstream=site.s3.endpoint_url) as proxy:
        taken = MODES["no-etags"].inflict(proxy)
        site.configure(store={"endpoint_url": proxy.url, "single_put_max": "5MiB", "part_size": "5MiB"})
        for _ in range(2):
            done = site.run("backfill", "-", stdin=task.task_id)
            assert done.code == 0, done.err
            assert "ETag" in {line["subject"] for line in done.named("store.degraded")}
            found = site.objects()
            site.oracles(task)
            shutil.rmtree(site.ledger.parent)
        checked = site.run("check", timeout=120)
    assert taken.hits > 0
    assert "the store names none" in checked.out, checked.out
    assert site.objects() == found
