"""Keys and credentials that are changed while the daemon is at work: no restart, and no new one in the log."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from archiver.demo.emulator import API_KEY
from archiver.demo.records import EmulatedTask
from tests.fakes.relay import Relay
from tests.fakes.serving import port_of
from tests.fakes.tls import identity
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


def test_key_of_another_provider_is_not_sent_to_the_one_of_before(site: Site) -> None:
    key = site.folder / "key"
    replace(key, API_KEY)
    site.configure(provider={"api_key": None, "api_key_file": str(key)})
    with site.daemon() as daemon:
        daemon.wait_event("daemon.started")
        site.configure(provider={"api_key": None, "api_key_file": str(key), "base_url": "http://127.0.0.1:9"})
        replace(key, "sk-of-another-provider-alone")
        told = daemon.wait_event("settings.reloaded")
        assert (told["changed"], told["needs_restart"]) == ([], ["provider.base_url", "provider.api_key"])
        enqueue(site)
        site.wait_for([SONG.task_id])
        assert daemon.stop() == 0
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


@pytest.mark.parametrize(
    ("whose", "variable", "said"),
    [
        ("store", "AWS_CA_BUNDLE", "no TLS (CERTIFICATE_VERIFY_FAILED)"),
        ("provider", "SSL_CERT_FILE", "the certificate is not valid"),
    ],
)
def test_certificate_that_comes_from_another_authority_is_trusted_without_a_restart_once_its_file_is_changed(
    site: Site, whose: str, variable: str, said: str
) -> None:
    first, second = (identity(site.folder, [name, "127.0.0.1"]) for name in ("first", "second"))
    trusted = site.folder / "trusted.pem"
    replace(trusted, (site.folder / "first.pem").read_text())
    site.extra_env[variable] = str(trusted)
    later = dataclasses.replace(SONG, task_id="rotated-0002")
    plain = {"store": site.s3.endpoint_url, "provider": site.emulator.base_url}[whose]
    with Relay(to=port_of(plain), tls=first.server) as relay:
        site.configure(**{whose: {"endpoint_url" if whose == "store" else "base_url": relay.url}})
        enqueue(site)
        with site.daemon() as daemon:
            site.wait_for([SONG.task_id])
            relay.tls = second.server
            relay.hang_up()
            site.emulator.add(later)
            site.queue.write_text(f"{SONG.task_id}\n{later.task_id}\n")
            until(lambda: said in daemon.log)
            assert f"{later.task_id}/manifest.json" not in " ".join(site.objects())
            replace(trusted, (site.folder / "second.pem").read_text())
            notice(daemon, by_signal=False)
            site.wait_for([later.task_id])
            assert daemon.stop() == 0
    site.oracles(SONG, later)


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


def test_page_beside_run_reads_its_settings_again_when_run_does(site: Site) -> None:
    site.configure(page={"listen": "127.0.0.1:0", "with_run": True})
    with site.daemon(apart=True) as run:
        until(lambda: "lets one browser in" in run.log)
        run.signal(signal.SIGHUP)
        until(lambda: run.log.count("settings.reloaded") == 2)
        assert run.stop() == 0
        assert "page.ended" not in run.log


def test_page_at_work_reads_its_settings_again_on_a_signal(site: Site) -> None:
    site.configure(page={"listen": "127.0.0.1:0"})
    enqueue(site)
    assert site.run("backfill").code == 0
    with site.daemon(argv=site.command("page")) as page:
        until(lambda: "lets one browser in" in page.log)
        page.signal(signal.SIGHUP)
        assert page.wait_event("settings.reloaded")["needs_restart"] == []
        assert page.stop() == 0


def test_token_of_the_page_that_is_changed_in_its_file_lets_in_alone_without_a_restart_and_is_never_logged(
    site: Site,
) -> None:
    file, old, new = site.folder / "token", "the-page-s-first-token", "the-page-s-second-token"
    replace(file, old)
    site.configure(page={"listen": "127.0.0.1:0", "token_file": str(file)})
    enqueue(site)
    assert site.run("backfill").code == 0
    with site.daemon(argv=site.command("page")) as page:
        until(lambda: "lets one browser in" in page.log)
        [url] = re.findall(r"page: (http://\S+)/$", page.log, re.MULTILINE)
        own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=url) as browser:

            def enters(token: str) -> bool:
                answer = browser.post("/enter", data={"token": token}, headers=own)
                assert answer.status_code in {303, 403}
                browser.headers["Cookie"] = answer.headers.get("set-cookie", "").partition(";")[0]
                return browser.get("/", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200

            assert (enters("a-token-of-somebody-else"), enters(new), enters(old)) == (False, False, True)
            replace(file, f"{new}\n")
            notice(page, by_signal=False)
            assert browser.get("/", headers={"Sec-Fetch-Site": "same-origin"}).status_code != 200
            assert (enters(old), enters(new)) == (False, True)
        assert page.stop() == 0
        assert [token for token in (old, new) if token in page.log] == []
