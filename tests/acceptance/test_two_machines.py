"""Two installations with a ledger on a server in common: each has its own folders, queue file and owners' locks."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from tests.fixtures.ledgers import rows
from tests.fixtures.postgres import PostgresServer
from tests.house import HEAD
from tests.worlds.forks import ForkServer
from tests.worlds.site import Site, stems_of


@pytest.fixture
def sites(
    tmp_path: Path, s3_server: S3Server, bucket: str, postgres_url: str, emulator: Emulator, fork_server: ForkServer
) -> list[Site]:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    both = [Site(folder, s3_server, bucket, emulator, server=fork_server) for folder in folders]
    for site in both:
        site.configure(ledger={"url": postgres_url})
    return both


def _tasks(site: Site, name: str, count: int) -> list[EmulatedTask]:
    tasks = [
        EmulatedTask(task_id=f"{name}-{n:04}", stems=stems_of("vocal", "drums", seed=f"{name}{n}"))
        for n in range(count)
    ]
    site.emulator.add(*tasks)
    return tasks


def test_two_daemons_do_each_task_once_though_the_server_is_restarted(
    sites: list[Site], postgres: PostgresServer
) -> None:
    one, two = sites
    mine, theirs, later = _tasks(one, "mine", 6), _tasks(two, "theirs", 6), _tasks(one, "later", 6)
    with (
        one.daemon() as first,
        two.daemon() as second,
        one.daemon(argv=one.command("worker")) as third,
        two.daemon(argv=two.command("worker")) as fourth,
    ):
        for site, tasks in ((one, mine), (two, theirs)):
            site.queue.write_text("".join(f"{task.task_id}\n" for task in tasks))
        one.wait_for([task.task_id for task in (*mine, *theirs)])
        postgres.stop()
        first.wait_event("ledger.away")
        second.wait_event("ledger.away")
        with one.queue.open("a") as queue:
            queue.writelines(f"{task.task_id}\n" for task in later)
        postgres.start()
        one.wait_for([task.task_id for task in later])
        assert [each.stop() for each in (first, second, third, fourth)] == [0, 0, 0, 0]
    fetched = Counter(seen.path for seen in one.emulator.requests if seen.listener == "cdn")
    assert set(fetched.values()) == {1}, "a stem was fetched twice"
    one.oracles(*mine, *theirs, *later)
    assert two.status()["tasks"]["archived"] == 18
    assert postgres.password not in first.log + second.log + third.log + fourth.log
    known = [str(path) for (path,) in rows(str(one.settings["ledger"]["url"]), "SELECT path FROM cursors")]
    assert sorted(path.partition(":")[2] for path in known) == sorted(str(site.queue) for site in sites)


@pytest.mark.timeout(300)
def test_who_is_asked_to_end_while_the_server_is_away_does_so_within_systemds_patience(
    sites: list[Site], postgres: PostgresServer
) -> None:
    one, two = sites
    ids = two.folder / "ids"
    ids.write_text("asked-about-again-0001\n")
    with (
        one.daemon() as intake,
        two.daemon(argv=two.command("worker")) as worker,
        two.daemon(argv=two.command("backfill", "--wait", str(ids))) as backfill,
    ):
        for each in (intake, worker):
            each.wait_event("daemon.started")
        backfill.wait_event("record.not_ready")
        postgres.stop()
        try:
            for each in (intake, worker, backfill):
                each.wait_event("ledger.away")
                each.signal(signal.SIGTERM)
            # TimeoutStopSec of the units; where a commit's answer is lost its fate is looked up for a minute at most.
            assert [each.popen.wait(75) for each in (intake, worker, backfill)] == [3, 3, 3]
        finally:
            postgres.start()


def test_what_a_killed_daemon_held_is_given_back_on_its_own_machine_at_once_and_not_by_another(
    sites: list[Site],
) -> None:
    one, two = sites
    with one.daemon() as killed:
        owner = killed.wait_event("daemon.started")["owner"]
        killed.signal(signal.SIGKILL)
        killed.popen.wait(30)
    with two.daemon() as other:
        other.wait_event("daemon.started")
        assert other.stop() == 0
        assert not [line for line in other.events if line["event"] == "lease.expired"]
    with one.daemon() as again:
        again.wait_event("lease.expired", owner=owner)
        assert again.stop() == 0


def test_check_looks_at_the_server_and_makes_nothing_there(sites: list[Site], postgres: PostgresServer) -> None:
    url = str(sites[0].settings["ledger"]["url"])

    def found() -> list[tuple[str, str]]:
        done = sites[0].run("check", "--json")
        assert postgres.password not in done.out + done.err
        return [
            (each["level"], each["detail"]) for each in json.loads(done.out)["findings"] if each["subject"] == "ledger"
        ]

    empty = found()
    assert [level for level, _ in empty] == ["ok", "warn"], "the tests' server runs without fsync"
    assert "PostgreSQL 18" in empty[0][1]
    assert empty[0][1].endswith("the tables will be made")
    assert rows(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert sites[0].run("backfill", "-").code == 0
    assert found()[0][1].endswith(f"schema {HEAD}")
    sites[0].configure(ledger={"url": url.replace(str(postgres.port), "1")})
    [(level, detail)] = found()
    assert level == "fail"
    assert "cannot be reached" in detail


@pytest.mark.parametrize(("command", "code"), [("status", 2), ("check", 1)])
def test_a_server_without_its_driver_says_what_to_install(sites: list[Site], command: str, code: int) -> None:
    """As where the extra is not installed."""
    (sites[0].folder / "psycopg.py").write_text("raise ModuleNotFoundError('No module', name='psycopg')\n")
    sites[0].extra_env["PYTHONPATH"] = f"{sites[0].folder}:{sites[0].env['PYTHONPATH']}"
    done = sites[0].run(command)
    assert done.code == code
    assert "needs psycopg; install it with: pip install 'stem-archiver[cluster]'" in done.err + done.out
    assert "Traceback" not in done.err


def test_work_and_dry_run_keep_one_rate_with_all_who_share_the_ledger(sites: list[Site]) -> None:
    one, two = sites
    [task] = _tasks(one, "mine", 1)
    url = str(one.settings["ledger"]["url"])
    used = "SELECT count(*) FROM pace_slots WHERE account = 'default' AND free_at > 0"
    early = one.run("backfill", "--dry-run", "-", stdin=f"{task.task_id}\n")
    assert early.code == 0, early.err
    assert rows(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)], "it makes no ledger"
    assert one.run("backfill", "-").code == 0
    shown = one.run("backfill", "--dry-run", "-", stdin=f"{task.task_id}\n")
    assert shown.code == 0, shown.err
    assert rows(url, used) == [(1,)]
    assert rows(url, "SELECT count(*) FROM tasks") == [(0,)], "nothing is taken in"
    two.configure(provider={"requests_per_10s": 7})
    done = two.run("backfill", "-", stdin=f"{task.task_id}\n")
    assert done.code == 0, done.err
    assert rows(url, used) == [(2,)]
    assert rows(url, "SELECT requests FROM paces") == [(7,)]
    two.oracles(task)
