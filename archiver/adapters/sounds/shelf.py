"""Sounds in files, by the SHA-256 of their audio; what was asked for longest ago goes first where they are too many."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from archiver.adapters.sounds.apart import SoundsApart
from archiver.core.sound import LONGEST_TEXT, Sound

_SUFFIX: Final = ".sound"
_BLOCK: Final = 4096
"""Bytes that a file takes, at least."""
_LEFT: Final = 0.9
_FRESH: Final = 86_400.0
"""Seconds within which a file's time is not written again."""
_NAME: Final = re.compile(r"[0-9a-f]{64}")


class SoundFiles:
    """Sounds in `folder`, made where it is missing, of `most` bytes together; decoded by `apart`."""

    def __init__(self, folder: Path, most: int, apart: SoundsApart | None = None) -> None:
        self._folder = folder
        self._most = most
        self._apart = apart or SoundsApart()
        self._lock = threading.Lock()
        self._taken: int | None = None

    def kept(self, sha256: str) -> Sound | None:
        """See Sounds."""
        if not _NAME.fullmatch(sha256):
            return None
        path = self._path(sha256)
        try:
            with path.open("rb") as file:
                text, written = file.read(LONGEST_TEXT), os.fstat(file.fileno()).st_mtime
            sound = Sound.of(text)
        except (OSError, ValueError):
            return None
        if time.time() - written > _FRESH:
            with suppress(OSError):
                os.utime(path)
        return sound

    def keep(self, sha256: str, sound: Sound) -> None:
        """See Sounds; the file has its name only once it is whole."""
        if not _NAME.fullmatch(sha256):
            return
        path = self._path(sha256)
        with self._lock:
            self._make()
            part = path.with_suffix(".part")
            part.write_bytes(sound.text())
            part.replace(path)
            self._taken = self._measured_size() if self._taken is None else self._taken + _BLOCK
            if self._taken > self._most:
                self._taken = self._make_room()

    def file(self) -> IO[bytes]:
        """See Sounds."""
        self._make()
        return tempfile.TemporaryFile(dir=self._folder)

    def measured(self, file: IO[bytes]) -> Sound:
        """See Sounds."""
        return self._apart.measured(file)

    def close(self) -> None:
        """See Sounds."""
        self._apart.close()

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}{_SUFFIX}"

    def _files(self) -> Iterator[tuple[float, int, str]]:
        with os.scandir(self._folder) as found:
            for entry in found:
                if entry.name.endswith((_SUFFIX, ".part")):
                    about = entry.stat(follow_symlinks=False)
                    yield about.st_mtime, max(_BLOCK, about.st_blocks * 512), entry.path

    def _measured_size(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> int:
        """Throw away what was asked for longest ago; return the bytes that are left."""
        files = sorted(self._files())
        taken = sum(size for _, size, _ in files)
        for _, size, path in files:
            if taken <= self._most * _LEFT:
                break
            with suppress(FileNotFoundError):
                Path(path).unlink()
            taken -= size
        return taken
