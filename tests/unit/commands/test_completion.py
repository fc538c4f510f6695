"""Completion of task ids, by the protocol that a shell speaks: out of the ledger, bounded, and never a fault."""

from __future__ import annotations

import shlex
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archiver.commands import app
from archiver.core.model import Failed
from tests.fixtures.ledgers import claim, finish, ready_ledger, take_in, tid

SHOWN = 50
ALL = [f"task-{number:06}" for number in range(1, 61)]
NEWEST_FIRST = ALL[::-1]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The settings of a ledger of sixty tasks, of which the first failed."""
    now = datetime.now(UTC)
    with closing(ready_ledger(tmp_path)) as ledger:
        for number in range(1, 61):
            take_in(ledger, number, now=now + timedelta(seconds=number))
        failed = claim(ledger, now=now + timedelta(seconds=1))
        assert failed.task_id == tid(1)
        finish(ledger, failed, Failed("GENERATE_AUDIO_FAILED"), now=now + timedelta(minutes=2))
    file = tmp_path / "archiver.toml"
    file.touch(mode=0o600)
    file.write_text(f'[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n')
    return file


def completed(line: str, home: Path) -> list[str]:
    """Return what the shell is given where the cursor stands behind the line."""
    words = shlex.split(line)
    environ = {
        "_STEM_ARCHIVER_COMPLETE": "complete_bash",
        "COMP_WORDS": f"stem-archiver {line}",
        "COMP_CWORD": str(len(words) + line.endswith(" ")),
        "HOME": str(home),
        **dict.fromkeys(("ARCHIVER_CONFIG", "STATE_DIRECTORY", "XDG_STATE_HOME")),
    }
    done = CliRunner().invoke(app.app, [], prog_name="stem-archiver", env=environ)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize("command", ["show", "get", "get task-000001", "link", "verify"])
def test_id_of_a_task_is_completed_from_its_first_characters(settings: Path, command: str) -> None:
    assert completed(f"-c {settings} {command} task-00002", settings.parent) == NEWEST_FIRST[31:41]
    assert completed(f"-c {settings} {command} task-000061", settings.parent) == []


@pytest.mark.parametrize("command", ["retry", "ack"])
def test_command_that_decides_is_given_tasks_that_need_a_person_alone(settings: Path, command: str) -> None:
    assert completed(f"-c {settings} {command} ", settings.parent) == [tid(1)]
    assert completed(f"-c {settings} {command} task-00000", settings.parent) == [tid(1)]
    assert completed(f"-c {settings} {command} task-00001", settings.parent) == []


@pytest.mark.parametrize("begun", ["", "tas", "task-0"])
def test_ids_beyond_fifty_are_left_out_the_oldest_first(settings: Path, begun: str) -> None:
    assert sorted(completed(f"-c {settings} show {begun}", settings.parent)) == ALL[-SHOWN:]


def test_settings_are_those_that_the_line_names_before_or_behind_the_command(settings: Path) -> None:
    assert completed(f"show --config {settings} task-000007", settings.parent) == [tid(7)]
    assert completed("show task-000007", settings.parent) == []


@pytest.mark.parametrize("trouble", ["no ledger", "no settings", "bad settings", "no database"])
def test_trouble_is_not_told_to_who_is_typing_and_nothing_is_made(settings: Path, trouble: str) -> None:
    folder = settings.parent
    if trouble == "no ledger":
        (folder / "ledger.db").unlink()
    elif trouble == "no settings":
        settings.unlink()
    elif trouble == "bad settings":
        settings.write_text("[ledger")
    else:
        (folder / "ledger.db").write_text("none")
    before = {file: file.stat().st_size for file in folder.iterdir()}
    assert completed(f"-c {settings} show task-0", folder) == []
    assert {file: file.stat().st_size for file in folder.iterdir()} == before
