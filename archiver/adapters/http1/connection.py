"""One connection, buffered just enough to read lines from it."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from math import inf

import httpx

RECEIVE = 8192
"""Bytes asked of the socket while a head or a chunk size is read."""
BURST = 256 * 1024
"""Bytes that are received at once where so many are there: TLS hands out a record of at most 16 KiB (RFC 8446, 5.1),
and threads that tell of each how it went wait for each other's hold of the interpreter."""
SINGLY = 15
"""Records that are received singly after one behind which nothing was: on a slow line none is looked for in vain."""
_NEARLY_ALL = 0.9
"""Where more than this part of the read timeout is left, a wait is not cut: that would cost two system calls."""


class Connection:
    """A connected socket as a client uses it: requests out, lines and bodies in."""

    def __init__(self, sock: socket.socket, *, read_timeout: float, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._timeout = read_timeout
        self._clock = clock
        self._rest = bytearray()
        self._end: float | None = None
        self.idle_since = 0.0
        self.answered = False
        self._singly = 0.0 if isinstance(sock, ssl.SSLSocket) else inf
        """Receives that look for no more behind what came; all of a plain socket, which hands out what is there."""
        self._late: Exception | None = None
        """The error that came behind bytes which are handed out first; EOFError for the connection's closing."""
        sock.settimeout(read_timeout)

    def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`; raise httpx.WriteError or WriteTimeout."""
        self.answered = False
        self._end = None
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            raise httpx.WriteTimeout("the request could not be sent in time") from error
        except OSError as error:
            raise httpx.WriteError(reason_of(error)) from error

    def receive(self, view: memoryview) -> int:
        """Receive into `view` what is there, at least a byte; 0 when the other side has closed.

        Raises httpx.ReadError or ReadTimeout.
        """
        if self._rest:
            size = min(len(view), len(self._rest))
            view[:size] = self._rest[:size]
            del self._rest[:size]
            return size
        return self._receive(view) if self._end is None else self._receive_by(self._end, view)

    def _receive_by(self, deadline: float, view: memoryview) -> int:
        left = deadline - self._clock()
        if left > _NEARLY_ALL * self._timeout:
            return self._receive(view)
        too_slow = "a head, a chunk size or an error page came too slowly"
        if left <= 0:
            raise httpx.ReadTimeout(too_slow)
        self._sock.settimeout(left)
        try:
            return self._receive(view)
        except httpx.ReadTimeout as error:
            raise httpx.ReadTimeout(too_slow) from error
        finally:
            self._sock.settimeout(self._timeout)

    def _receive(self, view: memoryview) -> int:
        try:
            if self._late is not None:
                raise self._late
            size = self._sock.recv_into(view)
            if self._singly or not 0 < size < len(view):
                self._singly = max(0.0, self._singly - 1)
                return size
            return self._burst(view[:BURST], size)
        except EOFError:
            return 0
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing came for {self._timeout:g} s") from error
        except OSError as error:
            raise httpx.ReadError(reason_of(error)) from error

    def _burst(self, view: memoryview, size: int) -> int:
        """Receive behind the `size` bytes in `view` the records that are there already; return the bytes of all."""
        first, more = size, size
        self._sock.settimeout(0)
        try:
            while more and size < len(view):
                more = self._sock.recv_into(view[size:])
                size += more
            self._late = None if more else EOFError()
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError as error:
            self._late = error
        finally:
            self._sock.settimeout(self._timeout)
        if size == first:
            self._singly = SINGLY
        return size

    def finish_within(self, seconds: float) -> None:
        """Have all that is received before the next request come in so many seconds, however slowly it drips."""
        self._end = self._clock() + seconds

    def deadline(self) -> float:
        """Return the time by which lines that are asked for now must have come, however slowly they drip."""
        deadline = self._clock() + self._timeout
        return deadline if self._end is None else min(deadline, self._end)

    def line(self, deadline: float, most: int) -> bytes:
        """Read one line with its newline; b"" when the other side closed before any byte of it.

        Raises httpx.RemoteProtocolError for a line of more than `most` bytes.
        """
        seen = 0
        while (end := self._rest.find(b"\n", seen, most) + 1) == 0:
            seen = len(self._rest)
            if seen >= most:
                raise httpx.RemoteProtocolError("an endless head or chunk size")
            if not self._fetch(deadline):
                if seen:
                    raise httpx.ReadError("the connection was closed in the middle of a line")
                return b""
        line = bytes(self._rest[:end])
        del self._rest[:end]
        return line

    def block(self, most: int) -> bytes:
        """Return what came already up to its first empty line, of at most `most` bytes; b"" where none came yet."""
        end = self._rest.find(b"\r\n\r\n", 0, most)
        return bytes(self._rest[: end + 4]) if end >= 0 else b""

    def skip(self, size: int) -> None:
        """Take so many of the bytes that came already for read."""
        del self._rest[:size]

    def _fetch(self, deadline: float) -> int:
        buffer = memoryview(bytearray(RECEIVE))
        size = self._receive_by(deadline, buffer)
        self.answered = self.answered or size > 0
        self._rest += buffer[:size]
        return size

    def peek(self, wait: float = 0.0) -> int | None:
        """Return 1 when bytes came that nobody asked for, 0 when the other side closed, None while it is silent.

        A byte that came is lost: such a connection is of no further use.
        """
        if self._rest:
            return 1
        if not self._readable(wait):
            return None
        self._sock.settimeout(wait)
        try:
            return self._sock.recv_into(bytearray(1))
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return 0
        finally:
            self._sock.settimeout(self._timeout)

    def _readable(self, wait: float) -> bool:
        """Return whether there may be something to receive: one call of the system for what is nearly always silent."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        waiting = select.poll()
        waiting.register(self._sock, select.POLLIN)
        return bool(waiting.poll(wait * 1000))

    def interrupt(self) -> None:
        """End a wait of another thread on this connection; raise OSError where it is closed already."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


def reason_of(error: OSError) -> str:
    """Return what went wrong in words that hold no address and no URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    return error.strerror or type(error).__name__
