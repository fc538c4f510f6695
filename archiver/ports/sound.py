"""Sound of audio: decoded, measured, and kept."""

from __future__ import annotations

from typing import IO, Protocol

from archiver.core.sound import Sound


class SoundUnknown(Exception):
    """The audio cannot be decoded, or not within bounds; the message says why."""


class Sounds(Protocol):
    """Sound of audio, kept by its SHA-256. Safe for many threads."""

    def kept(self, sha256: str) -> Sound | None:
        """Return what is kept of it; None where nothing is."""

    def keep(self, sha256: str, sound: Sound) -> None:
        """Keep it; raises OSError."""

    def file(self) -> IO[bytes]:
        """Return a new file without a name, for audio to be measured; raises OSError."""

    def measured(self, file: IO[bytes]) -> Sound:
        """Decode the audio in a file and measure it; raises SoundUnknown, and OSError."""

    def close(self) -> None:
        """End what is under way."""
