"""What every command takes, and how help reads."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from archiver.commands.app import app
from tests import ROOT
from tests.worlds.site import measured


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "here.toml"
    file.write_text('[store]\nbucket = "my-bucket"\n')
    return file


def said(*words: str) -> str:
    done = CliRunner().invoke(app, words, env=dict.fromkeys(name for name in os.environ if "ARCHIVER_" in name))
    return done.output


@pytest.mark.parametrize(
    "words",
    ["-c FILE config show", "config -c FILE show", "config show -c FILE", "config show --json --config=FILE"],
)
def test_settings_file_may_be_named_before_between_and_behind_the_words_of_a_command(
    words: str, settings: Path
) -> None:
    assert "my-bucket" in said(*words.replace("FILE", str(settings)).split())


@pytest.mark.parametrize(
    ("options", "level"),
    [("-v", "debug"), ("-q", "error"), ("--log-level warning", "warning"), ("-q --log-level info", "info")],
)
@pytest.mark.parametrize("before", [True, False])
def test_level_of_the_command_line_wins_on_either_side_of_the_command(
    options: str, level: str, before: bool, settings: Path
) -> None:
    settings.write_text('[log]\nlevel = "info"\n')
    words = f"-c {settings} {options} config show" if before else f"config show {options} -c {settings}"
    assert f"log.level = {level}  # command line" in said(*words.split())


def test_value_of_a_command_s_own_option_is_not_taken_for_an_option_of_all(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.touch()
    assert "'-q'" in said("list", "-c", str(empty), "--since", "-q")


def _pages() -> Iterator[tuple[str, ...]]:
    def below(command: object, *path: str) -> Iterator[tuple[str, ...]]:
        yield path
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, *path, name)

    yield from below(get_command(app))


@pytest.mark.parametrize("path", list(_pages()))
def test_help_shows_no_type_of_python(path: tuple[str, ...]) -> None:
    assert re.findall(r"<\w[^>]*>|\b(?:TEXT|INTEGER|PATH|FLOAT)\b(?<!TEXT)", said(*path, "--help")) == []


def test_help_shows_every_command_in_a_group_with_a_name() -> None:
    page = said("--help")
    assert "─ Commands ─" not in page
    listed = re.findall(r"^│ ([a-z]+) ", page, re.MULTILINE)
    assert sorted(listed) == sorted(path[0] for path in _pages() if len(path) == 1)


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("backfil", "'backfill'"),
        ("stauts", "'status'"),
        ("shows", "'show'"),
        ("backup", "'ledger backup'"),
        ("exampel", "'config example'"),
        ("ledger restor", "'restore'"),
        ("res", ""),
        ("ledger ack", ""),
    ],
)
def test_command_that_there_is_not_is_answered_with_those_much_like_it_alone(typed: str, suggested: str) -> None:
    page = said(*typed.split())
    assert f"No such command '{typed.rsplit(maxsplit=1)[-1]}'." in page
    assert "".join(re.findall(r"Did you mean (.+)\?", page)) == suggested


@pytest.mark.parametrize(("option", "variable"), [("--no-color", {}), (None, {"NO_COLOR": "1"}), (None, {})])
def test_help_is_without_colour_where_that_is_asked_for(option: str | None, variable: dict[str, str]) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", **variable, **measured()}
    words = [sys.executable, "-m", "archiver", "status", "--help", *([option] if option else [])]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True, timeout=60)
    coloured = re.findall(r"\x1b\[(?:\d+;)*3\dm", done.stdout)
    assert bool(coloured) is (option is None and not variable)


def test_manual_page_has_every_command_with_its_options_and_example() -> None:
    page = re.sub(r"\\f[BIR]|\\&", "", said("man")).replace("\\-", "-").replace("\\e", "\\")
    leaves = [path for path in _pages() if path and not any(other[:-1] == path for other in _pages())]
    assert len(leaves) >= 30
    for path in leaves:
        [section] = re.findall(rf"(?ms)^\.SS {' '.join(path)}\n(.*?)(?=^\.SS |\Z)", page)
        shown = said(*path, "--help")
        assert re.findall(r"Exit codes:", section), path
        assert set(re.findall(r"(?<=│ )--[a-z-]+", shown)) <= set(re.findall(r"--[a-z-]+", section)), path


def test_manual_page_is_sound_roff() -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-z"], input=said("man"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [["--help"], ["config", "example"], ["deploy", "list"], ["config", "show", "--json"]])
def test_output_that_nobody_reads_any_more_ends_a_command_as_sigpipe_ends_others(
    settings: Path, words: list[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "archiver", "-c", str(settings), *words],
            env=os.environ | {"ARCHIVER_PROVIDER__API_KEY": "secret-key"},
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["health", "--timeout", "inf"], 2), (["health", "--timeout", "1e300"], 2), (["list", "--limit", "9" * 30], 0)],
)
def test_number_that_is_larger_than_any_machine_counts_breaks_no_command(
    tmp_path: Path, settings: Path, words: list[str], code: int
) -> None:
    environ = {"ARCHIVER_PROVIDER__API_KEY": "secret-key", "ARCHIVER_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.db"}
    for each in (["ledger", "migrate"], words):
        done = CliRunner().invoke(app, ["-c", str(settings), *each], env=environ)
    assert (done.exit_code, done.exception is None or isinstance(done.exception, SystemExit)) == (code, True), (
        done.output
    )
