"""Findings of a check, written down: faults as it goes on, and those that it finds mended closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from archiver.core.fixity import Fixity, Judged
from archiver.core.fixity_faults import FixityFault, is_acknowledged, is_mended, is_worse
from archiver.core.levels import Level
from archiver.ports.fixity_records import Faults
from archiver.ports.runtime import Clock, EventLog

_AT_ONCE = 100
"""Findings that are written in one transaction."""


@dataclass(slots=True)
class FaultBook:
    """The faults of one check; for one thread.

    What it was told of is in the ledger once `flush` or `close` returns: a place in the work may be kept only then.
    """

    faults: Faults
    level: Level
    clock: Clock
    log: EventLog | None = None
    """None where whoever began the check is shown its findings anyway."""
    covers: Callable[[FixityFault], bool] = lambda _: True
    """Returns whether the check, once it is whole, has looked wherever the fault can be."""
    noted: int = 0
    """Faults that were not known before."""
    mended: int = 0
    _left: dict[str, FixityFault] = field(init=False)
    """Open faults that the check did not come to yet."""
    _found: list[Judged] = field(default_factory=list)
    _closed: dict[str, FixityFault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the faults that are known; raises LedgerFault."""
        self._left = {each.key: each for each in self.faults.standing()}

    def sound(self, key: str) -> None:
        """Take an object that is as it should be, as far as the level goes; cheap enough for each of millions."""
        if key in self._left:
            self.judged(Judged(key, Fixity.OK))

    def judged(self, judged: Judged) -> bool:
        """Take a verdict, and return whether an operator has acknowledged that fault; raises LedgerFault."""
        known = self._left.pop(judged.key, None)
        if judged.is_fault:
            if known is None or not is_worse(known, judged):
                self._found.append(judged)
        elif known is not None and is_mended(known, judged, self.level):
            self._closed[known.key] = known
        if len(self._found) + len(self._closed) >= _AT_ONCE:
            self.flush()
        return judged.is_fault and known is not None and is_acknowledged(known, judged)

    def keep(self, found: Iterable[Judged]) -> None:
        """Take verdicts, and write down what they change: a walk may note its place behind them then."""
        for each in found:
            self.judged(each)
        self.flush()

    def passed(self, is_behind: Callable[[FixityFault], bool]) -> None:
        """Write down all; what lies behind the check, which covers it and did not come to it, is no more."""
        gone = {key: fault for key, fault in self._left.items() if self.covers(fault) and is_behind(fault)}
        for key in gone:
            del self._left[key]
        self._closed |= gone
        self.flush()

    def flush(self) -> None:
        """Write down what is not yet; raises LedgerFault."""
        now = self.clock()
        if self._found:
            fresh = self.faults.note(self._found, now=now)
            self.noted += len(fresh)
            for each in self._found:
                if each.key in fresh:
                    self._say(each)
            self._found.clear()
        if self._closed:
            self.faults.close(self._closed, now=now)
            self.mended += len(self._closed)
            for fault in self._closed.values():
                if self.log is not None:
                    self.log.info("fixity.mended", key=fault.key, kind=fault.kind.value, task_id=fault.task_id or None)
            self._closed.clear()

    def close(self, *, is_whole: bool) -> None:
        """Write down all; of a whole check, too, that what it covers and did not come to is no more."""
        if is_whole:
            self._closed |= {key: fault for key, fault in self._left.items() if self.covers(fault)}
        self.flush()

    def _say(self, judged: Judged) -> None:
        if self.log is None:
            return
        facts = {
            "key": judged.key,
            "kind": judged.verdict.value,
            "task_id": judged.task_id or None,
            "expected": judged.expected,
            "found": judged.found,
        }
        if judged.verdict is Fixity.UNKNOWN:
            self.log.info("fixity.unknown", **facts)
        else:
            self.log.error("fixity.fault", **facts)
