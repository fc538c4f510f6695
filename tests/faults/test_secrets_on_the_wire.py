"""Which bytes leave the machine, and what stays on its disk: every socket is tapped, every file's mode looked at."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.demo.emulator import API_KEY, Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from tests.fakes.relay import Tap
from tests.fakes.serving import port_of
from tests.worlds.site import Site, stems_of


@dataclass
class Tapped:
    """A site whose three ways out are tapped."""

    site: Site
    api: Tap
    cdn: Tap
    s3: Tap


@pytest.fixture
def tapped(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[Tapped]:
    with Emulator() as emulator, ExitStack() as stack:
        urls = (emulator.base_url, emulator.cdn_url, s3_server.endpoint_url)
        api, cdn, s3 = (stack.enter_context(Tap(to=port_of(url))) for url in urls)
        emulator.cdn_url = cdn.url
        site = Site(tmp_path, s3_server, bucket, emulator)
        site.configure(provider={"base_url": api.url}, store={"endpoint_url": s3.url})
        yield Tapped(site, api, cdn, s3)


def spellings(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [raw, base64.b64encode(raw).rstrip(b"="), raw.hex().encode()]


def test_key_reaches_the_api_alone_and_the_stores_secret_reaches_nobody(tapped: Tapped) -> None:
    site = tapped.site
    plain = EmulatedTask(task_id="plain-task", stems=stems_of("vocal", "drums"))
    spent = EmulatedTask(task_id="rescued-task", stems=stems_of("bass"), link_status=404)
    site.emulator.add(plain, spent)
    assert site.run("check").code == 0
    assert site.run("backfill", "-", stdin=f"{plain.task_id}\n{spent.task_id}\n").code == 0
    assert API_KEY.encode() in tapped.api.sent
    for tap in (tapped.cdn, tapped.s3):
        assert tap.sent
        assert not any(spelling in tap.sent for spelling in spellings(API_KEY))
    for tap in (tapped.api, tapped.cdn, tapped.s3):
        assert not any(spelling in tap.sent for spelling in spellings(site.s3.secret_key))
    assert b"authorization:" not in tapped.cdn.sent.lower()
    assert b"cookie:" not in tapped.cdn.sent.lower()


def test_every_file_and_folder_of_ours_is_closed_to_others_whatever_the_umask(tapped: Tapped) -> None:
    site = tapped.site
    task = EmulatedTask(task_id="private-task", stems=stems_of("vocal"))
    site.emulator.add(task)
    ours = Path(__file__), *site.folder.rglob("*")
    shell = ["sh", "-c", 'umask 0; exec "$@"', "sh"]
    for words in (["enqueue", task.task_id], ["backfill"]):
        subprocess.run([*shell, *site.command(*words)], env=site.env, cwd=site.folder, check=True, timeout=90)
    with site.daemon(argv=[*shell, *site.command("run")]) as process:
        process.wait_event("daemon.started")
        modes = {path: path.stat().st_mode for path in site.folder.rglob("*") if path not in ours}
        process.stop()
    made = {
        os.fspath(path.relative_to(site.folder)): mode for path, mode in modes.items() if "daemon-" not in path.name
    }
    assert {"queue.txt", "state", "state/ledger.db", "state/ledger.db-wal", "state/ledger.db-shm"} <= made.keys()
    assert any(name.endswith(".lock") for name in made)
    wrong = {
        name: oct(mode) for name, mode in made.items() if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    }
    assert wrong == {}
