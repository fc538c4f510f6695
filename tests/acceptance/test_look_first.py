"""A ledger that is deleted after the links have died, on a real store: what stands there is never called lost."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from archiver.demo.records import EmulatedTask
from tests.fakes.s3_proxy import S3Proxy, refuse
from tests.faults.runner import Order, Stop
from tests.worlds.site import PREFIX, Site, stems_of

LONG_AGO = datetime.now(UTC) - timedelta(days=40)
WHOLE = [EmulatedTask(task_id=f"whole-{number:07}", stems=stems_of("vocal", seed=str(number))) for number in range(20)]
HALF, FOREIGN = (EmulatedTask(task_id=f"{name}-00000", stems=stems_of("vocal", "drums")) for name in ("half", "alien"))
"""Of HALF one object stands, and no manifest; of FOREIGN an object that is somebody else's, under our key."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("busy", [False, True])
def test_ids_that_come_again_after_their_links_have_died_are_found_in_the_bucket(site: Site, busy: bool) -> None:
    site.prove()
    site.emulator.add(*WHOLE, HALF)
    ids = [each.task_id for each in WHOLE]
    assert site.run("backfill", "-", stdin="\n".join(ids)).code == 0
    half_archived(site)
    with closing(site.client()) as client:
        client.put_object(Bucket=site.bucket, Key=f"{PREFIX}{FOREIGN.task_id}/drums.mp3", Body=b"of somebody else")
    shutil.rmtree(site.ledger.parent)
    for each in (*WHOLE, HALF, FOREIGN):
        site.emulator.add(EmulatedTask(task_id=each.task_id, stems=each.stems, created_at=LONG_AGO))
    asked, before = sum(map(site.emulator.calls, ids)), site.objects()
    refused = None
    with S3Proxy(upstream=site.s3.endpoint_url) as proxy:
        if busy:
            refused = proxy.on("GetObject", refuse(503, "SlowDown"), times=60)
        site.configure(store={"endpoint_url": proxy.url})
        site.prove()
        done = site.run("backfill", "-", stdin="\n".join([*ids, HALF.task_id, FOREIGN.task_id]))
    assert refused is None or refused.hits > 0
    assert {line["task_id"] for line in done.named("task.archived")} == set(ids), done.err
    ended = {line["task_id"] for name in ("lost", "missing", "failed") for line in done.named(f"task.{name}")}
    assert ended == {HALF.task_id, FOREIGN.task_id}
    states = {stem["name"]: stem["state"] for stem in site.show(HALF.task_id)["stems"]}
    [stands] = [key for key in before if HALF.task_id in key]
    assert {name for name, state in states.items() if state == "stored"} == {stands.split("/")[-1].split(".")[0]}
    after = site.objects()
    assert {key: after[key] for key in before} == before
    assert busy or sum(map(site.emulator.calls, ids)) == asked, "the provider was asked about what stands in the bucket"


def half_archived(site: Site) -> None:
    """Let a process die once one stem is stored."""
    assert site.server is not None
    given = site.folder / "half"
    given.write_text(HALF.task_id)
    env = site.env | {"ARCHIVER_DOWNLOAD__CONCURRENCY": "1"}
    stop = Stop("put.done", "SIGKILL")
    order = Order(["backfill", "-"], env, str(site.folder), os.devnull, stdin=str(given), stop=stop)
    assert site.server.run(order).code < 0
