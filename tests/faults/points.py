"""Every durable step of the service, as a place to stop it at: the table behind the kill tests.

A point is the `nth` passing of a checkpoint in a scene. The scenes say what stands before the run that
is stopped, and are set in tests/faults/scenes.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from tests.faults.runner import How

HOWS: tuple[How, ...] = ("exception", "SIGTERM", "SIGKILL")
"""In this order: nobody but the scene itself leaves a dead process behind before the run that is stopped."""


class Size(StrEnum):
    """How the audio of a case goes into the store."""

    SINGLE = "single"
    MULTIPART = "multipart"


class Scene(StrEnum):
    """What stands before the run that is stopped."""

    FRESH = "fresh"
    """An id in the queue file, and nothing else."""
    NO_LEDGER = "no ledger"
    """The same, but each way of stopping begins without a ledger."""
    COMMITTED = "committed"
    """A run was killed just after an object was complete, before anyone wrote that down."""
    DEAD = "dead"
    """A run was killed with a lease in hand and, in parts, an upload half done."""
    UNHEARD = "unheard"
    """A run was killed between the making of an upload and its writing down."""
    DUPLICATES = "duplicates"
    """Two stems of the task have equal bytes."""
    PENDING = "pending"
    """The provider needs one more ask."""
    NOT_AUDIO = "not audio"
    """The origin gives a page instead of a stem, until the stop."""
    REFUSED = "refused"
    """The origin gave a page three times; the slow re-try is due, and the audio is there again."""
    SPENT_LINK = "spent link"
    """The links of the record are refused; those of download-url work."""
    BAD_KEY = "bad key"
    """The API key is wrong, until the stop."""
    PAUSED = "paused"
    """The API key was wrong, the provider is paused, and the key is right again."""
    ROTATED = "rotated"
    """The queue file was read, and another one has taken its place."""
    FAILS = "fails"
    """The provider says that it has failed, until the stop."""
    FAILED = "failed"
    """The provider said that it had failed; since then it has the audio."""


BOTH = (Size.SINGLE, Size.MULTIPART)
Command = Literal["backfill", "run", "retry"]


@dataclass(frozen=True, slots=True)
class Point:
    """One place to stop at."""

    name: str
    step: str
    nth: int = 1
    scene: Scene = Scene.FRESH
    command: Command = "backfill"
    sizes: tuple[Size, ...] = BOTH
    on_sigterm: int = 143
    """The exit code that a drained SIGTERM must lead to."""

    def __str__(self) -> str:
        return self.name


_SINGLE = (Size.SINGLE,)
"""Also where the way into the store makes no difference: a case each is enough there."""
_MULTIPART = (Size.MULTIPART,)

POINTS = (
    # the ledger
    Point("ledger marked as ours", "ledger.adopted", scene=Scene.NO_LEDGER, sizes=_SINGLE),
    Point("in mid-migration", "ledger.migrating", scene=Scene.NO_LEDGER, sizes=_SINGLE),
    Point("migrated", "ledger.migrated", scene=Scene.NO_LEDGER, sizes=_SINGLE),
    # ids come in
    Point("queue read", "queue.read", sizes=_SINGLE),
    Point("ids inserted", "ledger.taken_in", sizes=_SINGLE),
    Point("ids enlisted", "ledger.enlisted", sizes=_SINGLE),
    Point("queue read by the daemon", "queue.read", command="run", on_sigterm=0, sizes=_SINGLE),
    Point("ids and cursor inserted", "ledger.taken_in", command="run", on_sigterm=0, sizes=_SINGLE),
    Point("rotated queue read", "queue.read", scene=Scene.ROTATED, command="run", on_sigterm=0, sizes=_SINGLE),
    Point("rotated queue inserted", "ledger.taken_in", scene=Scene.ROTATED, command="run", on_sigterm=0, sizes=_SINGLE),
    Point("leases renewed", "ledger.renewed", command="run", on_sigterm=0, sizes=_SINGLE),
    # asking
    Point("claimed", "ledger.claimed", sizes=_SINGLE),
    Point("API answered", "api.answered", sizes=_SINGLE),
    Point("record fetched", "record.fetched", sizes=_SINGLE),
    Point("answer and stems saved", "ledger.listed", sizes=_SINGLE),
    Point("not ready written down", "ledger.finished", scene=Scene.PENDING, sizes=_SINGLE),
    Point("fresh links saved", "ledger.listed", nth=2, scene=Scene.SPENT_LINK, sizes=_SINGLE),
    Point("rescue link answered", "api.answered", nth=3, scene=Scene.SPENT_LINK, sizes=_SINGLE),
    # fetching
    Point("download opened", "download.opened"),
    Point("first byte", "download.first_byte"),
    Point("mid-body", "download.mid_body"),
    Point("body done", "download.body_done"),
    # storing
    Point("put begun", "put.begun", sizes=_SINGLE),
    Point("put done", "put.done", sizes=_SINGLE),
    Point("multipart created", "multipart.created", sizes=_MULTIPART),
    Point("multipart noted in the ledger", "ledger.upload_opened", sizes=_MULTIPART),
    Point("first part", "multipart.part", nth=1, sizes=_MULTIPART),
    Point("middle part", "multipart.part", nth=2, sizes=_MULTIPART),
    Point("last part", "multipart.part", nth=3, sizes=_MULTIPART),
    Point("before complete", "multipart.completing", sizes=_MULTIPART),
    Point("after complete", "multipart.completed", sizes=_MULTIPART),
    Point("multipart struck out", "ledger.upload_closed", sizes=_MULTIPART),
    Point("duplicate's multipart aborted", "multipart.aborted", scene=Scene.DUPLICATES, sizes=_MULTIPART),
    Point("before the HEAD check", "head.checking", scene=Scene.COMMITTED),
    Point("after the HEAD check", "head.checked", scene=Scene.COMMITTED),
    Point("stem stored in the ledger", "ledger.stem_stored"),
    Point("stem recorded", "stem.recorded"),
    Point("duplicate recorded", "stem.recorded", nth=2, scene=Scene.DUPLICATES),
    Point("stem failed in the ledger", "ledger.stem_failed", scene=Scene.NOT_AUDIO, sizes=_SINGLE),
    Point("stem failed", "stem.failed", scene=Scene.NOT_AUDIO, sizes=_SINGLE),
    Point("refused stem tried again", "ledger.stem_retried", scene=Scene.REFUSED, sizes=_SINGLE),
    # the end
    Point("record-info object put", "document.put", nth=1),
    Point("record-info put", "record.put"),
    Point("schema put", "document.put", nth=2, sizes=_SINGLE),
    Point("manifest object put", "document.put", nth=4),
    Point("manifest put", "manifest.put"),
    Point("manifest replaced", "document.put", nth=4, scene=Scene.REFUSED, sizes=_SINGLE),
    Point("failed one's manifest put", "manifest.put", scene=Scene.FAILS, sizes=_SINGLE),
    Point("failed one finished in the ledger", "ledger.finished", scene=Scene.FAILS, sizes=_SINGLE),
    Point("finished in the ledger", "ledger.finished"),
    Point("task finished", "task.finished"),
    Point("leases given back", "ledger.released", on_sigterm=0),
    # pauses
    Point("pause written down", "ledger.paused", scene=Scene.BAD_KEY, sizes=_SINGLE),
    Point("pause ended", "ledger.resumed", scene=Scene.PAUSED, sizes=_SINGLE),
    # what the dead left
    Point("dead one's leases released", "ledger.released", scene=Scene.DEAD),
    Point("dead one's multipart aborted", "multipart.aborted", scene=Scene.DEAD, sizes=_MULTIPART, on_sigterm=0),
    Point(
        "dead one's multipart struck out",
        "ledger.upload_closed",
        nth=2,
        scene=Scene.DEAD,
        sizes=_MULTIPART,
        on_sigterm=0,
    ),
    Point("unheard multipart aborted", "multipart.aborted", scene=Scene.UNHEARD, sizes=_MULTIPART, on_sigterm=0),
    # the operator
    Point("retry written down", "ledger.retried", scene=Scene.FAILED, command="retry", sizes=_SINGLE, on_sigterm=-15),
)


def points_of(size: Size) -> list[Point]:
    """The points at which a case of this size is stopped."""
    return [point for point in POINTS if size in point.sizes]


def hows_of(point: Point, size: Size) -> tuple[How, ...]:
    """The ways in which a run of the tests stops there: by SIGKILL everywhere, in every way at the first of each kind.

    An exception passes the same hands wherever it begins, and a signal is heard between two steps, whichever they are:
    that is worth a case for what each kind of step is about (`put`, `ledger` ...), for each command, and for each exit
    code, in one size; the others are slow tests.
    """
    first = next(each for each in POINTS if _kind(each) == _kind(point))
    return HOWS if (point, size) == (first, first.sizes[0]) else ("SIGKILL",)


def _kind(point: Point) -> tuple[str, str, int]:
    return point.step.partition(".")[0], point.command, point.on_sigterm
