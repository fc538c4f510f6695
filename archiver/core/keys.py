"""The keys of a task's objects in the bucket. Golden-tested: they never change silently."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

from archiver.core.model import ARCHIVE_FOLDER, StemName, StemRow, TaskId

_PLAIN = re.compile(r"[A-Za-z0-9-]{1,128}")

PROBE_NAME = "stem-archiver-probe"
"""The name of the one object that is no task's; it stays there, since no right to delete is needed."""

MANIFEST_NAME: Final = "manifest.json"
RECORD_NAME: Final = "record-info.json"
SIDECARS: Final = (MANIFEST_NAME, RECORD_NAME)
"""The names of a task's sidecars, in its folder."""

LONGEST_LABEL: Final = 120
"""Bytes of a title in a key: with the longest name of a stem it fits into any file system's names."""

_SAFE: Final = frozenset(" -_.()'!")
_BETWEEN: Final = " - "


class Names(StrEnum):
    """Names of a task's objects; the folder that they are in is its id, whatever they are."""

    ID = "id"
    """By the stem alone."""
    TITLE = "title"
    """By the task's title and the stem."""


def probe_key(prefix: str) -> str:
    """Return the key that is tried where no task is to be meant."""
    return f"{prefix}{PROBE_NAME}"


def multipart_probe_key(prefix: str) -> str:
    """Return the key that is tried for uploads in parts, where no task is to be meant."""
    return f"{probe_key(prefix)}-multipart"


def folder_of(prefix: str, task_id: TaskId) -> str:
    """Return what the keys of a task's objects begin with."""
    return f"{prefix}{task_id}/"


def object_key(prefix: str, task_id: TaskId, stem: StemName, extension: str, label: str = "") -> str:
    """Return the key of a stem's object; `label`: what stands before the stem, as `label_of` has it."""
    return f"{prefix}{task_id}/{label}{_BETWEEN if label else ''}{stem}.{extension}"


def label_of(title: str, stems: Iterable[StemRow], names: Names) -> str:
    """Return what stands before the stem in the keys of a task; empty for nothing.

    A task whose first object is stored keeps to its label, whatever its title or the setting are by then.
    """
    for row in stems:
        if row.receipt is not None and row.receipt.alias_of is None:
            name = row.receipt.key.rpartition("/")[2]
            return name.rpartition(f"{_BETWEEN}{row.name}.")[0]
    return _label(title) if names is Names.TITLE else ""


def _label(title: str) -> str:
    """Return a title as letters and digits of any script, blanks and few signs, within LONGEST_LABEL."""
    plain = (each if each in _SAFE or unicodedata.category(each)[0] in "LMN" else " " for each in title)
    words = " ".join(unicodedata.normalize("NFC", "".join(plain)).split())
    return words.encode()[:LONGEST_LABEL].decode("utf-8", "ignore").strip(" -_.")


def record_key(prefix: str, task_id: TaskId) -> str:
    """Return the key of the record as it came."""
    return f"{folder_of(prefix, task_id)}{RECORD_NAME}"


def manifest_key(prefix: str, task_id: TaskId) -> str:
    """Return the key of the manifest, which is written last."""
    return f"{folder_of(prefix, task_id)}{MANIFEST_NAME}"


def schema_key(prefix: str, number: int) -> str:
    """Return the key of the JSON Schema of a manifest's format."""
    return f"{prefix}{ARCHIVE_FOLDER}/manifest-{number}.schema.json"


def broken_key(prefix: str, task_id: TaskId, etag: str) -> str:
    """Return the key of the copy of a broken manifest that had this ETag, whatever the store takes for one."""
    name = etag.strip('"')
    return f"{prefix}{ARCHIVE_FOLDER}/broken/{task_id}/{name if _PLAIN.fullmatch(name) else 'unnamed'}.json"


def path_in(key: str, task_id: TaskId) -> str:
    """Return what follows the task's folder in a key, which stands beside its manifest; empty where it is not in it."""
    return key.rpartition(f"{task_id}/")[2]


def backups_prefix(prefix: str) -> str:
    """Return what the keys of all backups of the ledger begin with."""
    return f"{prefix}{ARCHIVE_FOLDER}/ledger/"


_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.json")
_BACKUP_TIME = "%Y-%m-%dT%H-%M-%SZ.jsonl.gz"


def backup_key(prefix: str, at: datetime) -> str:
    """Return the key of a backup of the ledger: their order is that of their times."""
    return f"{backups_prefix(prefix)}{at.astimezone(UTC):{_BACKUP_TIME}}"


def backup_time(prefix: str, key: str) -> datetime | None:
    """Return when a backup under that key was taken; None where it is no such key."""
    try:
        return datetime.strptime(key.removeprefix(backups_prefix(prefix)), _BACKUP_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def fixity_prefix(prefix: str) -> str:
    """Return what the keys of all reports of fixity begin with."""
    return f"{prefix}{ARCHIVE_FOLDER}/fixity/"


def fixity_key(prefix: str, day: date) -> str:
    """Return the key of the report of a day: their order is that of the days."""
    return f"{fixity_prefix(prefix)}{day.isoformat()}.json"


def fixity_day(prefix: str, key: str) -> date | None:
    """Return the day of a report under that key; None where it is no such key."""
    found = _DAY.fullmatch(key.removeprefix(fixity_prefix(prefix)))
    try:
        return None if found is None else date.fromisoformat(found[1])
    except ValueError:
        return None


def fixity_schema_key(prefix: str) -> str:
    """Return the key of the JSON Schema of those reports."""
    return f"{prefix}{ARCHIVE_FOLDER}/fixity-1.schema.json"
