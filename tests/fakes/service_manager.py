"""systemd's end of the notification socket: takes what a service says of itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Listener:
    """A bound datagram socket, and what came through it so far."""

    socket: socket.socket
    messages: list[str] = field(default_factory=list)

    def take(self) -> list[str]:
        """Take in what has come; return all messages so far, in order."""
        while True:
            try:
                self.messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.messages

    def wait_for(self, message: str, *, after: int = 0, seconds: float = 30) -> int:
        """Wait for a message that begins so, among those from number `after` on; return the next one's number."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            for number, taken in enumerate(self.take()[after:], start=after):
                if taken.startswith(message):
                    return number + 1
            time.sleep(0.02)
        raise AssertionError(f"no {message!r} after {seconds} s in {self.messages[after:]}")


@contextmanager
def listening(address: str) -> Iterator[Listener]:
    """Listen at a path, or at a name after `@` in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.setblocking(False)
        server.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        yield Listener(server)
