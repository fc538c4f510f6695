"""`status`, `ack` and `list`: what a person believes, on ledgers with what needs one."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from archiver.commands import app
from archiver.core.attention import Need, QueueStanding, is_held_up, needs_person
from archiver.core.intake import Intake, Reject
from archiver.core.model import Dependency, Failed, Lost, Missing, Refused, TaskId
from archiver.core.states import StemEvent
from tests.fixtures.ledgers import accept, claim, finish, hold, listed, pause, ready_ledger, stem_failed, take_in, tid
from tests.house import Ledger

Call = Callable[..., Result]
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def call(tmp_path: Path) -> Call:
    ready_ledger(tmp_path).close()
    config = tmp_path / "archiver.toml"
    config.write_text(f'[queue]\npath = "{tmp_path}/queue.txt"\n[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n')

    def call(*words: str) -> Result:
        return CliRunner().invoke(app.app, ["--config", str(config), *words], env={"ARCHIVER_CONFIG": None})

    return call


def _lost(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", deadline=now() + 20 * timedelta(days=1), now=now())
    stem_failed(ledger, mine, "vocal", event=StemEvent.GONE, reason="404", now=now())
    finish(ledger, mine, Lost("vocal"), now=now())


def _failed(ledger: Ledger) -> None:
    take_in(ledger, 1, now=now())
    finish(ledger, claim(ledger, now=now()), Failed("GENERATE_AUDIO_FAILED"), now=now())


def _missing(ledger: Ledger) -> None:
    take_in(ledger, 1, now=now())
    finish(ledger, claim(ledger, now=now()), Missing("unknown"), now=now())


def _refused(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", deadline=now() + 20 * timedelta(days=1), now=now())
    stem_failed(ledger, mine, "vocal", event=StemEvent.REFUSED, reason="cdn.not_audio: HTML", now=now())
    finish(ledger, mine, Refused("cdn.not_audio: HTML"), now=now())


def _quarantined(ledger: Ledger) -> None:
    take_in(ledger, 1, now=now())
    for owner in ("first", "second"):
        claim(ledger, owner=owner, now=now())
        ledger.claims.release_dead(lambda _: False, now=now())


def _at_risk(ledger: Ledger) -> None:
    finish(ledger, listed(ledger, 1, "vocal", deadline=now() + 30 * MINUTE, now=now()), Refused("busy"), now=now())


WAYS = {
    Need.LOST: _lost,
    Need.FAILED: _failed,
    Need.MISSING: _missing,
    Need.REFUSED: _refused,
    Need.QUARANTINED: _quarantined,
    Need.AT_RISK: _at_risk,
}


@pytest.mark.parametrize("need", WAYS)
def test_status_names_the_task_that_needs_a_person_and_ends_with_one_until_it_is_acknowledged(
    call: Call, tmp_path: Path, need: Need
) -> None:
    ledger = ready_ledger(tmp_path)
    WAYS[need](ledger)
    ledger.close()
    text, document = call("status"), json.loads(call("status", "--json").stdout)
    assert text.exit_code == document["exit_code"] == 1
    assert f"{tid(1)}  {need.value.replace('_', ' ')}" in text.stdout
    assert [(task["task_id"], task["need"]) for task in document["needing"]] == [(tid(1), need.value)]
    assert {name: count for name, count in document["needs"].items() if count} == {need.value: 1}
    assert call("list", "--state", need.value).stdout.startswith(tid(1))
    assert call("ack", "--state", need.value).exit_code == 0
    assert (call("status").exit_code, json.loads(call("status", "--json").stdout)["needing"]) == (0, [])
    assert call("list").stdout == ""
    assert "acknowledged" in call("list", "--all").stdout
    assert "acknowledged" in call("show", tid(1)).stdout
    again = call("ack", tid(1))
    assert (again.exit_code, "needs nobody" in again.stderr) == (1, True)


def test_rejected_line_needs_a_person_until_it_is_acknowledged(call: Call, tmp_path: Path) -> None:
    ledger = ready_ledger(tmp_path)
    accept(ledger, Intake(rejects=(Reject("q.txt", 0, "bad", "why"),)))
    ledger.close()
    assert (call("status").exit_code, "1 rejected line" in call("ack", "--rejected").stdout) == (1, True)
    assert (call("status").exit_code, "0 rejected lines" in call("ack", "--rejected").stdout) == (0, True)


@pytest.mark.parametrize("way", [pause, hold])
def test_paused_dependency_ends_status_with_three_unless_something_needs_a_person(
    call: Call, tmp_path: Path, way: Callable[..., object]
) -> None:
    ledger = ready_ledger(tmp_path)
    way(ledger, Dependency.STORE, now=now())
    assert call("status").exit_code == 3
    _failed(ledger)
    ledger.close()
    assert call("status").exit_code == 1


def test_hold_whose_end_has_come_pauses_nothing(call: Call, tmp_path: Path) -> None:
    ledger = ready_ledger(tmp_path)
    hold(ledger, Dependency.STORE, until=now() - MINUTE, now=now() - 2 * MINUTE)
    ledger.close()
    assert call("status").exit_code == 0


def test_status_names_settings_ledger_queue_and_what_is_not_taken_in(call: Call, tmp_path: Path) -> None:
    queue = tmp_path / "queue.txt"
    said = call("status").stdout.splitlines()
    assert said[0] == f"settings  {tmp_path}/archiver.toml"
    assert said[1] == f"ledger    {tmp_path}/ledger.db"
    assert "no such file yet" in said[2]
    assert said[3] == "daemon    none is alive on this ledger: start `stem-archiver run`"
    queue.write_text(f"{tid(1)}\n{tid(2)}\n{tid(3)}")
    unread = call("status")
    assert (unread.exit_code, "35 bytes, 3 lines not taken in, the last without its newline" in unread.stdout) == (
        0,
        True,
    )
    os.utime(queue, (0, 0))
    overdue = call("status")
    assert (overdue.exit_code, "unread for 3 polls" in overdue.stdout) == (1, True)
    assert json.loads(call("status", "--json").stdout)["queue"]["overdue"] is True


def test_unterminated_line_that_was_taken_is_not_unread(call: Call, tmp_path: Path) -> None:
    (tmp_path / "queue.txt").write_text(tid(1))
    os.utime(tmp_path / "queue.txt", (0, 0))
    assert call("status").exit_code == 1
    ledger = ready_ledger(tmp_path)
    take_in(ledger, 1, now=now())
    ledger.close()
    assert "all taken in" in call("status").stdout


@pytest.mark.parametrize("ending", ["\n", ""])
def test_lines_that_a_backfill_took_are_not_unread(call: Call, tmp_path: Path, ending: str) -> None:
    queue = tmp_path / "queue.txt"
    queue.write_text("\n".join(tid(number) for number in range(6000)) + ending)
    os.utime(queue, (0, 0))
    ledger = ready_ledger(tmp_path)
    take_in(ledger, *range(5999), now=now())
    assert "not taken in" in call("status").stdout
    take_in(ledger, 5999, now=now())
    ledger.close()
    done = call("status")
    assert (done.exit_code, "all taken in" in done.stdout) == (0, True)


def test_bad_line_without_its_newline_is_unread_until_it_is_rejected(call: Call, tmp_path: Path) -> None:
    queue = tmp_path / "queue.txt"
    queue.write_text("no id")
    assert "5 bytes, 1 line not taken in" in call("status").stdout
    ledger = ready_ledger(tmp_path)
    accept(ledger, Intake(rejects=(Reject(str(queue), 0, "no id", "why"),)))
    ledger.close()
    assert "all taken in" in call("status").stdout


def test_queue_that_cannot_be_read_needs_a_person(call: Call, tmp_path: Path) -> None:
    (tmp_path / "queue.txt").mkdir()
    done = call("status")
    assert (done.exit_code, "cannot be read" in done.stdout) == (1, True)


def test_status_tells_of_daemons_that_live_ended_and_died(call: Call, tmp_path: Path) -> None:
    ledger = ready_ledger(tmp_path)
    ledger.processes.begin("dead", role="run", place="studio", pid=7, now=now() - 9 * MINUTE)
    ledger.processes.note("dead", doing="", looked_at=None, fault="", now=now() - 5 * MINUTE)
    assert "the last (pid 7 on studio) died; its last sign was 5m" in call("status").stdout
    ledger.processes.end("dead", now=now() - 3 * MINUTE)
    assert "the last (pid 7 on studio) ended in order 3m" in call("status").stdout
    folder = tmp_path / "ledger.db.owners"
    folder.mkdir()
    lock = (folder / "living.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    ledger.processes.begin("living", role="run", place="studio", pid=8, now=now() - 2 * MINUTE)
    ledger.processes.note("living", doing="2 tasks in flight", looked_at=now() - MINUTE, fault="", now=now())
    ledger.close()
    living = call("status").stdout
    assert "daemon    alive for 2m" in living
    assert "(pid 8 on studio): 2 tasks in flight; looked at the queue 1m" in living
    lock.close()
    assert "the last (pid 8 on studio) died" in call("status").stdout


# ---------------------------------------------------------------------- the definition


T0 = datetime(2026, 11, 1, tzinfo=UTC)
POLL = timedelta(seconds=30)
OLD, FRESH = T0 - 90 * timedelta(seconds=1), T0 - 89 * timedelta(seconds=1)


@pytest.mark.parametrize(
    ("unread", "appended", "moved", "looked", "overdue"),
    [
        (0, OLD, None, None, False),
        (9, OLD, None, None, True),
        (9, FRESH, None, None, False),
        (9, OLD, OLD, OLD, True),
        (9, OLD, FRESH, FRESH, False),
        (9, FRESH, OLD, OLD, True),
        (9, FRESH, OLD, FRESH, False),
    ],
    ids=["nothing", "never read", "just appended", "daemon gone", "being read", "daemon gone, appended on", "in time"],
)
def test_queue_file_is_overdue_when_it_was_not_read_for_three_polls(
    unread: int, appended: datetime, moved: datetime | None, looked: datetime | None, overdue: bool
) -> None:
    standing = QueueStanding("q", unread, 1, 0, appended, moved, looked)
    assert standing.is_overdue(T0, POLL) is overdue


def test_nothing_needs_a_person_where_nothing_is_counted() -> None:
    assert not needs_person({Need.LOST: 0}, 0, queue_is_overdue=False)
    assert not is_held_up((), T0)


# ---------------------------------------------------------------------- list


def _ids(done: Result) -> list[TaskId]:
    assert done.exit_code == 0, done.output
    return [TaskId(line.split()[0]) for line in done.stdout.splitlines()]


def test_list_is_newest_first_and_narrowed_by_all_that_is_named(call: Call, tmp_path: Path) -> None:
    ledger = ready_ledger(tmp_path)
    for number, age in ((1, 50), (2, 30), (3, 10)):
        take_in(ledger, number, now=now() - timedelta(hours=age))
    finish(ledger, claim(ledger, now=now()), Failed("100% broken"), now=now())
    ledger.close()
    [failed] = _ids(call("list", "--state", "failed"))
    assert _ids(call("list")) == [tid(3), tid(2), tid(1)]
    assert _ids(call("list", "--since", "40h")) == [tid(3), tid(2)]
    assert _ids(call("list", "--since", f"{now() - timedelta(hours=20):%Y-%m-%dT%H:%M}")) == [tid(3)]
    assert _ids(call("list", "--grep", "0% BROKEN")) == [failed]
    assert _ids(call("list", "--grep", "00_00")) == []
    assert _ids(call("list", "--grep", "000002")) == [tid(2)]
    assert _ids(call("list", "--account", "default", "--limit", "2")) == [tid(3), tid(2)]
    assert _ids(call("list", "--account", "second")) == []
    assert set(_ids(call("list", "--state", "Queued"))) == {tid(1), tid(2), tid(3)} - {failed}
    shown = json.loads(call("list", "--json", "--limit", "1").stdout)
    assert ([task["task_id"] for task in shown["tasks"]], shown["more"]) == ([tid(3)], True)
    assert json.loads(call("list", "--json").stdout)["more"] is False
    assert "and more" in call("list", "--limit", "1").stderr


@pytest.mark.parametrize("words", [("--state", "gone"), ("--since", "whenever"), ("--limit", "-1")])
def test_list_says_what_it_cannot_take(call: Call, words: tuple[str, ...]) -> None:
    assert call("list", *words).exit_code == 2


@pytest.mark.parametrize("words", [(), (tid(1), "--rejected"), ("--state", "archived"), ("no/id",)])
def test_ack_says_what_it_cannot_take(call: Call, words: tuple[str, ...]) -> None:
    assert call("ack", *words).exit_code == 2


def test_list_shows_each_of_many_tasks_once_whatever_their_states(call: Call, tmp_path: Path) -> None:
    ledger = ready_ledger(tmp_path)
    for batch in range(4):
        take_in(ledger, *range(batch * 400, batch * 400 + 400), now=now() - timedelta(hours=9 - batch))
    with ledger.db.write() as db:
        db.exec_driver_sql(
            "UPDATE tasks SET state = 'archived', ended_at = accepted_at, not_before = NULL WHERE task_id LIKE '%5'"
        )
    ledger.close()
    assert _ids(call("list", "--limit", "0")) == [tid(number) for number in reversed(range(1600))]


def test_retry_of_all_says_that_there_is_nothing_to_do(call: Call) -> None:
    done = call("retry", "--all-failed")
    assert (done.exit_code, "nothing is" in done.stdout) == (0, True)
