"""One slice of the archive, gone through object by object from where it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from archiver.core.fixity import Fixity, Judged, KnownTask, Pair, Part, TrimmedFolder, expected_of, pairs_of
from archiver.core.model import TaskId
from archiver.core.slices import Checked, Place, SliceLease
from archiver.ports.archive import ListedObject
from archiver.ports.fixity import Rounds
from archiver.ports.runtime import Clock
from archiver.preservation.verification import Verification

_BEHIND_ALL: Final = "\U0010ffff"
"""In the place of a key: all objects of the task were judged."""

Keep = Callable[[Sequence[Judged]], object]
"""Writes verdicts down; what it was given is kept once it returns."""


@dataclass(frozen=True, slots=True)
class Step:
    """One object, or the folder of a task that was trimmed."""

    task_id: TaskId
    found: Sequence[Judged]
    bytes: int
    """As the ledger has them."""
    checked: Checked
    """The sum of the slice with it."""


@dataclass(frozen=True, slots=True)
class SliceWalk:
    """Judges the stems and manifests of a slice, at the level head or read; what a listing alone shows is left to one.

    Each verdict is kept first, and then the place: killed at any moment, the object under way is judged again, and no
    other one; none is left out.
    """

    work: Verification
    rounds: Rounds
    keep: Keep
    clock: Clock
    close: Callable[[], object] = lambda: None
    """Called once all was judged, before the slice ends."""

    def through(self, held: SliceLease) -> Iterator[Step]:
        """Yield each step once it is written down, and end the lease with the slice.

        Raises LeaseLost when another took the slice over, and as Verification.run.
        """
        begin = held.place
        for task in self.work.objects.known_of_slice(held.number, begin=begin.task):
            for pair in self._pairs(task):
                key = _BEHIND_ALL if isinstance(pair, TrimmedFolder) or pair.expected is None else pair.expected.key
                if (task.task_id, key) <= (begin.task, begin.key):
                    continue
                found = [each for each in self.work.judge(pair) if not _may_lack(pair, each)]
                self.keep(found)
                verdicts, size = (each.verdict for each in found), _size_of(pair)
                held = self.rounds.note(held, Place(task.task_id, key), held.checked.plus(verdicts, size))
                yield Step(task.task_id, found, size, held.checked)
        self.close()
        self.rounds.finish(held, held.checked, now=self.clock())

    def _pairs(self, task: KnownTask) -> Iterator[Pair | TrimmedFolder]:
        prefix = self.work.prefix
        if task.trimmed is not None:
            folder = pairs_of([task], self.work.archive.objects(f"{prefix}{task.task_id}/"), prefix)
            yield from (each for each in folder if isinstance(each, TrimmedFolder))
        elif any(stem.key for stem in task.stems) or not task.is_open:
            for expected in expected_of(task, prefix):
                if expected.part is not Part.RECORD:
                    yield Pair(expected, ListedObject(expected.key, expected.size or 0, expected.etag))


def _may_lack(pair: Pair | TrimmedFolder, judged: Judged) -> bool:
    """Return whether an object is absent that need not be there."""
    is_optional = isinstance(pair, Pair) and pair.expected is not None and not pair.expected.required
    return is_optional and judged.verdict is Fixity.MANIFEST_MISSING


def _size_of(pair: Pair | TrimmedFolder) -> int:
    if isinstance(pair, TrimmedFolder):
        return pair.trimmed.bytes
    return 0 if pair.expected is None else pair.expected.size or 0
