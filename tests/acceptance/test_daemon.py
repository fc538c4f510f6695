"""`run` as systemd would run it: a process, signals, kills, a queue file that grows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import replace

import httpx
import pytest

from archiver.core.callback import signature_of
from archiver.core.model import TaskId
from archiver.demo.records import EmulatedTask
from tests import ROOT
from tests.fakes.scripted import Reply
from tests.fakes.serving import port_of
from tests.fakes.web_hook import WebHook
from tests.worlds.site import Site, stems_of


def task(name: str, *stems: str, size: int = 50_000) -> EmulatedTask:
    return EmulatedTask(task_id=name, stems=stems_of(*(stems or ("vocal", "instrumental")), size=size, seed=name))


def append(site: Site, *tasks: EmulatedTask) -> None:
    with site.queue.open("a") as queue:
        queue.writelines(f"{each.task_id}\n" for each in tasks)


def test_daemon_archives_ids_that_are_appended_while_it_runs_and_exits_0_on_sigterm(site: Site) -> None:
    first, second = task("first-0001"), task("second-0002")
    site.emulator.add(first, second)
    append(site, first)
    with site.daemon() as daemon:
        site.wait_for([first.task_id])
        append(site, second)
        site.wait_for([second.task_id])
        assert daemon.stop() == 0
        events = {line["event"] for line in daemon.events}
    assert {"queue.accepted", "record.fetched", "stem.started", "stem.stored", "task.archived"} <= events
    site.oracles(first, second)


def test_daemon_without_a_queue_file_warns_once_and_waits_for_it(site: Site) -> None:
    late = task("late-0001")
    site.emulator.add(late)
    with site.daemon() as daemon:
        warning = daemon.wait_event("queue.unreadable")
        assert str(site.queue) in warning["path"]
        time.sleep(1.5)
        append(site, late)
        site.wait_for([late.task_id])
        assert len([line for line in daemon.events if line["event"] == "queue.unreadable"]) == 1
        assert daemon.stop() == 0


def test_daemon_with_a_replaced_and_a_truncated_queue_file_reads_it_again(site: Site) -> None:
    one, two, three = task("one-00001"), task("two-00002"), task("three-0003")
    site.emulator.add(one, two, three)
    append(site, one)
    with site.daemon() as daemon:
        site.wait_for([one.task_id])
        fresh = site.folder / "fresh"
        fresh.write_text(f"{two.task_id}\n{one.task_id}\n")
        fresh.rename(site.queue)
        site.wait_for([two.task_id])
        site.queue.write_text(f"{three.task_id}\n")
        site.wait_for([three.task_id])
        assert daemon.stop() == 0
    site.oracles(one, two, three)
    assert site.emulator.calls(one.task_id) == 1


def test_daemon_killed_in_mid_work_is_followed_by_one_that_takes_up_at_once(site: Site) -> None:
    tasks = [task(f"killed-{number:04}", "vocal", size=9 << 20) for number in range(4)]
    site.emulator.add(*tasks)
    append(site, *tasks)
    with site.daemon() as daemon:
        daemon.wait_event("stem.started")
        [living] = site.status()["processes"]
        assert (living["role"], living["pid"], living["alive"]) == ("run", daemon.popen.pid, True)
        daemon.signal(signal.SIGKILL)
        daemon.popen.wait(10)
    [dead] = site.status()["processes"]
    assert (dead["alive"], dead["ended_at"]) == (False, None)
    began = time.monotonic()
    with site.daemon() as daemon:
        site.wait_for([each.task_id for each in tasks], seconds=40)
        assert time.monotonic() - began < 40, "the lease is ten minutes; it must not be waited out"
        assert daemon.stop() == 0
    site.oracles(*tasks)


def test_daemon_on_sigterm_in_mid_work_drains_and_leaves_nothing_half_done(site: Site) -> None:
    tasks = [task(f"drained-{number:04}", "vocal", size=9 << 20) for number in range(3)]
    site.emulator.add(*tasks)
    append(site, *tasks)
    with site.daemon() as daemon:
        daemon.wait_event("stem.started")
        assert daemon.stop() == 0
        assert daemon.wait_event("daemon.stopped")
    assert site.uploads() == []
    status = site.status()
    assert [(each["alive"], each["ended_at"] is None) for each in status["processes"]] == [(False, False)]
    assert status["working"] == 0
    assert sum(status["tasks"].values()) == 3


def test_daemon_on_a_second_signal_stops_at_once(site: Site) -> None:
    slow = task("slow-00001", "vocal", size=200 << 20)
    site.emulator.add(slow)
    append(site, slow)
    with site.daemon() as daemon:
        daemon.wait_event("stem.started")
        daemon.signal(signal.SIGTERM)
        daemon.wait_event("daemon.draining")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.popen.wait(15) == 0
        assert time.monotonic() - began < 10
    assert site.uploads() == []


def test_daemon_stopped_while_transfers_wait_for_bandwidth_ends_at_once_and_gives_them_back_untouched(
    site: Site,
) -> None:
    slow = task("throttled-1", "vocal", "drums", size=1 << 20)
    site.emulator.add(slow)
    append(site, slow)
    site.configure(download={"bandwidth": "1KiB"})
    site.extra_env = {"ARCHIVER_SHUTDOWN_GRACE": "100ms"}
    with site.daemon() as daemon:
        daemon.wait_event("stem.started")
        daemon.signal(signal.SIGTERM)
        daemon.wait_event("daemon.draining")
        began = time.monotonic()
        assert daemon.popen.wait(15) == 0
        assert time.monotonic() - began < 5, "they were not waited for"
    assert (site.show(slow.task_id)["attempts"], site.objects()) == (0, {})
    with site.daemon() as daemon:
        daemon.wait_event("stem.started")
        site.configure(download={"bandwidth": "off"})
        daemon.signal(signal.SIGHUP)
        site.wait_for([slow.task_id])
        assert daemon.stop() == 0
    site.oracles(slow)


@pytest.mark.parametrize("command", [("run",), ("backfill", "-")])
def test_process_asked_to_end_while_the_store_keeps_silent_about_uploads_does_not_wait_for_it(
    site: Site, command: tuple[str, ...]
) -> None:
    """Only looking for stray uploads is under way: nothing that would be lost."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.configure(store={"endpoint_url": f"http://127.0.0.1:{port_of(silent)}"})
        site.prove()
        with site.daemon(argv=site.command(*command)) as process:
            asked, _ = silent.accept()
            with asked:
                began = time.monotonic()
                assert process.stop() == 0
                assert time.monotonic() - began < 10


@pytest.mark.parametrize(("command", "number"), [("run", signal.SIGTERM), ("backfill", signal.SIGINT)])
def test_process_asked_to_end_while_a_silent_store_is_first_proven_does_not_wait_for_it(
    site: Site, command: str, number: signal.Signals
) -> None:
    waiting = task("waiting-001")
    append(site, waiting)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.configure(store={"endpoint_url": f"http://127.0.0.1:{port_of(silent)}"})
        with site.daemon(argv=site.command(command)) as process:
            asked, _ = silent.accept()
            with asked:
                began = time.monotonic()
                process.signal(number)
                code = process.popen.wait(45)
                assert time.monotonic() - began < 4, "the first proof is waited for that long, and then a task"
        assert code == (0 if command == "run" else 128 + number)
        assert not [line for line in process.events if line["event"] == "dependency.paused"], "it is not to blame"
    assert site.status()["pauses"] == []


def test_backfill_that_waits_for_ids_from_a_pipe_ends_on_a_signal(site: Site) -> None:
    ours, theirs = os.pipe()
    with (
        os.fdopen(ours, "rb") as silent,
        os.fdopen(theirs, "wb"),
        subprocess.Popen(site.command("backfill", "-"), stdin=silent, env=site.env) as process,
    ):
        try:
            while not list(site.folder.glob("**/*.owners/*.lock")):
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 128 + signal.SIGINT
        finally:
            process.kill()


def test_run_and_backfill_side_by_side_work_on_each_task_once(site: Site) -> None:
    tasks = [task(f"shared-{number:04}", "vocal", "drums", size=400_000) for number in range(12)]
    site.emulator.add(*tasks)
    append(site, *tasks)
    with site.daemon() as daemon:
        done = site.run("backfill")
        assert done.code == 0, done.err
        site.wait_for([each.task_id for each in tasks])
        assert daemon.stop() == 0
    site.oracles(*tasks)
    fetched = [seen.path for seen in site.emulator.requests if seen.listener == "cdn" and seen.method == "GET"]
    assert sorted(fetched) == sorted(set(fetched)), "no stem is fetched twice"
    assert [site.emulator.calls(each.task_id) for each in tasks] == [1] * 12


def test_daemon_leaves_alone_what_the_operator_pauses_while_it_runs_until_resume(site: Site) -> None:
    later = task("held-00001")
    site.emulator.add(later)
    with site.daemon() as daemon:
        daemon.wait_event("daemon.started")
        assert site.run("pause").code == 0
        daemon.wait_event("dependency.held", dependency="store")
        append(site, later)
        daemon.wait_event("queue.accepted", task_id=later.task_id)
        assert {pause["dependency"] for pause in site.status()["pauses"]} == {"provider", "origin", "store"}
        assert site.emulator.calls(later.task_id) == 0
        assert site.run("resume").code == 0
        site.wait_for([later.task_id])
        assert daemon.stop() == 0
    site.oracles(later)


HOOK_KEY = "whk_test_0123456789abcdef"


def call_back(address: str, task_id: str) -> int:
    """Call as the provider does, with links that are not its own, and return the status."""
    stamp = str(int(time.time()))
    data = {"task_id": task_id, "vocal_separation_info": {"vocal_url": "http://127.0.0.1:1/evil.mp3"}}
    signed = {
        "X-Webhook-Timestamp": stamp,
        "X-Webhook-Signature": signature_of(HOOK_KEY, TaskId(task_id), stamp),
    }
    url = f"http://{address}/callbacks/vocal-removal"
    return httpx.post(url, json={"code": 200, "data": data}, headers=signed, timeout=60).status_code


def test_daemon_archives_a_task_as_soon_as_the_provider_calls_about_it(site: Site) -> None:
    waiting, unknown = replace(task("called-0001"), pending_asks=1), task("unknown-001")
    site.emulator.add(waiting, unknown)
    append(site, waiting)
    site.configure(
        schedule={"pending_max": "1h"},
        callback={"enabled": True, "listen": "127.0.0.1:0", "hmac_key": HOOK_KEY, "add_unknown": True},
    )
    with site.daemon() as daemon:
        daemon.wait_event("record.not_ready", task_id=waiting.task_id)
        address = daemon.wait_event("callback.listening")["address"]
        assert call_back(address, waiting.task_id) == 200
        assert call_back(address, unknown.task_id) == 200
        site.wait_for([waiting.task_id, unknown.task_id])
        assert daemon.stop() == 0
    site.oracles(waiting, unknown)
    assert site.emulator.calls(waiting.task_id) == 2
    assert HOOK_KEY not in daemon.log


def test_daemon_without_what_messages_need_exits_2_with_the_command_that_installs_it(site: Site) -> None:
    (site.folder / "apprise.py").write_text("raise ImportError(name='apprise')\n")
    site.extra_env["PYTHONPATH"] = f"{site.folder}:{ROOT}"
    site.configure(notify={"urls": ["json://127.0.0.1/planted"]})
    done = site.run("run")
    assert done.code == 2
    assert "notify.urls needs apprise; install it with: pip install 'stem-archiver[notify]'" in done.err
    assert "Traceback" not in done.err


def test_daemon_pings_and_alerts_people_and_shows_nobody_their_addresses(site: Site) -> None:
    with WebHook() as hook:
        site.configure(
            notify={
                "heartbeat_url": f"http://{hook.host}/beat/planted-beat",
                "urls": [f"json://me:planted-password@{hook.host}/planted-hook"],
            }
        )
        with site.daemon() as daemon:
            hook.wait_for("/beat/planted-beat")
            assert site.run("pause", "--provider").code == 0
            assert "dependency.held: paused by the operator; dependency=provider" in hook.wait_for("dependency.held")
            hook.says(Reply(status=500))
            assert site.run("resume").code == 0
            daemon.wait_event("dependency.released")
            assert daemon.stop() == 0
            assert daemon.wait_event("notify.failed")["events"] == 1
        assert "planted" not in daemon.log
        shown = site.run("config", "show")
        assert "planted" not in shown.out + shown.err


def test_daemon_with_a_bad_key_pauses_the_provider_shows_it_and_recovers_on_restart(site: Site) -> None:
    later = task("paused-0001")
    site.emulator.add(later)
    append(site, later)
    site.configure(provider={"api_key": "wrong-key-000000000000"})
    with site.daemon() as daemon:
        daemon.wait_event("dependency.paused", dependency="provider")
        [pause] = site.status()["pauses"]
        assert pause["dependency"] == "provider"
        assert "provider.api_key" in pause["hint"]
        assert daemon.stop() == 0
    site.configure(provider={"api_key": site.emulator.api_key})
    with site.daemon() as daemon:
        site.wait_for([later.task_id])
        assert daemon.stop() == 0
    assert site.status()["pauses"] == []
