"""`run` and any number of `worker`s on one PostgreSQL ledger, as processes."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, closing

import pytest

from archiver.demo.records import EmulatedTask
from tests.fakes.serving import port_of
from tests.fakes.waiting import until
from tests.worlds.site import Site, stems_of


@pytest.fixture
def site(site: Site, postgres_url: str) -> Site:
    site.configure(ledger={"url": postgres_url})
    return site


def give(site: Site, count: int, *, first: int = 0) -> list[EmulatedTask]:
    """Let the provider have so many tasks, and the queue file their ids."""
    tasks = [
        EmulatedTask(task_id=f"shared-{n:04}", stems=stems_of("vocal", "drums", seed=str(n)))
        for n in range(first, first + count)
    ]
    site.emulator.add(*tasks)
    with site.queue.open("a") as lines:
        lines.writelines(f"{task.task_id}\n" for task in tasks)
    return tasks


def fetches(site: Site) -> Counter[str]:
    """How often each stem was fetched."""
    return Counter(seen.path for seen in site.emulator.requests if seen.listener == "cdn")


def test_two_intakes_and_two_workers_on_one_ledger_do_each_task_once_and_stop_clean(site: Site) -> None:
    tasks = give(site, 12)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(site.daemon(argv=site.command(command)))
            for command in ("run", "run", "worker", "worker")
        ]
        site.wait_for([task.task_id for task in tasks])
        jobs = site.status()["jobs"]
        assert (jobs["workers"], jobs["silent_workers"], jobs["stalled"]) == (2, 0, 0)
        assert [process.stop() for process in processes] == [0, 0, 0, 0]
    counts = fetches(site)
    assert len(counts) == 24
    assert set(counts.values()) == {1}, "a stem was fetched twice"
    for process in processes[:2]:
        assert not [line for line in process.events if line["event"] == "task.claimed"], "an intake did a worker's work"
    site.oracles(*tasks)


def test_worker_serves_metrics_and_health_and_status_tells_of_it_also_when_it_was_killed(site: Site) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = port_of(free)
    site.configure(http={"listen": f"127.0.0.1:{port}"})
    tasks = give(site, 3)
    with site.daemon(argv=site.command("worker")) as worker:
        worker.wait_event("http.listening")
        site.configure(http={"listen": ""})
        with site.daemon() as intake:
            site.wait_for([task.task_id for task in tasks])
            assert intake.stop() == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            page = answer.read().decode()
        assert 'stem_archiver_task_tries_total{outcome="archived"} 3.0' in page
        site.configure(http={"listen": f"127.0.0.1:{port}"})
        assert site.run("health").code == 0
        said = site.run("status").out
        assert "1 worker at work; 0 jobs waiting" in said
        worker.popen.kill()
        worker.popen.wait()
    give(site, 1, first=3)
    with site.daemon() as intake:
        intake.wait_event("job.deferred")
        until(lambda: "jobs wait, and no worker is at work" in site.run("status").out)
        assert "without a goodbye in the last day: 1" in site.run("status").out
        assert intake.stop() == 0


def test_worker_asked_to_end_while_a_silent_store_is_first_proven_does_not_wait_for_it(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.configure(store={"endpoint_url": f"http://127.0.0.1:{port_of(silent)}"})
        with site.daemon(argv=site.command("worker")) as worker:
            asked, _ = silent.accept()
            with asked:
                began = time.monotonic()
                assert worker.stop() == 0
                assert time.monotonic() - began < 4, "the first proof is waited for that long"
        assert not [line for line in worker.events if line["event"] == "dependency.paused"], "it is not to blame"


def test_worker_on_a_sqlite_ledger_says_what_to_set_and_that_run_does_without(site: Site) -> None:
    site.configure(ledger={"url": f"sqlite:///{site.folder}/ledger.db"})
    done = site.run("worker")
    assert done.code == 2
    assert "ledger.url" in done.err
    assert "`run` does all itself" in done.err
