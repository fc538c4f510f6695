"""Labels of an object: its metadata, printable ASCII within the 2 KB that S3 gives it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from archiver.core.model import StemName, TaskId
from archiver.core.records.facts import Facts
from archiver.core.text import header_safe

_MOST: Final = {"title": 500, "tags": 500, "model": 100}
"""Characters of each; with the others' names and values, and the SHA-256 that a store's adapter adds, under 1.5 KB."""


def metadata_of(task_id: TaskId, stem: StemName, title: str, facts: Facts) -> Mapping[str, str]:
    """Return the metadata of a stem's object: what task it is of, which stem, and what the task is called."""
    about = {"title": title, "tags": facts.tags, "model": facts.model}
    safe = {name: header_safe(text, _MOST[name]) for name, text in about.items() if text}
    return {"task-id": task_id, "stem": stem} | {name: text for name, text in safe.items() if text}
