"""`init`: the files with which somebody begins, all of them or none."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from archiver import __version__
from archiver.app.shipped import MAIN, shipped
from archiver.settings import variable
from archiver.settings.first import API_KEY, as_environment, as_toml

KEY_FILE = "kie-api-key"
SYSTEM_FOLDER = Path("/etc/stem-archiver")
STATE_FOLDER = "/var/lib/stem-archiver"
_INSTALLED = "/opt/stem-archiver/bin/stem-archiver"
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - what the unit cannot see; nothing is made there


_FOR_BOTO3 = """
# What boto3 reads; not needed where the machine has a role.
#AWS_ACCESS_KEY_ID=
#AWS_SECRET_ACCESS_KEY=
"""


class Way(StrEnum):
    """By what the service is kept at work."""

    HAND = "hand"
    SYSTEMD = "systemd"
    COMPOSE = "compose"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is not there yet."""

    path: Path
    text: str
    mode: int
    holds: str


@dataclass(frozen=True, slots=True)
class Setup:
    """Files that are to be written, and how they are used."""

    way: Way
    settings: Path
    """The settings file, or that of environment variables."""
    keeps_key: bool = False
    """True where the key file is there already, and is the one to be used."""
    values: Mapping[str, str] = field(default_factory=dict)
    """By dotted name, the key among them."""

    def holding(self, values: Mapping[str, str]) -> Setup:
        """Return it with these values."""
        return replace(self, values=values)

    def toml(self) -> Path | None:
        """Return the settings file; None where the environment holds them."""
        return None if self.way is Way.COMPOSE else self.settings

    def places(self) -> Sequence[Path]:
        """Return the paths of all that is to be written."""
        return [file.path for file in self.holding({API_KEY: ""}).files(())]

    def files(self, program: Sequence[str]) -> Sequence[NewFile]:
        """Return the files in the order in which they are written; `program` is the words that call us."""
        folder = self.settings.parent
        if self.way is Way.COMPOSE:
            compose = shipped("deploy/compose.service.yaml")
            return (
                NewFile(self.settings, f"{as_environment(self.values)}{_FOR_BOTO3}", 0o600, "settings and key"),
                NewFile(folder / "compose.yaml", compose, 0o644, "the service, for docker compose"),
            )
        plain = {key: value for key, value in self.values.items() if key != API_KEY}
        if self.way is Way.HAND:
            plain = {"provider.api_key_file": KEY_FILE, **plain}
        files = [NewFile(self.settings, as_toml(plain), 0o644, "settings")]
        if not self.keeps_key:
            files.append(NewFile(folder / KEY_FILE, f"{self.values[API_KEY]}\n", 0o600, "the key"))
        if self.way is Way.SYSTEMD:
            files.append(NewFile(folder / "stem-archiver.service", self._unit(program), 0o644, "the unit for systemd"))
        return files

    def environ(self) -> Mapping[str, str]:
        """Return what is set in the environment of the service, for its check."""
        if self.way is Way.SYSTEMD:
            return {"CREDENTIALS_DIRECTORY": str(self.settings.parent), "STATE_DIRECTORY": STATE_FOLDER}
        if self.way is Way.COMPOSE:
            return {variable(key): value for key, value in self.values.items()}
        return {}

    def hidden(self, program: Sequence[str]) -> Sequence[str]:
        """Return the paths that the unit's sandbox would hide from the service."""
        paths = (*program[:1], str(self.settings)) if self.way is Way.SYSTEMD else ()
        return [path for path in paths if path.startswith(tuple(f"{folder}/" for folder in _HIDDEN))]

    def next_steps(self, called: str) -> Sequence[str]:
        """Return what a person types next; `called` is how they call us with these settings."""
        folder = shlex.quote(str(self.settings.parent))
        if self.way is Way.SYSTEMD:
            return (
                f"install -m 644 {folder}/stem-archiver.service /etc/systemd/system/",
                "systemctl daemon-reload && systemctl enable --now stem-archiver",
                f"STATE_DIRECTORY={STATE_FOLDER} {called} enqueue ID   # the id of a task at the provider",
            )
        if self.way is Way.COMPOSE:
            compose = f"docker compose --project-directory {folder}"
            return (
                f"docker build -t stem-archiver:{__version__} CHECKOUT   # the image, once",
                f"{compose} up --detach",
                f"{compose} exec archiver stem-archiver enqueue ID   # the id of a task at the provider",
            )
        return (
            f"{called} enqueue ID   # the id of a task at the provider",
            f"{called} backfill     # archive it, and end",
            f"{called} run          # or stay, and archive whatever is enqueued",
        )

    def _unit(self, program: Sequence[str]) -> str:
        folder = self.settings.parent
        words = [*program, *([] if folder == SYSTEM_FOLDER else ["--config", str(self.settings)])]
        unit = shipped(MAIN["systemd"]).replace(_INSTALLED, " ".join(map(_word, words)))
        return unit.replace(str(SYSTEM_FOLDER), str(folder).replace("%", "%%"))


def _word(text: str) -> str:
    """Return a word as systemd reads it back."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text else text


def setup_at(way: Way, settings: Path, key_file: str | None) -> Setup:
    """Return what is to be written there; a key file that is in its place already is kept."""
    place = settings.parent / KEY_FILE
    keeps = key_file not in {None, "-"} and place.exists() and place.samefile(str(key_file))
    return Setup(way, settings, keeps_key=way is not Way.COMPOSE and keeps)


def write(files: Iterable[NewFile]) -> None:
    """Write all of them, or none, and nothing over what is there; raise FileExistsError, or another OSError.

    A folder that is missing is made (0700 where a secret goes into it).
    """
    made: list[Path] = []
    try:
        for file in files:
            made += _make_folder(file.path.parent)
            _write(file, made)
    except BaseException:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def _make_folder(folder: Path) -> list[Path]:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return list(reversed(missing))


def _write(file: NewFile, made: list[Path]) -> None:
    """Write it beside its place first: nobody ever sees half of it, and a link to a name that is taken fails."""
    handle, name = tempfile.mkstemp(dir=file.path.parent, prefix=".new-")
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), file.mode)
            stream.write(file.text)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(beside, file.path)
        made.append(file.path)
    finally:
        beside.unlink()
