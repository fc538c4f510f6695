"""Standard output and error that take every character, and never end a command in its midst."""

from __future__ import annotations

import errno
import io
import sys
from dataclasses import dataclass
from typing import Any, TextIO, cast


class _Lossy(io.RawIOBase):
    """A descriptor whose first failed write is noted; what follows is dropped. A closed pipe ends the process."""

    def __init__(self, descriptor: int) -> None:
        self._file = io.FileIO(descriptor, "wb", closefd=False)
        self.fault: OSError | None = None
        self.is_unread = False
        """True where nobody reads what is written any more."""

    def write(self, data: bytes) -> int | None:  # type: ignore[override]  # any buffer, as in the base
        """Write it, or drop it."""
        if self.fault is None:
            try:
                return self._file.write(data)
            except OSError as fault:
                if fault.errno == errno.EPIPE:
                    self.is_unread = True
                    raise
                self.fault = fault
        return len(data)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._file.isatty()


@dataclass(frozen=True, slots=True)
class Streams:
    """Standard output and error of this process."""

    out: _Lossy | None
    """None where it is closed."""

    @classmethod
    def take_over(cls) -> Streams:
        """Put ours in the place of sys.stdout and sys.stderr; what they cannot encode is written as escapes."""
        sys.stdout, out = _over(sys.stdout)
        sys.stderr, _ = _over(sys.stderr)
        return cls(out)

    def fault(self) -> OSError | None:
        """Return what kept a part of the output from being written."""
        if self.out is None:
            return None
        try:
            sys.stdout.flush()
        except OSError as fault:  # a closed pipe: nobody is left to be told
            self.out.fault = fault
            return None
        return self.out.fault


def _over(stream: TextIO) -> tuple[TextIO, _Lossy | None]:
    """Return the stream of ours; the one that was where it has no descriptor."""
    try:
        raw = _Lossy(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return stream, None
    stream.flush()
    text = io.TextIOWrapper(
        io.BufferedWriter(cast("Any", raw)),  # its stubs know no raw stream of others
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty() or stream is sys.stderr,
    )
    return text, raw
