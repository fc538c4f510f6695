"""Commands that read, where there is no ledger: they make nothing, and say where they looked, and as whom."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archiver.commands import app
from archiver.commands.invocation import Exit, user_name
from tests.house import ledger_at

NOBODY = 65534
READING = [
    ["status"],
    ["status", "--json"],
    ["show", "task-0001"],
    ["retry", "--all-failed"],
    ["retry", "task-0001"],
    ["pause"],
    ["pause", "--store", "--for", "2h"],
    ["resume"],
]


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("there", ["nothing", "folder", "empty file"])
def test_command_without_a_ledger_makes_nothing_and_says_where_it_looked(
    tmp_path: Path, words: list[str], there: str
) -> None:
    state = tmp_path / "home" / ".local" / "state" / "stem-archiver"
    if there != "nothing":
        state.mkdir(parents=True)
    if there == "empty file":
        (state / "ledger.db").touch()
    before = everything(tmp_path)
    settings = dict.fromkeys(("ARCHIVER_CONFIG", "STATE_DIRECTORY", "XDG_STATE_HOME"))
    done = CliRunner().invoke(app.app, words, env={**settings, "HOME": str(tmp_path / "home")})
    assert done.exit_code == Exit.USAGE
    assert (f"no ledger at {state / 'ledger.db'}" in done.stderr, user_name() in done.stderr) == (True, True)
    assert "a first `run` or `backfill` makes it" in done.stderr
    assert everything(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_all_that_root_makes_in_the_folder_of_a_user_is_that_users(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    state = home / "a" / "state"
    env = {"ARCHIVER_CONFIG": None, "STATE_DIRECTORY": str(state)}
    done = CliRunner().invoke(app.app, ["enqueue", "task-0001"], env=env)
    assert done.exit_code == Exit.DONE
    ledger = ledger_at(f"sqlite:///{state}/ledger.db")
    assert CliRunner().invoke(app.app, ["status"], env=env).exit_code == Exit.DONE
    made = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in everything(home)}
    ledger.close()
    assert {"a", "state", "queue.txt", "ledger.db", "ledger.db-wal", "ledger.db-shm"} <= set(made)
    assert set(made.values()) == {(NOBODY, NOBODY)}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
