"""Whatever the pieces, cuts, framings and buffers: the origin's bytes and their hash, or an error.

The client runs whole, on sockets made of memory, so that each example takes no time.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, cycle
from typing import Literal, cast

from hypothesis import example, given
from hypothesis import strategies as st

from archiver.core.errors import ArchiverError, BodyShort
from tests.fakes.audio import mp3
from tests.fakes.origin import partial
from tests.fakes.scripted import Headers, Reply
from tests.house import SockAddr, downloader

TAG: Headers = (("ETag", '"v1"'),)
PEEKED = 4096
"""Bytes looked at before the body is handed out; a cut among them starts again instead of going on."""


class MemorySocket:
    """Gives `wire` in pieces of the given sizes once a request came, then the end."""

    def __init__(self, answer: Callable[[bytes], bytes], pieces: Sequence[int]) -> None:
        self._answer = answer
        self._pieces = cycle(pieces)
        self._wire = b""
        self._timeout = 0.0
        self._always_readable = os.open(os.devnull, os.O_RDONLY)

    def fileno(self) -> int:
        return self._always_readable

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def sendall(self, request: bytes) -> None:
        self._wire = self._answer(request)

    def recv_into(self, view: memoryview | bytearray) -> int:
        size = min(len(view), next(self._pieces), len(self._wire))
        view[:size] = self._wire[:size]
        self._wire = self._wire[size:]
        return size

    def close(self) -> None:
        self._wire = b""
        if self._always_readable >= 0:
            os.close(self._always_readable)
            self._always_readable = -1


@dataclass(slots=True)
class World:
    """An origin whose connections each end after their own number of bytes behind the head."""

    reply: Reply
    cuts: list[int]
    first_wire: bytes | None = None
    """Instead of what `reply` says, for the first connection."""
    requests: int = 0

    def answer(self, request: bytes) -> bytes:
        self.requests += 1
        if self.requests == 1 and self.first_wire is not None:
            return self.first_wire
        wanted = re.search(rb"\r\nRange: bytes=(\d+)-", request)
        reply = self.reply if wanted is None else partial(self.reply, int(wanted[1]))
        cut = self.cuts[self.requests - 1] if self.requests <= len(self.cuts) else None
        return reply.head() + reply.payload()[:cut]


def fetched(world: World, pieces: Sequence[int], buffers: Sequence[int]) -> bytes:
    """Read the world's body to its verified end with buffers of the given sizes, taken in turn."""

    def connect(address: SockAddr, timeout: float) -> socket.socket:
        return cast("socket.socket", MemorySocket(world.answer, pieces))

    data = bytearray()
    with (
        downloader(connect=connect, resolve=lambda host, port: [("127.0.0.1", port)]) as client,
        client.open("http://cdn.test/stem.mp3") as body,
    ):
        for size in cycle(buffers):
            buffer = memoryview(bytearray(size))
            got = body.readinto(buffer)
            data += buffer[:got]
            if got < size:
                break
        assert body.readinto(memoryview(bytearray(1))) == 0
        assert body.size == len(data)
        assert body.sha256 == hashlib.sha256(data).hexdigest()
    return bytes(data)


sizes = st.one_of(st.integers(1000, 30_000), st.sampled_from([4095, 4096, 4097, 8192, 16_384]))
some_pieces = st.lists(st.one_of(st.integers(1, 50), st.integers(500, 100_000)), min_size=1, max_size=5).filter(
    lambda pieces: sum(pieces) > 100 * len(pieces)
)
some_buffers = st.lists(st.one_of(st.integers(100, 5_000), st.sampled_from([4096, 30_000])), min_size=1, max_size=4)
framings = st.sampled_from(["length", "chunked", "close"])
Framing = Literal["length", "chunked", "close"]


@given(size=sizes, framing=framings, chunk=st.integers(50, 5_000), pieces=some_pieces, buffers=some_buffers)
def test_body_in_any_pieces_and_buffers_is_the_origins(
    size: int, framing: Framing, chunk: int, pieces: list[int], buffers: list[int]
) -> None:
    body = mp3(size)
    assert fetched(World(Reply(body, framing=framing, chunk=chunk), []), pieces, buffers) == body


@given(
    size=sizes,
    framing=st.sampled_from(["length", "chunked"]),
    cuts=st.lists(st.integers(0, 12_000), max_size=4),
    first=st.integers(PEEKED + 50, 12_000),
    pieces=some_pieces,
    buffers=some_buffers,
)
def test_body_cut_anywhere_goes_on_to_the_same_bytes_and_hash(
    size: int, framing: Framing, first: int, cuts: list[int], pieces: list[int], buffers: list[int]
) -> None:
    body = mp3(size)
    reply = Reply(body, headers=TAG, framing=framing, chunk=3_000)
    world = World(reply, [first, *cuts])
    assert fetched(world, pieces, buffers) == body


@given(size=sizes, framing=framings, data=st.data(), pieces=some_pieces, buffers=some_buffers)
def test_body_that_ends_early_every_time_is_never_taken_for_whole(
    size: int, framing: Framing, data: st.DataObject, pieces: list[int], buffers: list[int]
) -> None:
    body = mp3(size)
    reply = Reply(body, framing=framing, chunk=3_000)
    cut = data.draw(st.integers(0, size - 1))
    # The second look at a body without length finds the whole one.
    world = World(reply, [cut] if framing == "close" else [cut] * 3)
    try:
        taken = fetched(world, pieces, buffers)
    except BodyShort:
        return
    # Only a close-delimited body may be had whole: its cut came before any byte, and it was tried again.
    assert framing == "close"
    assert taken == body


@given(
    size=st.integers(900, 9_000),
    framing=framings,
    at=st.integers(0, 140),
    byte=st.integers(0, 255),
    pieces=some_pieces,
)
@example(size=1000, framing="chunked", at=0, byte=0x32, pieces=[1000])
def test_head_or_chunk_size_with_a_wrong_byte_is_an_error_or_does_no_harm(
    size: int, framing: Framing, at: int, byte: int, pieces: list[int]
) -> None:
    body = mp3(size)
    reply = Reply(body, framing=framing, chunk=3_000)
    wire = bytearray(reply.head() + reply.payload())
    outside = [*range(len(reply.head()))]
    if framing == "chunked":
        outside += chain(range(len(reply.head()), len(reply.head()) + len(b"bb8\r\n")), range(len(wire) - 5, len(wire)))
    place = outside[at % len(outside)]
    wire[place] = byte
    world = World(replace(reply, framing="length"), [], first_wire=bytes(wire))
    with suppress(ArchiverError):
        assert fetched(world, pieces, [2_000]) == body
