"""Files in the bucket, judged as downloads are: by their first bytes, their size and the record's duration."""

from __future__ import annotations

from archiver.adapters.downloader.formats import UNKNOWN, Container
from archiver.adapters.downloader.others import is_html
from archiver.adapters.downloader.sniff import ENOUGH, enough_of, sniff
from archiver.adapters.downloader.sound import doubt_of, sound_in
from archiver.core.adoption import StoredFile
from archiver.core.records.kinds.names import Media
from archiver.core.written import may_be_written


def judge(file: StoredFile, media: Media, duration: float | None) -> str | None:
    """See `archiver.ports.adoption.FileJudge`."""
    declared = file.content_type.partition(";")[0].strip().lower()
    if media is Media.TEXT:
        ours = file.is_proven and may_be_written(file.extension, declared, file.head) and not is_html(file.head)
        return "" if ours else None
    head = file.head[: enough_of(file.head[:ENOUGH]) if file.size >= ENOUGH else ENOUGH]
    # What is of no known format was kept because its origin called it audio.
    declared = "audio/unknown" if declared == UNKNOWN.content_type else declared
    found = sniff(head, whole=file.size <= len(head), declared=declared, media=media)
    if found is None or (media is not Media.AUDIO and found.extension != file.extension):
        return None
    return _doubt(file, head, found, duration)


def _doubt(file: StoredFile, head: bytes, found: Container, duration: float | None) -> str:
    sound = sound_in(head, found)
    if file.size < sound.claimed_size:
        return f"shorter than its first bytes say: {file.size} of {sound.claimed_size} bytes"
    return doubt_of(found, sound, file.size, duration)
