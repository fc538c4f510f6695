"""Keys and credentials that are changed while the daemon is at work: no restart, and no new one in the log."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests.fakes.waiting import until
from tests.worlds.site import Process, Site, stems_of

SONG = EmulatedTask(task_id="rotated-0001", kind="separate_vocal", stems=stems_of("vocal", "instrumental", seed="r"))
OLD_KEY = "sk-old-key-that-was-withdrawn"


def replace(file: Path, text: str) -> None:
    """Put a new file in its place at once, as Kubernetes and careful people do."""
    beside = file.with_name(f".{file.name}")
    beside.touch(mode=0o600)
    beside.write_text(text)
    beside.rename(file)


def enqueue(site: Site) -> None:
    site.emulator.add(SONG)
    site.queue.write_text(f"{SONG.task_id}\n")


def notice(daemon: Process, *, by_signal: bool) -> None:
    if by_signal:
        daemon.signal(signal.SIGHUP)
    daemon.wait_event("settings.reloaded")


@pytest.mark.parametrize("by_signal", [False, True])
def test_key_that_is_changed_in_its_file_is_used_without_a_restart_and_never_logged(
    site: Site, by_signal: bool
) -> None:
    key = site.folder / "key"
    replace(key, OLD_KEY)
    site.configure(provider={"api_key": None, "api_key_file": str(key)})
    enqueue(site)
    with site.daemon() as daemon:
        daemon.wait_event("dependency.paused", dependency="provider")
        replace(key, f"{API_KEY}\n")
        notice(daemon, by_signal=by_signal)
        site.wait_for([SONG.task_id])
        assert daemon.wait_event("settings.reloaded")["changed"] == ["provider.api_key"]
        assert daemon.stop() == 0
        assert API_KEY not in daemon.log
        assert OLD_KEY not in daemon.log
    site.oracles(SONG)


@pytest.mark.parametrize("by_signal", [False, True])
def test_store_credentials_that_are_changed_in_their_file_are_used_without_a_restart(
    site: Site, by_signal: bool
) -> None:
    file = site.folder / "credentials"

    def credentials(secret: str) -> str:
        return f"[default]\naws_access_key_id = {site.s3.access_key}\naws_secret_access_key = {secret}\n"

    replace(file, credentials("a-secret-that-was-withdrawn"))
    names = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    site.extra_env |= names
    enqueue(site)
    with site.daemon() as daemon:
        daemon.wait_event("dependency.paused", dependency="store")
        replace(file, credentials(site.s3.secret_key))
        notice(daemon, by_signal=by_signal)
        site.wait_for([SONG.task_id])
        assert daemon.stop() == 0
        assert site.s3.secret_key not in daemon.log
    assert not os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    site.oracles(SONG)


@pytest.mark.parametrize("by_signal", [False, True])
def test_backfill_that_waits_uses_a_key_that_is_changed_in_its_file_and_never_logs_it(
    site: Site, by_signal: bool
) -> None:
    key = site.folder / "key"
    replace(key, API_KEY)
    site.configure(provider={"api_key": None, "api_key_file": str(key)})
    site.emulator.add(dataclasses.replace(SONG, pending_asks=1000))
    site.queue.write_text(f"{SONG.task_id}\n")
    with site.daemon(argv=site.command("backfill")) as backfill:
        backfill.wait_event("backfill.started")
        replace(key, OLD_KEY)
        notice(backfill, by_signal=by_signal)
        assert backfill.wait_event("settings.reloaded")["changed"] == ["provider.api_key"]
        backfill.wait_event("dependency.paused", dependency="provider")
        assert OLD_KEY not in backfill.log


def test_page_at_work_reads_its_settings_again_on_a_signal(site: Site) -> None:
    site.configure(page={"listen": "127.0.0.1:0"})
    enqueue(site)
    assert site.run("backfill").code == 0
    with site.daemon(argv=site.command("page")) as page:
        until(lambda: "lets one browser in" in page.log)
        page.signal(signal.SIGHUP)
        assert page.wait_event("settings.reloaded")["needs_restart"] == []
        assert page.stop() == 0
