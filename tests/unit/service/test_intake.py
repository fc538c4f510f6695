"""Intake, from a real queue file into a real ledger: what is taken when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.adapters.queue_file import QueueFile
from archiver.service.intake import QueueIntake
from tests.fakes.events import Events
from tests.fixtures.ledgers import NOW, open_ledger
from tests.house import Ledger

ID = "task-00000001"


@dataclass
class Inbox:
    path: Path
    ledger: Ledger
    poll: QueueIntake
    events: Events

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
    with closing(open_ledger(tmp_path)) as ledger:
        queue = QueueFile(str(path))
        yield Inbox(path, ledger, QueueIntake(queue, str(path), ledger.intakes, lambda: NOW, events), events)


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
