"""A `Downloader` without a network: each URL gives what it was told to, in order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from archiver.core.errors import ArchiverError, LinkSpent
from archiver.core.records.kinds.names import Media
from archiver.ports.transfer import Download, Received, uncounted
from tests.fakes.calls import Calls, unnoticed


@dataclass(frozen=True, slots=True)
class Audio:
    """A body that flows; `then` is raised once `after` bytes have come, instead of the rest."""

    data: bytes
    extension: str = "mp3"
    content_type: str = "audio/mpeg"
    announced: bool = True
    after: int = 0
    then: ArchiverError | None = None
    comes: Callable[[int], None] = uncounted
    """Called with the size of each block: lets the time pass that it takes."""
    blocks: int = 1
    """The body comes in so many."""
    doubt: str = ""
    """What makes the whole body doubtful."""


Answer = Audio | ArchiverError
Scripted = Answer | Callable[[], Answer]
"""What is answered, or what finds that out, at its own time."""


@dataclass(slots=True)
class FakeBody:
    """Satisfies Download."""

    audio: Audio
    received: Received = uncounted
    size: int = 0
    closed: bool = False

    @property
    def length(self) -> int | None:
        return len(self.audio.data) if self.audio.announced else None

    @property
    def extension(self) -> str:
        return self.audio.extension

    @property
    def content_type(self) -> str:
        return self.audio.content_type

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.audio.data[: self.size]).hexdigest()

    def doubt(self, duration: float | None) -> str:
        return self.audio.doubt

    def forget(self) -> None:
        raise AssertionError("this body is never suspended")

    def readinto(self, buffer: memoryview) -> int:
        piece = self.audio.data[self.size : self.size + len(buffer)]
        blocks = self.audio.blocks if piece else 1
        size = len(piece) // blocks
        for _ in range(blocks - 1):
            self._comes(size)
        self._comes(len(piece) - size * (blocks - 1))
        if self.audio.then is not None and self.size + len(piece) >= self.audio.after:
            raise self.audio.then
        buffer[: len(piece)] = piece
        self.size += len(piece)
        return len(piece)

    def _comes(self, size: int) -> None:
        self.audio.comes(size)
        self.received(size)


@dataclass(slots=True)
class FakeDownloader:
    """Satisfies Downloader. The last answer of a URL stays; an unknown URL is a 404."""

    answers: Mapping[str, Sequence[Scripted]] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    """Every URL that was asked for, in order."""
    media: list[Media] = field(default_factory=list)
    """Each with its class."""
    bodies: list[FakeBody] = field(default_factory=list)
    before: Calls = unnoticed
    _turns: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def open(self, url: str, received: Received = uncounted, *, media: Media = Media.AUDIO) -> Iterator[Download]:
        self.opened.append(url)
        self.media.append(media)
        self.before("open", url)
        asked = self._turns[url]
        self._turns[url] += 1
        answers = self.answers.get(url) or [LinkSpent(status=404)]
        scripted = answers[min(asked, len(answers) - 1)]
        answer = scripted() if callable(scripted) else scripted
        if isinstance(answer, ArchiverError):
            raise answer
        body = FakeBody(answer, received)
        self.bodies.append(body)
        try:
            yield body
        finally:
            body.closed = True
