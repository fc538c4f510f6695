"""Minutes of the daemon under every fault at random: nothing it holds may grow, and in the end all is archived.

ARCHIVER_SOAK_SECONDS says for how long, 600 by default.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from tests.fakes.s3_proxy import (
    Action,
    Exchange,
    S3Proxy,
    drop_after,
    drop_before,
    flip_bit,
    hold,
    refuse,
    refuse_after,
    truncate,
)
from tests.fakes.scripted import Reply
from tests.worlds.site import Process, Site, stems_of

SECONDS = float(os.environ.get("ARCHIVER_SOAK_SECONDS", "600"))
EVERY = 1.0
WAL_LIMIT = 24 << 20
"""Bytes: what the ledger promises the log to shrink to, and one transaction's worth above."""

MOST_THREADS = 16 + 8 + 16
"""Stems, tasks, and the daemon's own with its scheduler's."""
MOST_DESCRIPTORS = 16 + 24 + 8 + 3 * 24 + 16
"""Connections to the CDN, the store and the API, the ledger's three files for each thread, and a few."""


def html(_: Exchange) -> Reply:
    return Reply(b"<html><body>Please log in</body></html>", 200, [("Content-Type", "text/html")])


def empty(_: Exchange) -> Reply:
    return Reply(b"", 200, [("Content-Type", "audio/mpeg")])


API_FAULTS: Sequence[Action] = (
    *(refuse(status, "Scripted") for status in (429, 455, 500, 502, 503)),
    *(drop_before, drop_after, html, hold(1)),
)
CDN_FAULTS: Sequence[Action] = (
    *(refuse(status, "Scripted") for status in (401, 403, 404, 410, 429, 503)),
    *(drop_before, drop_after, html, empty, hold(1)),
)
S3_FAULTS: Sequence[Action] = (
    *(refuse(500, "InternalError"), refuse(503, "SlowDown"), refuse(403, "AccessDenied"), refuse(507, "Full")),
    *(refuse_after(500, "InternalError"), drop_before, drop_after, flip_bit, truncate, hold(1)),
)


@dataclass(frozen=True, slots=True)
class Held:
    """What the daemon holds at one moment."""

    threads: int
    descriptors: int
    wal: int
    """Bytes."""
    rss: float
    """MiB."""


@dataclass
class Soak:
    """The site, with a fault proxy before each of the three things outside."""

    site: Site
    proxies: Sequence[tuple[S3Proxy, Sequence[Action]]]
    chance: random.Random

    def disturb(self) -> None:
        """Let one hop fail in some way for the next requests; now and then that is a whole outage."""
        proxy, faults = self.chance.choice(self.proxies)
        times = 60 if self.chance.random() < 0.05 else self.chance.randint(1, 4)
        proxy.on("*", self.chance.choice(faults), times=times)

    def feed(self, number: int) -> EmulatedTask:
        """One more task, of any kind, and a queue that is not always tidy."""
        size = self.chance.choice([1_000, 50_000, 200_000, 6_000_000])
        names = self.chance.choice([("vocal",), ("vocal", "instrumental"), ("drums", "bass", "piano", "fx")])
        task = EmulatedTask(
            task_id=f"soak-{number:06}",
            pending_asks=self.chance.choice([0, 0, 0, 2]),
            stems=stems_of(*names, size=size, seed=str(number)),
            link_status=self.chance.choice([None, None, None, 404]),
        )
        self.site.emulator.add(task)
        with self.site.queue.open("a") as queue:
            queue.write(self.chance.choice(["", "", "no id at all\n", "# a comment\n"]) + f"{task.task_id}\n")
        return task

    def calm(self) -> None:
        for proxy, _ in self.proxies:
            proxy.calm()


@pytest.fixture
def soak(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[Soak]:
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator())
        api, cdn = (stack.enter_context(S3Proxy(upstream=url)) for url in (emulator.base_url, emulator.cdn_url))
        s3 = stack.enter_context(S3Proxy(upstream=s3_server.endpoint_url))
        emulator.cdn_url = cdn.url
        site = Site(tmp_path, s3_server, bucket, emulator)
        site.configure(
            provider={"base_url": api.url},
            store={"endpoint_url": s3.url, "single_put_max": "5MiB", "part_size": "5MiB"},
            download={"min_rate": "1KiB/s", "read_timeout": "5s", "buffer_budget": "24MiB"},
        )
        yield Soak(site, [(api, API_FAULTS), (cdn, CDN_FAULTS), (s3, S3_FAULTS)], random.Random(1))


def held(process: Process, site: Site) -> Held:
    proc = Path(f"/proc/{process.popen.pid}")
    wal = site.ledger.with_name("ledger.db-wal")
    resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Held(
        threads=len(list((proc / "task").iterdir())),
        descriptors=len(list((proc / "fd").iterdir())),
        wal=wal.stat().st_size if wal.exists() else 0,
        rss=resident / (1 << 20),
    )


@pytest.mark.slow
@pytest.mark.timeout(600 + 2 * SECONDS)
def test_soak_under_all_faults_at_random_holds_no_more_at_the_end_and_archives_all(soak: Soak) -> None:
    site, tasks, seen = soak.site, [], []
    site.queue.touch()
    numbers = count(1)
    with site.daemon() as process:
        process.wait_event("daemon.started")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            tasks += [soak.feed(next(numbers)) for _ in range(2)]
            soak.disturb()
            seen.append(held(process, site))
            assert process.popen.poll() is None, process.log[-4000:]
            time.sleep(EVERY)
        soak.calm()
        site.run("retry", "--all-failed")
        site.wait_for([task.task_id for task in tasks], seconds=300)
        seen.append(held(process, site))
        assert process.stop() == 0
    report(tasks, seen)
    site.oracles(*tasks)
    flat(seen)


def report(tasks: Sequence[EmulatedTask], seen: Sequence[Held]) -> None:
    print(f"\n{len(tasks)} tasks archived in a soak of {SECONDS:.0f} s; at the start, in the middle, at the end:")
    for name in ("threads", "descriptors", "wal", "rss"):
        early, middle, late = (max(getattr(each, name) for each in third) for third in thirds(seen))
        print(f"  most {name}: {early:,.0f}, {middle:,.0f}, {late:,.0f}")


def thirds(seen: Sequence[Held]) -> list[Sequence[Held]]:
    size = len(seen) // 3
    return [seen[:size], seen[size : 2 * size], seen[2 * size :]]


def flat(seen: Sequence[Held]) -> None:
    """The last third must look like the one before it; the first holds the warming up."""
    _, middle, late = thirds(seen)
    assert max(each.wal for each in seen) <= WAL_LIMIT
    assert max(each.threads for each in seen) <= MOST_THREADS
    assert max(each.descriptors for each in seen) <= MOST_DESCRIPTORS
    for name, slack in (("threads", 2), ("descriptors", 8), ("rss", 24)):
        before, after = (statistics.median(getattr(each, name) for each in third) for third in (middle, late))
        assert after <= before + slack, f"{name} grow"
