"""Version 0.1.0 and this one: on one bucket side by side, one after the other on one ledger, and back again."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archiver.core.manifest import seal_of
from archiver.demo.records import EmulatedTask
from tests.faults.runner import Order, Stop
from tests.faults.scenes import versioning, versions
from tests.fixtures.first_version import first_version_in
from tests.fixtures.manifest_schemas import check_schema
from tests.worlds.site import PREFIX, Finished, Site, stems_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LONG_AGO = datetime.now(UTC) - timedelta(days=40)
MISSING = "missing-0001"


def task(name: str) -> EmulatedTask:
    return EmulatedTask(task_id=name, stems=stems_of("vocal", "drums", seed=name))


KEPT, LOST, HALF, REFUSED = (task(f"{name}-0000001") for name in ("kept", "lost", "half", "refused"))
FAILED = EmulatedTask(task_id="failed-00001", answers="failed", stems=stems_of("vocal", "drums", seed="failed"))
ENDS = {
    KEPT.task_id: "archived",
    LOST.task_id: "lost",
    HALF.task_id: "lost",
    FAILED.task_id: "failed",
    REFUSED.task_id: "listed",
    MISSING: "missing",
}
LATE = {"schedule": {"missing_after": "1s"}}


@pytest.fixture(scope="session")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_version_in(tmp_path_factory.mktemp("first-version"))


@pytest.fixture
def site(site: Site) -> Site:
    with closing(site.client()) as client:
        versioning(client, site.bucket)
    site.configure(**LATE)
    site.emulator.add(KEPT, HALF, FAILED, REFUSED)
    expire(site, LOST)
    return site


@pytest.fixture
def old(site: Site, first_version: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site of version 0.1.0 on the same bucket, with a ledger of its own."""
    made = Site(tmp_path_factory.mktemp("old"), site.s3, site.bucket, site.emulator)
    made.configure(**LATE)
    return as_first_version(made, first_version)


def as_first_version(site: Site, package: Path) -> Site:
    """Let the site's commands be those of 0.1.0, with settings that it knows."""
    site.extra_env["PYTHONPATH"] = str(package)
    site.configure(schedule={"settled_after": None})
    assert site.run("--version").out.split()[-1] == "0.1.0"
    return site


def expire(site: Site, *tasks: EmulatedTask) -> None:
    """Let the CDN have thrown the audio away."""
    for each in tasks:
        site.emulator.add(EmulatedTask(task_id=each.task_id, stems=each.stems, created_at=LONG_AGO))


def backfill(site: Site, *ids: str) -> Finished:
    return site.run("backfill", "-", stdin="\n".join(ids))


def all_states(site: Site) -> dict[str, str]:
    """Bring tasks to every state; of HALF one stem is stored, and the other one's links die."""
    with closing(site.client()) as client:
        client.put_object(Bucket=site.bucket, Key=f"{PREFIX}{REFUSED.task_id}/drums.mp3", Body=b"of somebody else")
    if site.server is not None:
        stop = Stop("put.done", "SIGKILL")
        (site.folder / "half").write_text(HALF.task_id)
        env = site.env | {"ARCHIVER_DOWNLOAD__CONCURRENCY": "1"}
        given = str(site.folder / "half")
        order = Order(["backfill", "-"], env, str(site.folder), os.devnull, stdin=given, stop=stop)
        assert site.server.run(order).code < 0
        expire(site, HALF)
    done = backfill(site, *ENDS)
    assert done.code == 1, done.err
    return states(site)


def states(site: Site) -> dict[str, str]:
    return {name: site.show(name)["state"] for name in ENDS}


def manifests(site: Site) -> dict[str, dict[str, object]]:
    """Return every manifest; each keeps to the schema of its format, and its seal is right."""
    found = {}
    for key, data in site.objects().items():
        if key.endswith("/manifest.json"):
            found[key.split("/")[1]] = document = json.loads(data)
            check_schema(document)
            assert document["seal"] == f"sha256:{seal_of(document)}"
    return found


def once(site: Site) -> bool:
    """Return whether no audio was ever written twice."""
    return {count for key, count in versions(site).items() if key.endswith(".mp3")} == {1}


def test_first_version_meets_manifests_of_format_2_and_goes_on(site: Site, old: Site) -> None:
    assert all_states(site) == ENDS
    assert {each["format"] for each in manifests(site).values()} == {2}
    before = site.objects()
    done = backfill(old, *ENDS)
    assert done.code == 1, done.err
    assert states(old) == ENDS
    assert site.objects() == before, "nothing was overwritten, nothing added"
    site.emulator.add(EmulatedTask(task_id=FAILED.task_id, stems=FAILED.stems))
    for each in (old, site):
        assert each.run("retry", FAILED.task_id).code == 0
        assert backfill(each, FAILED.task_id).code == 0
        assert each.show(FAILED.task_id)["state"] == "archived"
    told = manifests(site)[FAILED.task_id]
    assert len(told["stems"]) == 2  # type: ignore[arg-type]
    assert once(site)


def test_this_version_meets_manifests_of_format_1(site: Site, old: Site) -> None:
    expire(site, HALF)
    assert all_states(old) == ENDS
    before, asked = site.objects(), site.emulator.calls(KEPT.task_id)
    assert {each["format"] for each in manifests(site).values()} == {1}
    done = backfill(site, *ENDS)
    assert done.code == 1, done.err
    assert states(site) == ENDS
    assert site.emulator.calls(KEPT.task_id) == asked, "it looked into the bucket first"
    after, again = site.objects(), f"{PREFIX}{REFUSED.task_id}/manifest.json"
    assert json.loads(after[again])["previous"] == json.loads(before[again])["seal"], "it was tried again"
    assert {key: after[key] for key in before if key != again} == {key: before[key] for key in before if key != again}
    assert once(site)
    assert site.run("get", KEPT.task_id, "-o", "out").code == 0


def test_both_versions_at_once_lose_no_task_and_overwrite_nothing(site: Site, old: Site) -> None:
    tasks = [task(f"both-{number:07}") for number in range(24)]
    site.emulator.add(*tasks)
    ids = [each.task_id for each in tasks]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda one: backfill(*one), [(site, *ids), (old, *ids[::-1])]))
    assert [each.code for each in done] == [0, 0], [each.err for each in done]
    site.oracles(*tasks)
    assert once(site)
    for each in (site, old):
        assert each.status()["tasks"]["archived"] == len(tasks)


def test_first_version_refuses_a_newer_ledger_and_comes_back_by_the_backup_beside_it(
    site: Site, first_version: Path
) -> None:
    later = task("later-000001")
    site.emulator.add(later)
    site.queue.write_text(f"{KEPT.task_id}\n{FAILED.task_id}\n")
    as_first_version(site, first_version)
    assert site.run("backfill").code == 1
    before = site.run("show", KEPT.task_id, "--json").out
    del site.extra_env["PYTHONPATH"]
    site.queue.write_text(f"{KEPT.task_id}\n{FAILED.task_id}\n{later.task_id}\n")
    assert site.run("backfill").code == 1, "failed is failed"
    objects = site.objects()
    [backup] = site.ledger.parent.glob("ledger.db.schema-*.jsonl.gz")
    as_first_version(site, first_version)
    ledger = site.ledger.read_bytes()
    for words in (["status"], ["backfill"], ["run"]):
        refused = site.run(*words)
        assert (refused.code, "written by a newer version" in refused.err) == (3, True), refused.err
    assert site.ledger.read_bytes() == ledger
    del site.extra_env["PYTHONPATH"]
    site.configure(ledger={"url": f"sqlite:///{site.folder}/state/back.db"})
    restored = site.run("ledger", "restore", "--keep-schema", str(backup))
    assert restored.code == 0, restored.err
    as_first_version(site, first_version)
    assert site.run("show", KEPT.task_id, "--json").out == before
    assert site.run("backfill").code == 1
    assert site.show(later.task_id)["state"] == "archived"
    assert site.objects() == objects
    assert once(site)
