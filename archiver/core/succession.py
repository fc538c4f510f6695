"""Which of two manifests of a task stays: the one that says more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archiver.core.manifest import FORMAT, following
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import Manifest, ManifestEvent, ManifestStem, read_manifest
from archiver.core.model import StemName, TaskId
from archiver.core.states import OPEN_TASK_STATES, StemState, TaskEvent, TaskState

_TASK_STATES, _STEM_STATES = frozenset(map(str, TaskState)), frozenset(map(str, StemState))


@dataclass(frozen=True, slots=True)
class Succession:
    """Our manifest, and what comes of one that stands in its place."""

    ours: bytes
    task: TaskId

    def standing(self, theirs: bytes) -> Manifest | None:
        """Return the manifest that stands, None where it is broken."""
        try:
            return read_manifest(theirs, self.task)
        except ManifestBroken:
            return None

    def keeps(self, theirs: bytes) -> bool:
        """Return whether `theirs` stays: it is whole, and says of stems and task what ours says, or more."""
        standing = self.standing(theirs)
        return standing is not None and says_as_much(standing, read_manifest(self.ours))

    def fault(self, theirs: bytes) -> str:
        """Return why ours must not replace `theirs`, which does not stay as it is; empty where it may."""
        standing = self.standing(theirs)
        if standing is None:
            return ""
        if standing.format > FORMAT or not is_understood(standing):
            return "a later version wrote the manifest that stands there"
        return _changed(standing, read_manifest(self.ours))

    def successor(self, theirs: bytes) -> bytes:
        """Return what replaces `theirs`."""
        standing = self.standing(theirs)
        return self.ours if standing is None else following(self.ours, standing.seal)


def is_understood(manifest: Manifest) -> bool:
    """Return whether each of its words is one of ours."""
    return manifest.state in _TASK_STATES and all(stem.state in _STEM_STATES for stem in manifest.stems)


def says_as_much(theirs: Manifest, ours: Manifest) -> bool:
    """Return whether `theirs` says of each stem what `ours` says, or that it is stored after all, and of the task too.

    Such a manifest was written by a process that took the task over from us, or from a ledger that is lost. One that
    ended the task otherwise does not stay: the ledger is about to say what ours says.
    """
    known, said = _compared(theirs), _compared(ours)
    if not all(name in known and (known[name] == stem or _is_saved(stem, known[name])) for name, stem in said.items()):
        return False
    if theirs.state != ours.state and ours.state not in OPEN_TASK_STATES:
        return False
    if known != said:
        return True
    return theirs.state == ours.state and theirs.format >= ours.format and _moves(theirs) >= _moves(ours)


_Compared = tuple[str, str, int | None, str, StemName | None]


def _compared(manifest: Manifest) -> Mapping[StemName, _Compared]:
    return {
        stem.name: (stem.state, stem.path or stem.key, stem.size, stem.sha256, stem.alias_of) for stem in manifest.stems
    }


def _is_saved(ours: _Compared, theirs: _Compared) -> bool:
    return theirs[0] == StemState.STORED != ours[0]


def _moves(manifest: Manifest) -> int:
    return sum(_times(event) for event in manifest.events if event.event != TaskEvent.NOT_READY)


def _times(event: ManifestEvent) -> int:
    """Return how often it happened: what happens again in a row is one line of the ledger already."""
    times = (event.detail or {}).get("times")
    return max(event.times, times) if isinstance(times, int) else event.times


def _changed(theirs: Manifest, ours: Manifest) -> str:
    """Return what of a stored stem ours would change or leave out."""
    said: Mapping[StemName, ManifestStem] = {stem.name: stem for stem in ours.stems}
    for stem in theirs.stems:
        if not stem.is_stored:
            continue
        mine = said.get(stem.name)
        if mine is None or not mine.is_stored:
            return f"the manifest that stands there has {stem.name} stored, and ours has not"
        if mine.sha256 != stem.sha256:
            return f"the manifest that stands there names another SHA-256 of {stem.name}"
    return ""
