"""Results of files that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The end of one file, or of a task that has none to give."""

    WRITTEN = "written"
    """It stands here, its SHA-256 proven."""
    EQUAL = "equal"
    """It stood here already, and is what it should be."""
    DIFFERENT = "different"
    """Another file stands here under its name, and was left alone."""
    BLOCKED = "blocked"
    """Something else keeps it from being written here: a link, a folder, another process, a right."""
    GONE = "gone"
    """The manifest itself tells that there is no object: lost, refused, or still to come."""
    NO_AUDIO = "no audio"
    """The whole task has no audio."""
    ABSENT = "missing"
    """The store has no such object."""
    WRONG = "wrong"
    """The object is another than the manifest tells, each time that it was read."""
    COLD = "cold"
    """The object must be thawed first."""
    UNUSABLE = "unusable"
    """The manifest gives it a name that no file can have."""
    NO_MANIFEST = "no manifest"
    BROKEN = "broken manifest"
    UNREAD = "unread"
    """The store did not give it: nothing is known of it."""


PROVEN = frozenset({Verdict.WRITTEN, Verdict.EQUAL})


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one file; `path` is the one below the directory, or the task's id where it is about the task."""

    task_id: str
    path: str
    verdict: Verdict
    size: int = 0
    sha256: str = ""
    detail: str = ""
    stem: str = ""
    hint: str = ""

    @property
    def is_proven(self) -> bool:
        """True where the file stands here, and is what it should be."""
        return self.verdict in PROVEN


@dataclass(slots=True)
class Totals:
    """The sum of what became of all."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    bytes: int = 0
    """Of files that were written."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Tasks that were not asked for, by the reason."""
    tasks: int = 0
    without_audio: int = 0
    """Tasks that ended without audio."""

    def add(self, result: Result) -> None:
        """Count one more."""
        self.verdicts[result.verdict] += 1
        if result.verdict is Verdict.WRITTEN:
            self.bytes += result.size

    def count(self, verdicts: Iterable[Verdict]) -> int:
        """Return how many came to one of these ends."""
        return sum(self.verdicts[each] for each in verdicts)

    @property
    def unread(self) -> int:
        """Files that the store did not give."""
        return self.verdicts[Verdict.UNREAD]

    @property
    def faults(self) -> int:
        """Files that were asked for and do not stand here, for another reason than the store's silence."""
        return sum(self.verdicts.values()) - self.unread - self.count(PROVEN)
