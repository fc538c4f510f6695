"""Metrics for Prometheus: counters fed as things happen, gauges read when it asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from archiver.core.attention import Need, QueueStanding
from archiver.core.errors import ArchiverError, LedgerFault
from archiver.core.fixity import FAULTS, Fixity
from archiver.core.fixity_standing import FixityStanding
from archiver.core.model import Archived, Dependency, Outcome
from archiver.core.put_off import Why
from archiver.core.reports import Overview
from archiver.core.room import LedgerRoom
from archiver.core.states import StemState, TaskState
from archiver.ports.runtime import Clock

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "stem_archiver"

REMEMBERED = timedelta(seconds=10)
"""The time for which one look into the ledger is shown."""

LOOKING_SHARE = 20
"""Looking into a ledger of a million tasks takes a while; it may take one part in so many of the time."""

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_BYTES = (1e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 5e8, 2e9)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_AGES = (
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 30)),
    *(hours * _HOUR for hours in (1, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 4, 7, 10, 14)),
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the gauges, read at the moment of asking."""

    overview: Callable[[], Overview]
    """May raise LedgerFault."""
    queue: Callable[[], QueueStanding]
    """How the queue file stands to what was read of it; may raise LedgerFault."""
    poll: timedelta
    """The time from one look at the queue file to the next."""
    paused: Callable[[], Collection[Dependency]]
    late: Callable[[], Mapping[str, float]]
    """The loops that do not progress; see archiver.service.liveness."""
    budget: Callable[[], int]
    """Requests to the provider that may be sent at once."""
    limits: Callable[[], Mapping[Dependency, int]]
    """Transfers that are let at one time: with one host of the origin, the most of any, and with the store."""
    oldest_transfer: Callable[[], float]
    """Seconds since the oldest transfer under way began."""
    clock_ahead: Callable[[], timedelta]
    """By how much the wall clock is ahead of the provider's; zero where it told no time yet."""
    clock: Clock
    gaps: Callable[[], Collection[str]]
    """Gaps of the store, by its proof."""
    backup_age: Callable[[], float | None]
    """Seconds since the last backup of the ledger; None where this process takes none."""
    fixity: Callable[[], FixityStanding]
    """May raise LedgerFault."""
    room: Callable[[], LedgerRoom | None]
    """The sizes of a ledger in a file; may raise LedgerFault or OSError."""


class Metrics:
    """`Observer` that counts for Prometheus. Safe to share between threads.

    Calls `progress` whenever bytes flow, a stem is stored or a try at a task has ended.
    No label holds anything from outside: states, outcomes, dependencies and error codes are closed sets.
    """

    def __init__(self, version: str, *, progress: Callable[[], None] = lambda: None) -> None:
        self._progress = progress
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        count = partial(Counter, namespace=PREFIX, registry=registry)
        spread = partial(Histogram, namespace=PREFIX, registry=registry)
        self._received = count("received_bytes_total", "Bytes of audio that came in, also of tries that failed")
        self._sizes = spread("stem_size_bytes", "Sizes of the stems that were stored", buckets=_BYTES)
        self._transfers = spread(
            "stem_transfer_seconds", "From the begin of a stem's fetch until it is complete", buckets=_SECONDS
        )
        self._ages = spread(
            "task_lag_seconds", "From a task's creation at the provider until it is archived", buckets=_AGES
        )
        self._tries = count("task_tries_total", "Tries at tasks by what they came to", ["outcome"])
        self._failures = count("failed_tries_total", "Failed tries at a stem or a task, by the error's code", ["cause"])
        self._calls = count("api_calls_total", "Requests to the provider: ok, or the error's code", ["outcome"])
        self._judged = count("fixity_objects_total", "Objects that were verified here, by the verdict", ["result"])
        for verdict in Fixity:
            self._judged.labels(verdict.value)
        self._unknown = count("unknown_stem_names_total", "Stems listed under a name nobody has heard of")
        for outcome in get_args(Outcome):
            self._tries.labels(outcome.kind)
        self._calls.labels("ok")
        build = GaugeMetricFamily(f"{PREFIX}_build_info", "1, with the version that runs", labels=["version"])
        build.add_metric([version], 1)
        registry.register(_Fixed(build))

    def watch(self, sources: Sources) -> None:
        """Show the gauges that are read from these too; to be called once."""
        self._registry.register(_Gauges(sources))

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def api_answered(self, outcome: str) -> None:
        """Count a request to the provider: `ok`, or the code of the error."""
        self._calls.labels(outcome).inc()

    def verified(self, verdicts: Mapping[Fixity, int]) -> None:
        """Count objects that were verified, by the verdict."""
        for verdict, number in verdicts.items():
            self._judged.labels(verdict.value).inc(number)

    # --- Observer

    def received(self, size: int) -> None:
        """Count bytes as they come in."""
        self._progress()
        self._received.inc(size)

    def stem_stored(self, size: int, seconds: float) -> None:
        """Count a stem that is complete."""
        self._progress()
        self._sizes.observe(size)
        self._transfers.observe(seconds)

    def unknown_name(self) -> None:
        """Count a stem nobody has heard of."""
        self._unknown.inc()

    def try_failed(self, error: ArchiverError) -> None:
        """Count the error by its code."""
        self._failures.labels(error.code).inc()

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:
        """Count the outcome of a try, and how old a task is when it is archived."""
        self._progress()
        self._tries.labels(outcome.kind).inc()
        if isinstance(outcome, Archived) and age is not None:
            self._ages.observe(age.total_seconds())


class _Fixed(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


class _Gauges(Collector):
    """Reads the gauges. A ledger that fails takes away only those that come from it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._ledger = _Ledger(sources)

    def collect(self) -> Iterator[Metric]:
        paused, now = self._sources.paused(), self._sources.clock()
        yield _by(
            "paused",
            "1 while this dependency is paused, else 0",
            "dependency",
            {name: name in paused for name in Dependency},
        )
        yield _one(
            "late_loops", "Loops of the service that do not progress; /healthz names them", len(self._sources.late())
        )
        yield _one(
            "api_budget_requests", "Requests to the provider that the pace allows at once", self._sources.budget()
        )
        yield _by(
            "transfers_allowed",
            "Transfers let at one time with one host of the origin (the most of any), and with the store",
            "dependency",
            {name.value: limit for name, limit in self._sources.limits().items()},
        )
        yield _one(
            "oldest_transfer_seconds",
            "Since the oldest transfer that is under way first began; 0 without any",
            self._sources.oldest_transfer(),
        )
        yield _one(
            "clock_ahead_seconds",
            "By how much the wall clock is ahead of the provider's, negative behind; 0 until it told its time",
            self._sources.clock_ahead().total_seconds(),
        )
        yield _by(
            "store_gaps",
            "1 for each guarantee that the store was proven not to give; `check` says what follows",
            "subject",
            dict.fromkeys(self._sources.gaps(), 1),
        )
        yield from self._of_backups()
        yield from self._of_room()
        yield from self._seen_in_ledger(now)

    def _of_backups(self) -> Iterator[Metric]:
        if (age := self._sources.backup_age()) is not None:
            yield _one(
                "backup_age_seconds",
                "Since the ledger was last backed up into the bucket, or nothing had changed; none without backups",
                age,
            )

    def _of_room(self) -> Iterator[Metric]:
        try:
            room = self._sources.room()
        except (LedgerFault, OSError):
            return
        if room is not None:
            yield _one("ledger_bytes", "Size of the ledger's file, with what stands beside it", room.size)
            yield _one(
                "ledger_room_bytes",
                "By how much the ledger may still grow: what is free on its disk, and within its file",
                room.room,
            )

    def _seen_in_ledger(self, now: datetime) -> Iterator[Metric]:
        overview = self._ledger.look(now)
        yield _one("ledger_up", "1 when the last look into the ledger worked, else 0", overview is not None)
        if overview is not None:
            yield from _of_ledger(overview, now)
            yield from self._of_queue(now)
            yield from self._of_fixity(now)

    def _of_fixity(self, now: datetime) -> Iterator[Metric]:
        try:
            standing = self._sources.fixity()
        except LedgerFault:
            return
        counts = {kind.value: standing.faults.get(kind, 0) for kind in Fixity if kind in FAULTS}
        yield _by("fixity_faults", "Objects of the archive at fault that no later check found mended", "kind", counts)
        seen = {kind.value: standing.acknowledged.get(kind, 0) for kind in Fixity if kind in FAULTS}
        yield _by("fixity_faults_acknowledged", "Those beside them that an operator acknowledged", "kind", seen)
        yield _one("fixity_late", "1 when objects will not be read within verify.within, else 0", standing.is_late)
        if standing.oldest_check is not None:
            yield _one(
                "fixity_oldest_check_seconds",
                "Since the part that was not read for the longest time was, or was taken in; none without reads",
                max((now - standing.oldest_check).total_seconds(), 0.0),
            )

    def _of_queue(self, now: datetime) -> Iterator[Metric]:
        try:
            queue = self._sources.queue()
        except LedgerFault:
            return
        if queue.exists and not queue.fault:
            yield _one(
                "queue_unread_bytes",
                "Bytes of the queue file not taken in yet; none when it cannot be read",
                queue.unread_bytes,
            )
        yield _one(
            "queue_overdue",
            "1 while the queue file cannot be read, or was not read for three polls, else 0",
            queue.is_overdue(now, self._sources.poll),
        )


class _Ledger:
    """Looks into the ledger, and remembers for a while what it saw, or that it failed."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._seen: Overview | None = None
        self._look_at: datetime | None = None
        self._looked_at: datetime | None = None

    def look(self, now: datetime) -> Overview | None:
        """Return what the ledger says, not much older than REMEMBERED; None when it cannot be used."""
        with self._lock:
            if not self._is_fresh(now):
                self._seen = self._overview()
                ended = self._sources.clock()
                self._looked_at = now
                self._look_at = ended + max(REMEMBERED, LOOKING_SHARE * (ended - now))
            return self._seen

    def _is_fresh(self, now: datetime) -> bool:
        # A clock that was set back must not make a look last for ever.
        return self._look_at is not None and self._looked_at is not None and self._looked_at <= now < self._look_at

    def _overview(self) -> Overview | None:
        try:
            return self._sources.overview()
        except LedgerFault:
            return None


def _of_ledger(overview: Overview, now: datetime) -> Iterator[Metric]:
    yield _by("tasks", "Tasks by state", "state", {state: overview.tasks.get(state, 0) for state in TaskState})
    yield _by("stems", "Stems by state", "state", {state: overview.stems.get(state, 0) for state in StemState})
    yield _one("stored_bytes", "Bytes of all stems in the store", overview.bytes_stored)
    yield _one("tasks_due", "Tasks that could be worked on now and wait for a worker", overview.due)
    yield _one("tasks_working", "Tasks being worked on, by whatever process", overview.working)
    yield _one(
        "tasks_at_risk", "Open tasks that lack a stem and whose deadline is nearer than at_risk", overview.at_risk_count
    )
    yield _one(
        "forecast_late_stems",
        "Stems that will expire before they are reached at the present pace",
        overview.forecast_late or 0,
    )
    yield _one(
        "tasks_quarantined",
        "Open tasks that are tried last and alone: processes died while at them",
        overview.quarantined_count,
    )
    yield from _put_off(overview, now)
    yield _by(
        "tasks_needing_person",
        "Tasks that need a person and that nobody acknowledged, by the reason; each counts once",
        "reason",
        {need: overview.needs.get(need, 0) for need in Need},
    )
    yield _one(
        "rejected_lines",
        "Lines of the queue file that are no task ids, and that nobody acknowledged",
        overview.rejected_lines,
    )
    yield from _moments(overview, now)


def _put_off(overview: Overview, now: datetime) -> Iterator[Metric]:
    counts = {each.why.value: each.tasks for each in overview.put_off}
    spans = {each.why.value: (now - each.since).total_seconds() for each in overview.put_off}
    none = dict.fromkeys((why.value for why in Why), 0.0)
    yield _by("tasks_put_off", "Open tasks that wait for their next try or ask, by why", "why", none | counts)
    yield _by("longest_put_off_seconds", "Since the first of them was asked about; 0 without any", "why", none | spans)


def _moments(overview: Overview, now: datetime) -> Iterator[Metric]:
    archived = overview.last_archived_at
    yield _one(
        "last_success_timestamp_seconds",
        "When a task was last archived; 0 for never",
        archived.timestamp() if archived else 0,
    )
    if overview.nearest_deadline is not None:
        slack = (overview.nearest_deadline - now).total_seconds()
        yield _one(
            "deadline_slack_seconds",
            "Until the nearest deadline of an open task; negative once past, none without",
            slack,
        )


def _one(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)


def _by(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(f"{PREFIX}_{name}", meaning, labels=[label])
    for value, number in values.items():
        metric.add_metric([value], number)
    return metric
