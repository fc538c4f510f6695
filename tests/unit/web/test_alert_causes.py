"""Alerts by their causes: each is made to fire by what the service says of its cause, and none by a healthy one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from archiver.core.attention import Need
from archiver.core.fixity import FAULTS, Fixity
from archiver.core.fixity_standing import FixityStanding
from archiver.core.model import Dependency
from archiver.core.states import StemState, TaskState
from archiver.web.metrics import Metrics
from tests.fakes.time import NOW
from tests.fixtures.alerting import RULES, Watched, assert_alerts
from tests.fixtures.gauges import SEEN, Behind

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)

HEALTHY = replace(
    SEEN,
    tasks={TaskState.ARCHIVED: 7},
    stems={StemState.STORED: 40},
    due=0,
    working=0,
    nearest_deadline=None,
    at_risk_count=0,
    rejected_lines=0,
    last_archived_at=NOW,
    forecast_late=0,
    quarantined_count=0,
    needs={},
    put_off=(),
)
WELL, ILL = 10, 70
"""Minutes of health, and of illness after it: longer than any alert waits."""

Cause = Callable[[Behind, Metrics], object]


def seen(**changes: Any) -> Cause:  # noqa: ANN401 - any field of the overview
    def look(behind: Behind, _: Metrics) -> None:
        behind.seen = replace(HEALTHY, **changes)

    return look


def gauge(**changes: object) -> Cause:
    def let(behind: Behind, _: Metrics) -> None:
        for name, value in changes.items():
            setattr(behind, name, value)

    return let


def fault(kind: Fixity) -> Cause:
    return gauge(fixity=FixityStanding({kind: 1}))


LONG_AGO = NOW - timedelta(hours=2)
OF_NEED = {
    Need.LOST: "Lost",
    Need.FAILED: "Failed",
    Need.MISSING: "Missing",
    Need.QUARANTINED: "Quarantined",
    Need.REFUSED: "Refused",
    Need.AT_RISK: "AtRisk",
}
OF_FAULT = {
    Fixity.MISMATCH: "FixityMismatch",
    Fixity.ALTERED: "FixityMismatch",
    Fixity.MANIFEST_BROKEN: "FixityMismatch",
    Fixity.MANIFEST_DIFFERS: "FixityMismatch",
    Fixity.MISSING: "FixityMissing",
    Fixity.MANIFEST_MISSING: "FixityMissing",
    Fixity.RECORD_MISSING: "FixityMissing",
    Fixity.UNKNOWN: "FixityUnknown",
}
CAUSES: Mapping[str, tuple[str, Cause]] = {
    "a loop does not progress": ("Stalled", gauge(late={"intake": 65.0})),
    "the ledger cannot be read": ("LedgerFailing", gauge(seen=None)),
    "stems will expire": ("BacklogLate", seen(forecast_late=1)),
    "stems wait": ("NoSuccess", seen(stems={StemState.WANTED: 1}, last_archived_at=LONG_AGO)),
    "tasks wait": ("NoSuccess", seen(due=1, last_archived_at=LONG_AGO)),
    "tasks wait and none was ever archived": ("NoSuccess", seen(due=1, last_archived_at=None)),
    "a transfer does not end": ("SlowTransfer", gauge(oldest_transfer=3_601.0)),
    "the clock is ahead": ("ClockOff", gauge(clock_ahead=timedelta(seconds=301))),
    "the clock is behind": ("ClockOff", gauge(clock_ahead=timedelta(seconds=-301))),
    **{f"{each} is paused": ("Paused", gauge(paused=(each,))) for each in Dependency},
    **{f"a task is {need}": (alert, seen(needs={need: 1})) for need, alert in OF_NEED.items()},
    "a line was rejected": ("Rejected", seen(rejected_lines=1)),
    "the queue file cannot be read": ("QueueUnread", gauge(unreadable=True)),
    "the queue file is not read": ("QueueUnread", gauge(quiet=timedelta(hours=1))),
    "no backup was made": ("BackupOld", gauge(backup_age=86_401.0)),
    **{f"an object is {kind}": (alert, fault(kind)) for kind, alert in OF_FAULT.items()},
    "reads are late": ("FixityLate", gauge(fixity=FixityStanding(is_late=True))),
    "a stem has an unknown name": ("UnknownStems", lambda _, metrics: metrics.unknown_name()),
}


def healthy() -> Behind:
    return Behind(seen=HEALTHY, paused=(), fixity=FixityStanding(), clock_ahead=timedelta(), oldest_transfer=0.0)


def page(cause: Cause = lambda *_: None) -> str:
    behind = healthy()
    metrics = behind.metrics()
    cause(behind, metrics)
    return metrics.page().decode()


def ill(name: str, alert: str, then: str | None) -> Watched:
    fires = {WELL - 1: [], WELL + ILL - 1: [f"StemArchiver{alert}"]}
    return Watched(name, [page()] * WELL + [then] * ILL, NOW, fires)


def filling() -> Watched:
    """A disk that loses a gigabyte in each half of a day, and has two left."""
    rooms = [int(4e9 - 1e9 * number / 24) for number in range(48)]
    pages = [page(gauge(room_left=room)) for room in rooms]
    return Watched("a disk fills up", pages, NOW, {12: [], 47: ["StemArchiverLedgerDiskFull"]}, timedelta(minutes=30))


def cases() -> Iterator[Watched]:
    yield ill("no page is given", "Down", None)
    yield filling()
    for name, (alert, cause) in CAUSES.items():
        yield ill(name, alert, page(cause))


def test_every_alert_fires_by_its_cause_and_no_other_does(tmp_path: Path) -> None:
    every = list(cases())
    [group] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    assert {alert for case in every for alerts in case.fires.values() for alert in alerts} == {
        rule["alert"] for rule in group["rules"]
    }
    assert set(OF_NEED) == set(Need)
    assert set(OF_FAULT) == FAULTS
    assert_alerts(tmp_path, *every)


def test_no_alert_fires_in_a_day_of_health(tmp_path: Path) -> None:
    minutes = 24 * 60
    assert_alerts(tmp_path, Watched("health", [page()] * minutes, NOW, dict.fromkeys(range(0, minutes, 60), ())))
