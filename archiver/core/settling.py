"""Settling: when the list of a record's files is final. Pure."""

from __future__ import annotations

import hashlib

from archiver.core.model import RecordInfo


def saying(record: RecordInfo) -> str:
    """Return in short what the record says of the task: two that say the same are equal.

    Links are no part of it: each answer may sign them anew.
    """
    words = (record.kind, record.phase, record.flag, record.error_code, record.error_message)
    names = sorted(f"{stem.name} {stem.field}" for stem in record.stems)
    return hashlib.sha256("\n".join(map(str, (*words, *names))).encode("utf-8", "surrogatepass")).hexdigest()[:32]
