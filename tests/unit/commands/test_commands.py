"""The commands that work on nothing but settings and the ledger, called in this process."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from archiver import __version__
from archiver.commands import app
from archiver.commands.invocation import Exit, unforeseen
from tests.fakes.threads import no_threads
from tests.house import ready_ledger_at

SECRET = "k" * 32


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with which every command works, and a ledger of their own."""
    file = tmp_path / "archiver.toml"
    file.touch(mode=0o600)
    file.write_text(
        f"""
[provider]
api_key = "{SECRET}"
[queue]
path = "{tmp_path}/queue.txt"
[store]
bucket = "my-bucket"
[ledger]
url = "sqlite:///{tmp_path}/ledger.db"
"""
    )
    ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db").close()
    return file


def called(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app.app, ["--config", str(config), *words], env={"ARCHIVER_CONFIG": None})


def test_config_show_says_where_each_value_is_from_and_no_secret(config: Path) -> None:
    text, document = called(config, "config", "show"), called(config, "config", "show", "--json")
    assert (text.exit_code, document.exit_code) == (0, 0)
    assert f"store.bucket = my-bucket  # file {config}" in text.output
    assert json.loads(document.stdout)["store.bucket"] == {"value": "my-bucket", "source": f"file {config}"}
    assert SECRET not in text.output + document.output


def test_config_validate_accepts_what_run_would_and_refuses_the_rest(config: Path) -> None:
    assert called(config, "config", "validate").exit_code == Exit.DONE
    config.write_text("[store]\nbucket = 3\n")
    refused = called(config, "config", "validate")
    assert refused.exit_code == Exit.USAGE
    assert "store.bucket" in refused.stderr
    assert "provider.api_key" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["retry"], Exit.USAGE, "--all-failed"),
        (["retry", "task-0001", "--all-failed"], Exit.USAGE, "--all-failed"),
        (["retry", "task-0001"], Exit.UNARCHIVED, "task-0001 was left alone"),
        (["show", "task-0001"], Exit.UNARCHIVED, "does not know task-0001"),
        (["enqueue", "short", "task-0001"], Exit.USAGE, "no task id: 'short'"),
        (["backfill", "--max-wait", "soon"], Exit.USAGE, "90s"),
    ],
)
def test_command_that_cannot_do_what_was_asked_says_why(
    config: Path, words: list[str], code: int, message: str
) -> None:
    done = called(config, *words)
    assert done.exit_code == code
    assert message in done.stderr


def test_version_is_told_without_any_settings() -> None:
    done = CliRunner().invoke(app.app, ["--version"])
    assert (done.exit_code, done.stdout.split()[-1]) == (0, __version__)


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["enqueue", "task-0001"], ["archiver.app", "sqlalchemy", "httpx", "botocore", "prometheus_client"]),
        (["status", "--json"], ["archiver.app.adapters", "httpx", "botocore", "prometheus_client", "apscheduler"]),
    ],
)
def test_command_loads_nothing_that_it_does_not_need(config: Path, words: list[str], heavy: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "archiver", "--config", str(config), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "archiver.commands.app" in loaded
    assert loaded.isdisjoint(heavy)


def test_get_and_restore_load_neither_the_ledger_nor_what_a_task_travels_by() -> None:
    rooms = ("app.retrieval", "commands.retrieval", "commands.retrieving", "service.shutdown", "logs")
    code = f"import {', '.join(f'archiver.{room}' for room in rooms)}"
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {f"archiver.{room}" for room in rooms} <= loaded
    assert loaded.isdisjoint(["sqlalchemy", "tenacity", "archiver.adapters.ledger", "archiver.adapters.provider"])
    assert loaded.isdisjoint(["archiver.pipeline.dispatch", "archiver.service.backfill"])


def test_config_show_ends_as_run_would_where_a_setting_is_lacking(config: Path) -> None:
    config.write_text('[store]\nbucket = "my-bucket"\n')
    for words in (["config", "show"], ["config", "show", "--json"]):
        done = called(config, *words)
        assert done.exit_code == Exit.USAGE
        assert ("store.bucket" in done.stdout, "provider.api_key: is required" in done.stderr) == (True, True)


def _raise(error: Exception) -> None:
    with unforeseen():
        raise error


def test_what_no_command_foresaw_is_one_line_where_the_system_refused_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _raise(PermissionError(errno.EACCES, "Permission denied", "/somewhere"))
    assert ended.value.code == Exit.PAUSED
    assert capsys.readouterr().err.splitlines()[0] == "stem-archiver: /somewhere: Permission denied"


def test_thread_that_the_system_does_not_give_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, no_threads(), unforeseen():
        threading.Thread(target=print).start()
    assert ended.value.code == Exit.PAUSED
    assert capsys.readouterr().err.splitlines()[0] == "stem-archiver: the system starts no further thread"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("odd"), KeyError("x")])
def test_what_no_command_foresaw_is_no_traceback(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    code = subprocess.run([sys.executable, "-c", CRASH, repr(error)], check=False, timeout=60).returncode
    said = capfd.readouterr().err
    assert (code, "Traceback" in said) == (Exit.PAUSED if isinstance(error, OSError) else Exit.UNARCHIVED, False)
    assert ("process.crashed" in said) != isinstance(error, OSError)


CRASH = """
import sys
from archiver.commands.invocation import unforeseen
with unforeseen():
    raise eval(sys.argv[1])
"""
