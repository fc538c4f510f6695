"""The metrics for Prometheus, held together with the runbook's table."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from archiver.core.attention import Need
from archiver.core.errors import ArchiverError, BodyShort
from archiver.core.fixity import FAULTS, Fixity
from archiver.core.fixity_standing import FixityStanding
from archiver.core.model import Archived, Later, Outcome
from archiver.core.put_off import Why
from archiver.core.states import StemState, TaskState
from archiver.web.metrics import Metrics
from tests import ROOT
from tests.fakes.time import NOW as START
from tests.fixtures.gauges import SEEN, Behind

RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of ours on the page, by its name and labels without the prefix."""

    def written() -> Iterator[tuple[str, float]]:
        for family in text_string_to_metric_families(metrics.page().decode()):
            for name, labels, value, *_ in family.samples:
                inner = ",".join(f"{key}={text}" for key, text in labels.items())
                yield f"{name}{{{inner}}}" if inner else name, value

    return {
        name.removeprefix("stem_archiver_"): value for name, value in written() if name.startswith("stem_archiver_")
    }


def test_gauges_show_what_the_service_and_its_ledger_say() -> None:
    found = samples(Behind(late={"intake": 65.0}).metrics())
    shown = {
        name: value for name, value in found.items() if not re.search(r"_(total|created|count|sum|bucket)\b", name)
    }
    assert shown == {
        "build_info{version=1.2.3}": 1,
        "paused{dependency=provider}": 0,
        "paused{dependency=origin}": 0,
        "paused{dependency=store}": 1,
        "late_loops": 1,
        "api_budget_requests": 17,
        "transfers_allowed{dependency=origin}": 12,
        "transfers_allowed{dependency=store}": 16,
        "oldest_transfer_seconds": 44.5,
        "clock_ahead_seconds": -90,
        "backup_age_seconds": 77.5,
        "ledger_bytes": 5000,
        "ledger_room_bytes": 700,
        "store_gaps{subject=replacement}": 1,
        "ledger_up": 1,
        **{f"tasks{{state={state}}}": {"archived": 7, "lost": 1}.get(state, 0) for state in TaskState},
        **{f"stems{{state={state}}}": {"wanted": 3}.get(state, 0) for state in StemState},
        "stored_bytes": 1234,
        "tasks_due": 2,
        "tasks_working": 1,
        "tasks_at_risk": 4,
        "forecast_late_stems": 8,
        "tasks_quarantined": 5,
        **{f"tasks_put_off{{why={why}}}": count for why, count in zip(Why, (3, 0, 2), strict=True)},
        **{f"longest_put_off_seconds{{why={why}}}": span for why, span in zip(Why, (7200, 0, 3600), strict=True)},
        **{f"tasks_needing_person{{reason={need}}}": {"failed": 2}.get(need, 0) for need in Need},
        "rejected_lines": 6,
        "last_success_timestamp_seconds": (START - timedelta(hours=1)).timestamp(),
        "deadline_slack_seconds": 5 * 3600,
        "queue_unread_bytes": 33,
        "queue_overdue": 0,
        **{f"fixity_faults{{kind={kind}}}": 3 * (kind is Fixity.MISSING) for kind in FAULTS},
        **{f"fixity_faults_acknowledged{{kind={kind}}}": 2 * (kind is Fixity.MISMATCH) for kind in FAULTS},
        "fixity_late": 1,
        "fixity_oldest_check_seconds": 2 * 86_400,
    }


def test_archive_of_which_no_object_is_read_by_itself_has_no_oldest_check() -> None:
    found = samples(Behind(fixity=FixityStanding()).metrics())
    assert found["fixity_late"] == 0
    assert {found[f"fixity_faults{{kind={kind}}}"] for kind in FAULTS} == {0}
    assert "fixity_oldest_check_seconds" not in found


def test_counters_show_what_the_observer_saw() -> None:
    metrics = Behind().metrics()
    metrics.received(10)
    metrics.stem_stored(2_000_000, 0.2)
    metrics.unknown_name()
    metrics.verified({Fixity.OK: 12, Fixity.MISMATCH: 1})
    metrics.verified({Fixity.OK: 1})
    metrics.try_failed(BodyShort("words of an error are no label"))
    metrics.api_answered("api.busy")
    metrics.task_ended(Later(START, "", fault=True), timedelta(hours=1))
    metrics.task_ended(Archived(), timedelta(minutes=3))
    metrics.task_ended(Archived(), None)
    found = samples(metrics)
    assert found["received_bytes_total"] == 10
    assert found["stem_size_bytes_sum"] == 2_000_000
    assert (found["stem_transfer_seconds_bucket{le=0.1}"], found["stem_transfer_seconds_bucket{le=0.25}"]) == (0, 1)
    assert found["unknown_stem_names_total"] == 1
    by_result = {verdict: found[f"fixity_objects_total{{result={verdict}}}"] for verdict in Fixity}
    assert by_result == {**dict.fromkeys(Fixity, 0), Fixity.OK: 13, Fixity.MISMATCH: 1}
    assert found["failed_tries_total{cause=cdn.short_body}"] == 1
    assert (found["api_calls_total{outcome=api.busy}"], found["api_calls_total{outcome=ok}"]) == (1, 0)
    assert (found["task_tries_total{outcome=later}"], found["task_tries_total{outcome=archived}"]) == (1, 2)
    assert (found["task_lag_seconds_count"], found["task_lag_seconds_sum"]) == (1, 180), "of archived tasks alone"


def test_ledger_that_fails_shows_and_takes_away_only_what_comes_from_it() -> None:
    found = samples(Behind(seen=None).metrics())
    assert found["ledger_up"] == 0
    assert found["paused{dependency=store}"] == 1
    assert found["task_tries_total{outcome=archived}"] == 0
    assert not {"tasks_due", "queue_unread_bytes", "tasks{state=lost}"} & set(found)


def test_queue_file_that_cannot_be_read_has_no_sample() -> None:
    found = samples(Behind(unreadable=True).metrics())
    assert "queue_unread_bytes" not in found
    assert found["queue_overdue"] == 1
    assert found["tasks_due"] == 2


def test_ledger_without_open_and_archived_tasks_has_no_slack_and_success_never() -> None:
    found = samples(Behind(seen=replace(SEEN, nearest_deadline=None, last_archived_at=None)).metrics())
    assert "deadline_slack_seconds" not in found
    assert found["last_success_timestamp_seconds"] == 0


def test_slack_goes_on_falling_between_two_looks_into_the_ledger() -> None:
    behind = Behind()
    metrics = behind.metrics()
    metrics.page()
    behind.now += timedelta(seconds=9)
    assert samples(metrics)["deadline_slack_seconds"] == 5 * 3600 - 9
    assert behind.looks == 1


def test_ledger_is_looked_into_again_once_the_look_is_old() -> None:
    behind = Behind()
    metrics = behind.metrics()
    metrics.page()
    behind.now += timedelta(seconds=10)
    metrics.page()
    assert behind.looks == 2


def test_slow_look_into_the_ledger_is_remembered_for_twenty_times_as_long() -> None:
    behind = Behind(look_takes=timedelta(seconds=3))
    metrics = behind.metrics()
    metrics.page()
    behind.now += timedelta(seconds=59)
    metrics.page()
    assert behind.looks == 1
    behind.now += timedelta(seconds=1)
    metrics.page()
    assert behind.looks == 2


def test_clock_that_was_set_back_does_not_make_a_look_last() -> None:
    behind = Behind()
    metrics = behind.metrics()
    metrics.page()
    behind.now -= timedelta(hours=1)
    metrics.page()
    assert behind.looks == 2


def test_failed_look_is_remembered_too_so_that_scrapes_of_a_locked_ledger_do_not_pile_up() -> None:
    behind = Behind(seen=None)
    metrics = behind.metrics()
    metrics.page()
    metrics.page()
    assert behind.looks == 1


def test_every_outcome_has_its_counter_from_the_start() -> None:
    found = samples(Behind().metrics())
    assert {f"task_tries_total{{outcome={outcome.kind}}}" for outcome in get_args(Outcome)} <= set(found)


def kinds(metrics: Metrics) -> dict[str, str]:
    """The type of every metric on the page."""
    types = re.findall(r"^# TYPE (stem_archiver_\w+) (\w+)$", metrics.page().decode(), re.MULTILINE)
    return {name: kind for name, kind in types if not name.endswith("_created")}


def test_metrics_of_the_runbook_are_those_of_the_page() -> None:
    metrics = Behind().metrics()
    metrics.try_failed(ArchiverError())
    table = re.findall(r"^\| `(stem_archiver_\w+)(?:\{\w+\})?` \| (\w+) \|", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert dict(table) == kinds(metrics)
    assert len(table) == len(dict(table))


def test_labels_in_the_runbook_are_those_of_the_page() -> None:
    metrics = Behind().metrics()
    metrics.try_failed(ArchiverError())
    page = metrics.page().decode()
    for name, label in re.findall(r"^\| `(stem_archiver_\w+)\{(\w+)\}`", RUNBOOK.read_text("utf-8"), re.MULTILINE):
        assert re.search(rf'^{name}\{{{label}="[^"]+"\}} ', page, re.MULTILINE), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_page_satisfies_promtool() -> None:
    metrics = Behind().metrics()
    metrics.try_failed(ArchiverError())
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.page(), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("notify", "progress"),
    [
        (lambda metrics: metrics.received(10), 1),
        (lambda metrics: metrics.stem_stored(10, 0.5), 1),
        (lambda metrics: metrics.task_ended(Archived(), None), 1),
        (lambda metrics: metrics.unknown_name(), 0),
        (lambda metrics: metrics.try_failed(BodyShort("short")), 0),
    ],
    ids=["bytes", "stem", "task", "unknown name", "failed try"],
)
def test_whatever_moves_is_progress_and_what_does_no_work_is_none(
    notify: Callable[[Metrics], None], progress: int
) -> None:
    seen: list[str] = []
    notify(Metrics("1.2.3", progress=lambda: seen.append("progress")))
    assert len(seen) == progress
