"""Alerts of a whole worker, as Prometheus scrapes it: none while all is well, and those of what went wrong."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest

from archiver.demo.records import EmulatedTask
from tests.fakes.serving import port_of
from tests.fixtures.alerting import Watched, assert_alerts
from tests.worlds.site import Site, stems_of

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)

HERE = "127.0.0.1"
EVERY = 0.5
"""Seconds from one scrape to the next, each of which stands for a minute."""
AFTERWARDS = 120
"""Minutes for which the last page is shown again: every alert has fired by then that has a cause."""
WAIT = 60.0
Scrape = Callable[[], str]


@contextmanager
def scraped(site: Site) -> Iterator[Scrape]:
    """Run the daemon."""
    site.configure(http={"listen": f"{HERE}:0"})
    with site.daemon() as daemon:
        port = port_of(daemon.wait_event("http.listening", seconds=WAIT)["address"])

        def scrape() -> str:
            with closing(HTTPConnection(HERE, port, timeout=WAIT)) as connection:
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()

        yield scrape
        assert daemon.stop() == 0


def enqueue(site: Site, *lines: str) -> None:
    with site.queue.open("a") as queue:
        queue.writelines(f"{line}\n" for line in lines)


def scrapes(scrape: Scrape, is_over: Callable[[str], bool], step: Callable[[int], object]) -> Sequence[str]:
    """Scrape until a page shows the end; do a step between each two."""
    give_up, pages = time.monotonic() + WAIT, [scrape()]
    while not is_over(pages[-1]):
        assert time.monotonic() < give_up, pages[-1]
        step(len(pages))
        time.sleep(EVERY)
        pages.append(scrape())
    return pages


def shows(page: str, *samples: str) -> bool:
    return all(f"\nstem_archiver_{sample}\n" in page for sample in samples)


def test_worker_that_archives_one_task_after_the_other_and_then_rests_fires_no_alert(
    site: Site, tmp_path: Path
) -> None:
    names = [f"well-{number:04}" for number in range(8)]
    site.emulator.add(*(EmulatedTask(task_id=name, stems=stems_of("vocal", "drums", seed=name)) for name in names))
    began = datetime.now(UTC)
    with scraped(site) as scrape:
        pages = scrapes(
            scrape,
            lambda page: shows(page, 'tasks{state="archived"} 8.0'),
            lambda number: enqueue(site, *names[number - 1 : number]),
        )
    assert len(pages) > len(names)
    minutes = len(pages) + AFTERWARDS
    held = [*pages, *[pages[-1]] * AFTERWARDS]
    assert_alerts(tmp_path, Watched("all is well", held, began, dict.fromkeys(range(minutes), ()), seconds=EVERY))


def test_worker_fires_the_alerts_of_all_that_went_wrong_and_no_others(site: Site, tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(days=20)
    site.emulator.add(
        EmulatedTask(task_id="whole-0001", stems=stems_of("vocal")),
        EmulatedTask(task_id="failed-0002", answers="failed", stems=stems_of("vocal")),
        EmulatedTask(task_id="lost-0003", created_at=old, link_status=404, stems=stems_of("vocal")),
        EmulatedTask(task_id="refused-0004", stems={"vocal": b"<html><body>Sorry</body></html>" * 100}),
    )
    site.configure(schedule={"missing_after": "1s"})
    began = datetime.now(UTC)
    wrong = ("lost", "failed", "missing", "refused")
    samples = [f'tasks_needing_person{{reason="{each}"}} 1.0' for each in wrong]
    tasks = ("whole-0001", "failed-0002", "lost-0003", "refused-0004", "unknown-0005", "what?")
    with scraped(site) as scrape:
        pages = scrapes(
            scrape,
            lambda page: shows(page, 'tasks{state="archived"} 1.0', "rejected_lines 1.0", *samples),
            lambda number: enqueue(site, *(tasks if number == 1 else ())),
        )
    held = [*pages, *[pages[-1]] * AFTERWARDS]
    fired = [f"StemArchiver{each}" for each in ("Lost", "Failed", "Missing", "Refused", "Rejected")]
    assert_alerts(tmp_path, Watched("much went wrong", held, began, {0: (), len(held) - 1: fired}, seconds=EVERY))
