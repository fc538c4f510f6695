# ruff: noqa: PLR2004 - offsets and fields, as the formats lay them out
"""The length of a file's sound, by its first bytes and its size; and what makes it doubtful."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archiver.adapters.downloader.formats import AIFF, FLAC, MP3, UNKNOWN, WAV, Container
from archiver.adapters.downloader.frames import hertz_of, mpeg_frame, samples_of
from archiver.adapters.downloader.sniff import tag_end

LEAST_RATE = 250.0
"""Bytes a second; below it a file is silence, or a part of what it should be. Speech in Opus takes three times it."""
FAR_SHORTER = 0.5
"""The part of the record's duration that a whole file has at least."""
WHOLE = 0.99
"""The part of the bytes that its header names that a whole file has at least: encoders leave a frame or a tag out."""
ENDLESS = 0x7FFF0000
"""Bytes; who writes into a pipe names a larger size, for he does not know it."""
SHORTEST = 5.0
"""Seconds; the duration of a shorter file says little about its size."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Where a file's sound begins, and its rate or length as its header tells them."""

    begins: int = 0
    rate: float = 0.0
    """Bytes a second; 0 where the first bytes do not tell."""
    claimed: float = 0.0
    """Seconds that the header names; 0 where it names none."""
    claimed_size: int = 0
    """Bytes of the whole file by its header; 0 where it names none."""

    def seconds(self, size: int) -> float | None:
        """Return how long the sound of a file of that size is; None where nothing tells."""
        if size <= self.begins:
            return 0.0
        if self.claimed:
            return self.claimed * min(1.0, size / self.claimed_size) if self.claimed_size else self.claimed
        return (size - self.begins) / self.rate if self.rate else None


def sound_in(head: bytes, container: Container) -> Sound:
    """Return what the first bytes of a file say of its sound."""
    if container is MP3:
        return _mpeg(head, tag_end(head))
    if container is WAV:
        return _wave(head)
    if container is AIFF:
        return Sound(claimed_size=_claimed(head, 4, "big"))
    return _flac(head, tag_end(head)) if container is FLAC else Sound()


def doubt_of(container: Container, sound: Sound, size: int, duration: float | None) -> str:
    """Return why a whole file may not be what it should be; empty where nothing shows it."""
    if container is UNKNOWN:
        return "a format that is not known; kept as it came"
    seconds = sound.seconds(size)
    if seconds == 0:
        return f"no sound in it: {size} bytes of header"
    if size < WHOLE * sound.claimed_size:
        return f"cut short: {size} of the {sound.claimed_size} bytes that its header names"
    if duration is None or duration < SHORTEST:
        return ""
    if seconds is not None and seconds < FAR_SHORTER * duration:
        return f"far shorter than its record says: {seconds:.1f} of {duration:.1f} s"
    return f"hardly any sound: {size} bytes for {duration:.1f} s" if size < LEAST_RATE * duration else ""


def _mpeg(head: bytes, begins: int) -> Sound:
    if begins >= len(head):
        return Sound(begins)
    at = _first_frame(head, begins)
    frame = None if at is None else mpeg_frame(head, at)
    if at is None or frame is None:
        return Sound(begins)
    size, (version, layer, hertz) = frame
    second = samples_of(version, layer) / hertz_of(version, hertz)
    return _claims(head[at : at + size], second, at) or Sound(begins, _even_rate(head, at, second))


def _first_frame(head: bytes, begins: int) -> int | None:
    at = head.find(b"\xff", begins)
    while at >= 0:
        frame = mpeg_frame(head, at)
        if frame is not None and (at + frame[0] >= len(head) or mpeg_frame(head, at + frame[0])):
            return at
        at = head.find(b"\xff", at + 1)
    return None


def _claims(frame: bytes, second: float, at: int) -> Sound | None:
    """Read Xing's header, which an MP3 of uneven rate begins with."""
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0 or len(frame) < mark + 16 or frame[mark + 7] & 3 != 3:
        return None
    frames, size = (int.from_bytes(frame[mark + 8 + skip : mark + 12 + skip], "big") for skip in (0, 4))
    return Sound(at, claimed=frames * second, claimed_size=at + size) if frames and size else None


def _even_rate(head: bytes, at: int, second: float) -> float:
    """Return the rate of frames that are all of one size, but for a byte of padding; 0 for uneven ones."""
    sizes = []
    while (frame := mpeg_frame(head, at)) is not None:
        sizes.append(frame[0])
        at += frame[0]
    return sum(sizes) / len(sizes) / second if max(sizes) - min(sizes) <= 4 else 0.0


def _wave(head: bytes) -> Sound:
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    at, data = head.find(b"fmt "), head.find(b"data")
    if at < 0 or len(head) < at + 20:
        return Sound(len(head) if data < 0 else 0)
    rate = int.from_bytes(head[at + 16 : at + 20], order)
    return Sound(44, float(rate)) if data < 0 else Sound(data + 8, float(rate), 0.0, _claimed(head, data + 4, order))


def _claimed(head: bytes, at: int, order: Literal["big", "little"]) -> int:
    """Return where a chunk ends whose size stands at `at`; 0 where it names none."""
    size = int.from_bytes(head[at : at + 4], order)
    return at + 4 + size if 0 < size < ENDLESS else 0


def _flac(head: bytes, begins: int) -> Sound:
    info = head[begins + 18 : begins + 26]
    if len(info) < 8:
        return Sound()
    bits = int.from_bytes(info, "big")
    hertz, samples = bits >> 44, bits & (1 << 36) - 1
    return Sound(claimed=samples / hertz) if hertz and samples else Sound()
