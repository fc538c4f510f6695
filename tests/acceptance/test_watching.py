"""A daemon as Prometheus and supervisors see it: a process, real pages, and nothing secret on them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from tests.fakes.relay import Relay
from tests.fakes.serving import port_of
from tests.fakes.waiting import until
from tests.worlds.site import Process, Site, stems_of

HERE = "127.0.0.1"
WAIT = 60.0


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key="planted-key-0123456789") as emulator:
        yield emulator


@pytest.fixture
def site(site: Site) -> Site:
    site.configure(provider={"api_key": site.emulator.api_key}, http={"listen": f"{HERE}:0"})
    return site


def task(name: str, *stems: str) -> EmulatedTask:
    return EmulatedTask(task_id=name, stems=stems_of(*stems, seed=name))


def enqueue(site: Site, *tasks: EmulatedTask) -> None:
    site.emulator.add(*tasks)
    site.queue.write_text("".join(f"{each.task_id}\n" for each in tasks))


def listens_on(daemon: Process) -> int:
    return port_of(daemon.wait_event("http.listening", seconds=WAIT)["address"])


def get(port: int, path: str) -> tuple[int, str]:
    with closing(HTTPConnection(HERE, port, timeout=WAIT)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def sample(page: str, name: str) -> float:
    [value] = re.findall(rf"^stem_archiver_{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return float(value)


def test_scrape_of_a_busy_daemon_counts_its_work_and_holds_no_id_no_secret_and_no_link(site: Site) -> None:
    whole, strange = task("wholly-0001", "vocal", "drums"), task("strange-0002", "planted_horn")
    broken = EmulatedTask(task_id="gone-0003", stems=stems_of("vocal"), link_status=500)
    enqueue(site, whole, strange, broken)
    site.configure(download={"concurrency": "auto"})
    with site.daemon() as daemon:
        port = listens_on(daemon)
        site.wait_for([whole.task_id, strange.task_id], seconds=WAIT)
        until(lambda: 'failed_tries_total{cause="cdn.busy"}' in get(port, "/metrics")[1])
        until(lambda: sample(get(port, "/metrics")[1], 'tasks{state="archived"}') == 2)
        page = get(port, "/metrics")[1]
        assert daemon.stop() == 0
    assert sample(page, 'task_tries_total{outcome="archived"}') == 2
    assert sample(page, "stem_size_bytes_sum") == sample(page, "stored_bytes") == 150_000
    assert sample(page, "received_bytes_total") == 150_000
    assert sample(page, "task_lag_seconds_count") == 2
    assert sample(page, "stem_transfer_seconds_count") == 3
    assert sample(page, 'api_calls_total{outcome="ok"}') >= 3
    assert 0 < sample(page, "api_budget_requests") <= 1000
    for name in ("origin", "store"):
        assert 1 <= sample(page, f'transfers_allowed{{dependency="{name}"}}') <= 64
    assert sample(page, "queue_unread_bytes") == 0
    assert sample(page, "last_success_timestamp_seconds") == pytest.approx(time.time(), abs=10 * WAIT)
    assert 0 < sample(page, "deadline_slack_seconds") <= 14 * 86_400
    planted = ["wholly", "strange", "gone-", "planted", site.s3.access_key, site.s3.secret_key, site.bucket, "http"]
    assert [word for word in planted if word in page] == []


def test_daemon_with_a_paused_dependency_is_alive_but_not_ready_and_health_says_so_until_it_ends(site: Site) -> None:
    enqueue(site, task("paused-0001", "vocal"))
    site.configure(provider={"api_key": "wrong-key-000000000000"})
    with site.daemon() as daemon:
        port = listens_on(daemon)
        site.configure(http={"listen": f"{HERE}:{port}"})
        daemon.wait_event("dependency.paused", dependency="provider", seconds=WAIT)
        status, said = get(port, "/readyz")
        answer = json.loads(said)
        assert (status, answer["status"], answer["paused"]) == (503, "paused", ["provider"])
        assert answer["why"]["provider"]["error"] == "provider.key_refused"
        page = get(port, "/metrics")[1]
        assert sample(page, 'paused{dependency="provider"}') == 1
        assert sample(page, 'api_calls_total{outcome="provider.key_refused"}') >= 1
        assert (get(port, "/healthz")[0], sample(page, "late_loops")) == (200, 0)
        health = site.run("health")
        assert (health.code, json.loads(health.out), health.err) == (0, {"status": "alive"}, "")
        assert daemon.stop() == 0
    health = site.run("health")
    assert (health.code, health.out) == (1, "")
    assert f"no answer from {HERE}:{port}" in health.err


def test_daemon_whose_port_is_taken_says_so_and_archives_all_the_same(site: Site) -> None:
    one = task("unseen-0001", "vocal")
    enqueue(site, one)
    with socket.create_server((HERE, 0)) as other:
        site.configure(http={"listen": f"{HERE}:{port_of(other)}"})
        with site.daemon() as daemon:
            assert daemon.wait_event("http.unavailable", seconds=WAIT)["level"] == "error"
            site.wait_for([one.task_id], seconds=WAIT)
            assert daemon.stop() == 0


def test_health_loads_nothing_of_the_service_itself(site: Site) -> None:
    site.configure(http={"listen": f"{HERE}:1"})
    words = [sys.executable, "-X", "importtime", *site.command("health")[1:]]
    done = subprocess.run(
        words, env=site.env, cwd=site.folder, capture_output=True, text=True, check=False, timeout=WAIT
    )
    assert done.returncode == 1
    assert "archiver.web.health" in done.stderr
    heavy = ["archiver.app", "boto3", "sqlalchemy", "apscheduler", "httpx", "prometheus_client", "rich.progress"]
    assert [name for name in heavy if name in done.stderr] == []


@pytest.mark.parametrize("listen", ["", f"{HERE}:0"])
def test_health_without_a_port_to_ask_at_is_a_fault_of_the_settings(site: Site, listen: str) -> None:
    site.configure(http={"listen": listen})
    health = site.run("health")
    assert (health.code, health.out) == (2, "")
    assert "http.listen" in health.err


def test_idle_daemon_whose_store_comes_later_is_ready_soon_after_without_a_task(site: Site) -> None:
    with Relay(to=port_of(site.s3.endpoint_url)) as network:
        network.cut()
        site.configure(store={"endpoint_url": f"http://{HERE}:{network.port}"})
        with site.daemon() as daemon:
            port = listens_on(daemon)
            until(lambda: '"error": "store.busy"' in get(port, "/readyz")[1], what="the proof of the start has failed")
            network.mend()
            until(lambda: get(port, "/readyz") == (200, '{"status": "ready"}\n'), seconds=WAIT)
            daemon.wait_event("dependency.resumed", dependency="store")
            assert daemon.stop() == 0
