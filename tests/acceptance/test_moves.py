"""Moves as deploy/README.md describes them, by its own commands: to another host, bucket and prefix."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from archiver.demo.records import EmulatedTask
from tests.faults.runner import Order, Stop
from tests.worlds.site import PREFIX, Site, sources, stems_of

MIB = 1 << 20
LARGE = EmulatedTask(task_id="large-000001", stems=stems_of("vocal", size=6 * MIB) | stems_of("drums"))
"""Of which one object is stored in parts: its ETag is another one in each bucket."""
SMALL = EmulatedTask(task_id="small-000001", stems=stems_of("vocal", "drums", seed="small"))
FAILED = EmulatedTask(task_id="failed-00001", answers="failed", stems=stems_of("vocal", seed="failed"))
HALF = EmulatedTask(task_id="half-0000001", stems=stems_of("vocal", "drums", seed="half"))
"""One stem of it at least is stored, and no manifest written."""
TASKS = (LARGE, SMALL, FAILED, HALF)


@pytest.fixture
def home(site: Site) -> Site:
    """A site with tasks in every state; what is open of its ledger stands in the bucket, too."""
    site.configure(store={"single_put_max": "5MiB", "part_size": "5MiB"})
    site.prove()
    site.emulator.add(*TASKS)
    assert site.run("backfill", "-", stdin=f"{LARGE.task_id}\n{SMALL.task_id}\n{FAILED.task_id}").code == 1
    site.queue.write_text("".join(f"{task.task_id}\n" for task in TASKS))
    stop = Stop("stem.recorded", "SIGKILL")
    assert site.server is not None
    assert site.server.run(Order(["backfill"], site.env, str(site.folder), os.devnull, stop=stop)).code == -9
    assert site.run("ledger", "backup").code == 0
    return site


@pytest.fixture
def elsewhere(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Another host: nothing but the settings, and the queue file."""
    other = Site(tmp_path_factory.mktemp("elsewhere"), site.s3, site.bucket, site.emulator, server=site.server)
    other.configure(store={"single_put_max": "5MiB", "part_size": "5MiB"})
    other.queue.write_text("".join(f"{task.task_id}\n" for task in TASKS))
    return other


def requests(site: Site, *tasks: EmulatedTask) -> list[str]:
    """Return what the provider and its CDN were asked about these tasks."""
    return [seen.path for seen in site.emulator.requests if any(task.task_id in str(seen) for task in tasks)]


def shown(site: Site, *tasks: EmulatedTask) -> list[object]:
    """Return what the ledger has of the tasks, but for the lease of a process that is no more."""
    return [site.show(task.task_id) | {"leased_until": None} for task in tasks]


def brought(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each stem's file in a folder."""
    return {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.mp3")}


def copied(site: Site, source: str, target: str) -> None:
    """Copy all objects below one place to another one, with the command that deploy/README.md names."""
    file = site.folder / "rclone.conf"
    file.write_text(f"[s3]\ntype = s3\nprovider = Other\nendpoint = {site.s3.endpoint_url}\nenv_auth = true\n")
    command = ["rclone", "copy", "--metadata", f"s3:{source}", f"s3:{target}"]
    program = str(Path(sys.executable).with_name(command[0]))
    env = site.env | {"AWS_REGION": "us-east-1", "RCLONE_CONFIG": str(file)}
    subprocess.run([program, *command[1:]], env=env, check=True, timeout=60)


def test_new_host_has_the_ledger_of_a_backup_and_goes_on(home: Site, elsewhere: Site) -> None:
    file = home.folder / "ledger.jsonl.gz"
    assert home.run("ledger", "backup", str(file)).code == 0
    assert elsewhere.run("ledger", "restore", str(file)).code == 0
    assert shown(elsewhere, *TASKS) == shown(home, *TASKS)
    asked = requests(home, LARGE, SMALL)
    assert elsewhere.run("backfill").code == 1, "failed is failed"
    assert requests(home, LARGE, SMALL) == asked
    home.oracles(LARGE, SMALL, HALF)
    assert elsewhere.run("rebuild", "--check").code == 0


@pytest.mark.parametrize(
    "place", ["prefix", pytest.param("bucket", marks=[pytest.mark.slow, pytest.mark.timeout(120)])]
)
def test_new_bucket_or_prefix_is_an_archive_by_its_own_manifests(
    home: Site, elsewhere: Site, fresh_buckets: Callable[[], str], place: str
) -> None:
    bucket, prefix = (home.bucket, "moved/") if place == "prefix" else (fresh_buckets(), PREFIX)
    copied(home, f"{home.bucket}/{PREFIX.rstrip('/')}", f"{bucket}/{prefix.rstrip('/')}")
    elsewhere.bucket = bucket
    elsewhere.configure(store={"prefix": prefix, "bucket": bucket})
    rebuilt = elsewhere.run("rebuild", "--json")
    assert rebuilt.code == 0, rebuilt.out + rebuilt.err
    assert elsewhere.run("rebuild", "--check").code == 0
    with closing(home.client()) as client:
        for key in home.objects():
            if key.startswith(PREFIX):
                client.delete_object(Bucket=home.bucket, Key=key)
    asked = requests(home, LARGE, SMALL)
    assert elsewhere.run("backfill").code == 1, "failed is failed"
    assert requests(home, LARGE, SMALL) == asked
    ended = elsewhere.show(HALF.task_id)
    assert ended["state"] == "archived"
    assert {stem["receipt"]["key"].partition("/")[0] for stem in ended["stems"]} == {prefix.rstrip("/")}
    verified = elsewhere.run("verify", "--level", "read", "--json")
    assert verified.code == 0, verified.out
    compared = elsewhere.run("rebuild", "--check")
    assert compared.code == 0, compared.out
    assert elsewhere.run("get", LARGE.task_id, "-o", "out").code == 0
    assert elsewhere.run("restore", "out").code == 0
    for task in (LARGE, SMALL, HALF):
        assert brought(elsewhere.folder / "out" / task.task_id) == sources(task)
