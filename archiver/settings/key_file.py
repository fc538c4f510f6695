"""Keys from their files or from systemd's credentials."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archiver.settings.rules import key


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that is given outright, or by a file of its own, or by systemd."""

    setting: str
    file_setting: str
    credential: str
    """The name of the systemd credential that may hold it."""


KEYS_IN_FILES = (
    Key("provider.api_key", "provider.api_key_file", "kie-api-key"),
    Key("callback.hmac_key", "callback.hmac_key_file", "kie-webhook-key"),
)


def account_credential(name: str) -> str:
    """Return the name of the systemd credential that may hold the key of a further account."""
    return f"{KEYS_IN_FILES[0].credential}-{name}"


OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The mode bits that a file with a secret must not have."""

_LONGEST = 4096


def credential_of(environ: Mapping[str, str], name: str) -> Path | None:
    """Return the file of systemd's credential `name`, when systemd handed one over."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, name) if folder else None
    return path if path is not None and stands(path) else None


def guarded_by_systemd(path: Path, environ: Mapping[str, str]) -> bool:
    """Return whether the file lies in the credentials folder, which systemd closes to others.

    Its files may look group-readable all the same: systemd grants them by an ACL, whose mask shows so.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.is_relative_to(str(folder))


def stands(path: Path) -> bool:
    """Return whether there is a file; one that we may not look at counts, so that reading it tells why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read_key(path: Path, *, guarded: bool) -> str:
    """Return the one line of a key file; raise ValueError, without echoing path or key, when it is not right.

    The path is not repeated because a key pasted in its place is a likely slip.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    if mode & OTHERS and not guarded:
        raise ValueError(f"names a file that others can read (mode {stat.S_IMODE(mode):04o}); run: chmod 600 on it")
    if len(text) > _LONGEST:
        raise ValueError("names a file too long to be a key")
    try:
        return key(text.decode("ascii", "replace").removesuffix("\n").removesuffix("\r"))
    except ValueError as error:
        raise ValueError(f"names a file whose content {error}") from None
