"""Facts of a task beside its files: what it is called, and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Parent:
    """A task or a track that the record says this one was made from."""

    id: str
    field: str
    """The place in the record that names it: `parentMusicId`, say."""
    is_task: bool = False
    """True where `id` is a task's; a track's otherwise."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track of a music task; its id is what other records name as their parent."""

    id: str
    title: str = ""
    tags: str = ""
    model: str = ""
    duration: float | None = None
    """Seconds."""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts as the record tells them: each text one printable line of at most 500 characters, empty where untold."""

    title: str = ""
    tags: str = ""
    model: str = ""
    duration: float | None = None
    """Seconds."""
    parents: tuple[Parent, ...] = ()
    tracks: tuple[Track, ...] = ()

    @property
    def began(self) -> datetime | None:
        """The time of the earliest track; None where none tells its own."""
        return min((track.created_at for track in self.tracks if track.created_at), default=None)


NO_FACTS = Facts()
