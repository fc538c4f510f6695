"""Intake, from a real queue file into a real ledger: what is taken when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from archiver.adapters.queue_file import QueueFile
from archiver.core.model import TaskId
from archiver.core.records.kinds.names import KindName
from archiver.service.intake import QueueIntake
from tests.fakes.events import Events
from tests.fixtures.ledgers import NOW, overview, ready_ledger
from tests.house import Ledger

ID = "task-00000001"
POLL = timedelta(seconds=30)


@dataclass
class Inbox:
    path: Path
    ledger: Ledger
    intake: QueueIntake
    events: Events
    now: datetime = NOW

    def poll(self) -> None:
        self.read_after(POLL)

    def read_after(self, span: timedelta) -> None:
        self.now += span
        self.intake()

    @property
    def accepted(self) -> list[object]:
        return [fields["task_id"] for fields in self.events.of("queue.accepted")]

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    path, events = tmp_path / "queue.txt", Events()
    path.touch()
    with closing(ready_ledger(tmp_path)) as ledger:
        queue = QueueFile(str(path))
        intake = QueueIntake(queue, str(path), ledger.intakes, lambda: box.now, events, every=POLL)
        box = Inbox(path, ledger, intake, events)
        yield box


def test_last_line_without_newline_is_taken_once_it_stood_still_from_one_poll_to_the_next(inbox: Inbox) -> None:
    inbox.write(ID)
    inbox.poll()
    assert inbox.accepted == []
    for _ in range(3):
        inbox.poll()
        assert inbox.accepted == [ID]


def test_last_line_that_grows_from_poll_to_poll_waits(inbox: Inbox) -> None:
    for character in ID:
        inbox.write(character)
        inbox.poll()
    assert inbox.accepted == []


def test_last_line_that_grows_after_it_was_taken_is_read_again_whole(inbox: Inbox) -> None:
    inbox.write(ID)
    inbox.poll()
    inbox.poll()
    inbox.write("-whole\ntask-00000002\n")
    inbox.poll()
    assert inbox.accepted == [ID, f"{ID}-whole", "task-00000002"]


def test_json_without_its_end_is_rejected_once_when_it_stood_still(inbox: Inbox) -> None:
    inbox.write('{"code": 200,\n  "data": {"taskId":\n')
    for _ in range(4):
        inbox.poll()
    assert [name for _, name, _ in inbox.events.seen] == ["queue.rejected"]
    inbox.write(f'    "{ID}"\n  }}\n}}\n')
    inbox.poll()
    assert inbox.accepted == [ID]


def test_rotation_that_lost_nothing_is_information_and_one_that_may_have_is_a_warning(inbox: Inbox) -> None:
    inbox.write(f"{ID}\n")
    inbox.poll()
    inbox.path.rename(f"{inbox.path}.1")
    inbox.path.write_text("task-00000002\n")
    inbox.poll()
    Path(f"{inbox.path}.1").unlink()
    inbox.path.write_text("task-00000003\n")
    inbox.poll()
    told = [(level, fields["old_file"]) for level, name, fields in inbox.events.seen if name == "queue.restarted"]
    assert told == [
        ("info", "read to its end"),
        ("warning", "not found: unknown is what stood in it after byte 14"),
    ]
    assert inbox.accepted == [ID, "task-00000002", "task-00000003"]


def test_line_that_names_another_kind_than_the_first_is_told_once_and_the_first_stays(inbox: Inbox) -> None:
    inbox.write(f"{ID} kind=music\n")
    inbox.poll()
    inbox.write(f'{ID} kind=wav title="Harbour Lights"\n{ID} kind=music\n{ID} kind=auto\n{ID}\n')
    inbox.poll()
    row = inbox.ledger.reports.show(TaskId(ID))
    assert row is not None
    assert (row.kind, row.title) == (KindName.MUSIC, "Harbour Lights")
    [told] = inbox.events.of("queue.rejected")
    assert (told["number"], told["line"]) == (2, f'{ID} kind=wav title="Harbour Lights"')
    assert "taken as music already" in str(told["reason"])
    assert [(reject.line, reject.reason) for reject in overview(inbox.ledger).rejects] == [(2, told["reason"])]


def test_kinds_of_one_task_within_one_read_are_told_in_the_same_way(inbox: Inbox) -> None:
    inbox.write(f"{ID} kind=midi\n{ID} kind=wav\n{ID} title=Harbour\n")
    inbox.poll()
    assert inbox.accepted == [ID]
    row = inbox.ledger.reports.show(TaskId(ID))
    assert row is not None
    assert (row.kind, row.title) == (KindName.MIDI, "Harbour")
    assert [reject.line for reject in overview(inbox.ledger).rejects] == [2]


def test_file_looks_changed_after_each_append_until_it_was_read(inbox: Inbox) -> None:
    inbox.poll()
    for _ in range(3):
        assert not inbox.intake.has_changed()
        inbox.write(f"{ID}\n")
        assert inbox.intake.has_changed()
        inbox.poll()


def test_file_that_is_written_while_it_is_read_looks_changed_afterwards(inbox: Inbox) -> None:
    inbox.write(f"{ID}\n")
    inbox.intake.looked = lambda _: inbox.write("task-00000002\n")
    inbox.poll()
    assert inbox.intake.has_changed()


def test_file_looks_changed_where_another_took_its_place_or_it_is_gone(inbox: Inbox) -> None:
    inbox.write(f"{ID}\n")
    inbox.poll()
    inbox.path.rename(f"{inbox.path}.1")
    assert inbox.intake.has_changed()
    inbox.path.write_text("task-00000002\n")
    assert inbox.intake.has_changed()
    inbox.poll()
    assert not inbox.intake.has_changed()
    assert inbox.accepted == [ID, "task-00000002"]


def test_last_line_without_newline_waits_while_the_file_is_read_more_often_than_it_is_polled(inbox: Inbox) -> None:
    inbox.write(ID)
    for _ in range(10):
        inbox.read_after(timedelta(seconds=1))
    assert inbox.accepted == []
    inbox.read_after(POLL)
    assert inbox.accepted == [ID]


def test_clock_that_was_set_back_makes_no_last_line_wait_for_longer(inbox: Inbox) -> None:
    inbox.write(ID)
    inbox.poll()
    inbox.read_after(-timedelta(days=1))
    assert inbox.accepted == [ID]


def test_file_that_cannot_be_read_is_complained_about_once(inbox: Inbox) -> None:
    inbox.path.unlink()
    inbox.path.mkdir()
    for _ in range(3):
        inbox.poll()
    inbox.path.rmdir()
    inbox.path.write_text(f"{ID}\n")
    assert inbox.intake.has_changed()
    inbox.poll()
    assert [name for _, name, _ in inbox.events.seen] == ["queue.unreadable", "queue.accepted"]
