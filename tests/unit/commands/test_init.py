"""`init`: what it writes, what it refuses, and that it leaves nothing half."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import tomllib
from pathlib import Path

import pytest
from typer.testing import Result

from archiver.settings import load
from tests import ROOT
from tests.fakes.waiting import until
from tests.house import command
from tests.worlds.site import measured

KEY = "sk-0123456789"


def init(folder: Path, *words: str, stdin: str = f"{KEY}\n", **environ: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith("ARCHIVER_")} | {"HOME": str(folder)}
    return command("init", str(folder), *words, env=clean | environ, stdin=stdin)


SCRIPT = ("--yes", "--bucket", "my-stems", "--key-file", "-", "--no-check")


def test_script_gets_settings_that_can_be_used_and_a_key_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    done = init(tmp_path / "new", *SCRIPT, "--endpoint-url", "https://s3.example.com", "--prefix", "stems")

    assert done.exit_code == 0, done.output
    file, key = tmp_path / "new" / "archiver.toml", tmp_path / "new" / "kie-api-key"
    settings = load(file, {"HOME": "/home/me"}, require={"store.bucket", "provider.api_key"}).settings
    assert settings.provider.key() == KEY
    assert (settings.store.bucket, settings.store.prefix) == ("my-stems", "stems/")
    assert settings.store.endpoint_url == "https://s3.example.com"
    assert key.stat().st_mode & 0o777 == 0o600
    assert KEY not in file.read_text() + done.output
    assert sorted(path.name for path in file.parent.iterdir()) == ["archiver.toml", "kie-api-key"]


def test_values_of_the_environment_are_written_too(tmp_path: Path) -> None:
    environ = {
        "ARCHIVER_PROVIDER__API_KEY": KEY,
        "ARCHIVER_STORE__BUCKET": "from-env",
        "ARCHIVER_STORE__REGION": "eu-1",
    }
    done = init(tmp_path, "--yes", "--no-check", **environ)
    assert done.exit_code == 0, done.output
    written = tomllib.loads((tmp_path / "archiver.toml").read_text())
    assert written["store"] == {"bucket": "from-env", "region": "eu-1"}
    assert (tmp_path / "kie-api-key").read_text() == f"{KEY}\n"


@pytest.mark.parametrize("name", ["archiver.toml", "kie-api-key"])
def test_file_that_is_there_is_not_written_over_and_nothing_is_left_beside_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine\n")
    done = init(tmp_path, *SCRIPT)
    assert done.exit_code == 2
    assert f"{tmp_path}/{name} is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine\n"


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("--bucket", "my-stems"), "", "the provider's API key is needed"),
        (("--bucket", "my-stems", "--key-file", "-"), "two words\n", "--key-file holds a space"),
        (("--bucket", "my-stems", "--key-file", "-"), "\n", "--key-file is empty"),
        (("--bucket", "my-stems", "--key-file", "/nowhere"), "", "--key-file: No such file or directory"),
        (("--key-file", "-"), f"{KEY}\n", "the bucket is needed"),
        (("--bucket", "s3://stems", "--key-file", "-"), f"{KEY}\n", "--bucket must be the bucket's name alone"),
        (("--bucket", "stems", "--region", "EU!", "--key-file", "-"), f"{KEY}\n", "--region must be a region's name"),
        (("--bucket", "stems", "--for", "upstart", "--key-file", "-"), f"{KEY}\n", "--for 'upstart' is none"),
    ],
)
def test_what_is_missing_or_wrong_gets_one_clear_line_and_nothing_is_written(
    words: tuple[str, ...], stdin: str, said: str, tmp_path: Path
) -> None:
    done = init(tmp_path / "new", "--yes", "--no-check", *words, stdin=stdin)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "two words" not in done.output
    assert not (tmp_path / "new").exists()


def test_for_systemd_it_writes_a_unit_with_this_program_and_these_files(tmp_path: Path) -> None:
    done = init(tmp_path, *SCRIPT, "--for", "systemd")
    assert done.exit_code == 0, done.output
    unit = (tmp_path / "stem-archiver.service").read_text()
    assert f"LoadCredential=kie-api-key:{tmp_path}/kie-api-key\n" in unit
    assert f"--config {tmp_path}/archiver.toml run\n" in unit
    assert "/etc/stem-archiver" not in unit
    assert "provider" not in tomllib.loads((tmp_path / "archiver.toml").read_text()), "systemd hands the key over"
    shown = command("deploy", "show", "systemd").stdout
    assert len(unit.splitlines()) == len(shown.splitlines())


def test_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    folder = tmp_path / "with 100% blanks"
    assert init(folder, *SCRIPT, "--for", "systemd").exit_code == 0
    words = ["systemd-analyze", "verify", "--man=no", str(folder / "stem-archiver.service")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "stem-archiver.service" not in done.stderr, done.stderr


@pytest.mark.parametrize("key", [KEY, "a$b#c", "it's", 'q"\\$'])
def test_for_compose_it_writes_an_environment_that_nobody_else_can_read(key: str, tmp_path: Path) -> None:
    done = init(tmp_path, *SCRIPT, "--for", "compose", stdin=f"{key}\n")
    assert done.exit_code == 0, done.output
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "compose.yaml"]
    read = subprocess.run(
        ["/bin/sh", "-c", '. ./.env; printf %s "$ARCHIVER_PROVIDER__API_KEY"'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout == key, "a shell reads quotes as compose does"


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **measured()}
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "-m", "archiver", "init", *words], environ)
        self.seen = ""

    def until(self, text: str) -> None:
        while text not in self.seen:
            try:
                self.seen += os.read(self._fd, 4096).decode()
            except OSError:
                raise AssertionError(f"ended before {text!r}: {self.seen}") from None

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def type_unseen(self, text: str) -> None:
        """Type once the terminal shows nothing of it: what was typed before is thrown away."""
        until(lambda: not termios.tcgetattr(self._fd)[3] & termios.ECHO)
        self.type(text)

    def end(self, again: str = "") -> int:
        """Wait for its end; type `again` when it is silent: one Ctrl-C just before a read is not seen."""
        while True:
            if not select.select([self._fd], [], [], 2)[0]:
                self.type(again)
                continue
            try:
                read = os.read(self._fd, 4096)
            except OSError:
                read = b""
            if not read:
                break
            self.seen += read.decode()
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_person_is_asked_again_for_what_is_wrong_and_the_key_is_never_shown(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--no-check")
    terminal.until("Kept at work by")
    terminal.type("\n")
    terminal.until("API key")
    terminal.type_unseen(f"{KEY}\n")
    terminal.until("Bucket: ")
    terminal.type("My Bucket\n")
    terminal.until("must be 3 to 63")
    terminal.type("my-stems\n")
    for question in ("Address of the store", "Region", "What every key begins with"):
        terminal.until(question)
        terminal.type("\n")
    assert terminal.end() == 0, terminal.seen
    assert KEY not in terminal.seen
    assert tomllib.loads((tmp_path / "archiver.toml").read_text())["store"] == {"bucket": "my-stems"}
    assert "stem-archiver enqueue ID" in terminal.seen, "the working folder is where every command looks"


@pytest.mark.parametrize(("typed", "code"), [("\x03", 128 + signal.SIGINT), ("\x04", 2)])
def test_person_who_breaks_off_leaves_nothing(typed: str, code: int, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--for", "hand")
    terminal.until("API key")
    terminal.type_unseen(f"{KEY}\n")
    terminal.until("Bucket: ")
    terminal.type(typed)
    assert terminal.end(again=typed) == code, terminal.seen
    assert list(tmp_path.iterdir()) == []
