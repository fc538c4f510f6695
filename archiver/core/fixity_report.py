"""The sealed report of a day: what was checked since the last one, and every fault that stood. Pure.

Each names the seal of the one before, so that none can be taken away or changed unnoticed but the last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from archiver.core.fixity import FAULTS, Fixity
from archiver.core.fixity_faults import FixityFault
from archiver.core.levels import Level
from archiver.core.manifest import seal_of

FORMAT: Final = 1
LARGEST: Final = 4 << 20
"""Bytes; one with all the faults that it names is a tenth of that."""
NAMED_MOST: Final = 1000
"""Open faults that a report names; all are counted."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check that came to its end, whole or broken off: of a slice, of the whole archive, or of some tasks."""

    level: Level
    begun_at: datetime
    ended_at: datetime
    verdicts: Mapping[Fixity, int]
    """Objects that were judged, by verdict."""
    tasks: int = 0
    bytes: int = 0
    """That were read."""
    slices: int = 0
    """Slices that were read to their end."""
    is_whole: bool = True
    """False where it was broken off."""
    number: int = 0
    """In the ledger."""

    @property
    def objects(self) -> int:
        """Objects that were judged."""
        return sum(self.verdicts.values())


@dataclass(frozen=True, slots=True)
class Sealed:
    """The day of a report, and its seal."""

    day: date
    seal: str
    """Empty for one that is broken."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the archive stood when a report was written."""

    counts: Mapping[Fixity, int]
    """Open faults by kind."""
    faults: Sequence[FixityFault]
    """NAMED_MOST of them at most."""
    oldest_check: datetime | None
    """When the object that was not read for the longest time was; None where that is not known."""


class ReportBroken(Exception):
    """These bytes are no report that may be believed; the message says why."""


@dataclass(frozen=True, slots=True)
class FixityReport:
    """A report as far as others need it: its place in the chain, and what it covers."""

    day: date
    until: datetime
    """The end of the last check that it covers."""
    checks: object
    """As its JSON has them."""
    previous: Sealed | None
    seal: str


def report_of(
    day: date,
    checks: Sequence[Check],
    standing: Standing,
    *,
    previous: Sealed | None,
    version: str,
    now: datetime,
) -> bytes:
    """Return the report as UTF-8 JSON, sealed with the SHA-256 of itself without the seal. There is a check at least.

    It is the same, but for the time, whoever writes it.
    """
    document = {
        "format": FORMAT,
        "date": day.isoformat(),
        "since": min(each.begun_at for each in checks).isoformat(),
        "until": until_of(checks).isoformat(),
        "written_at": now.isoformat(),
        "archiver": version,
        "checks": checks_of(checks),
        "faults": _faults(standing),
        "oldest_check": None if standing.oldest_check is None else standing.oldest_check.isoformat(),
        "previous": None if previous is None else _as_json(previous),
    }
    return (json.dumps({**document, "seal": f"sha256:{seal_of(document)}"}, indent=1) + "\n").encode()


def _as_json(sealed: Sealed) -> dict[str, object]:
    return {"date": sealed.day.isoformat(), "seal": sealed.seal or None}


def until_of(checks: Iterable[Check]) -> datetime:
    """Return the end of the last of them."""
    return max(each.ended_at for each in checks).astimezone(UTC)


def checks_of(checks: Iterable[Check]) -> list[dict[str, object]]:
    """Return the sums of the checks of each level that there were any of, as the report has them."""
    made = list(checks)
    return [_sum(level, its) for level in Level if (its := [each for each in made if each.level is level])]


def _sum(level: Level, checks: Sequence[Check]) -> dict[str, object]:
    verdicts: Counter[Fixity] = Counter()
    for each in checks:
        verdicts.update(each.verdicts)
    return {
        "level": level.value,
        "checks": len(checks),
        "broken_off": sum(not each.is_whole for each in checks),
        "slices": sum(each.slices for each in checks),
        "tasks": sum(each.tasks for each in checks),
        "objects": sum(each.objects for each in checks),
        "bytes_read": sum(each.bytes for each in checks),
        "verdicts": {verdict.value: verdicts[verdict] for verdict in Fixity},
    }


def _faults(standing: Standing) -> dict[str, object]:
    named = standing.faults[:NAMED_MOST]
    counts = {kind.value: standing.counts.get(kind, 0) for kind in Fixity if kind in FAULTS}
    return {
        "open": counts,
        "named": [
            {
                "key": each.key,
                "kind": each.kind.value,
                "task_id": each.task_id or None,
                "seen": each.seen.isoformat(),
                "expected": each.expected,
                "found": each.found,
            }
            for each in named
        ],
        "not_named": max(sum(counts.values()) - len(named), 0),
    }


def read_report(data: bytes) -> FixityReport:
    """Return what a report says; raise ReportBroken for what is none, or was changed since it was sealed."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ReportBroken("it is no JSON") from None
    if not isinstance(document, dict):
        raise ReportBroken("it is no JSON object")
    seal = document.get("seal")
    if seal != f"sha256:{seal_of(document)}":
        raise ReportBroken("its seal is not that of its content")
    try:
        day, until = date.fromisoformat(document["date"]), datetime.fromisoformat(document["until"])
        return FixityReport(day, until.astimezone(UTC), document["checks"], _previous(document["previous"]), str(seal))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ReportBroken("it is not understood") from None


def _previous(before: object) -> Sealed | None:
    if before is None:
        return None
    if not isinstance(before, dict) or not isinstance(before["seal"] or "", str):
        raise TypeError
    return Sealed(date.fromisoformat(before["date"]), before["seal"] or "")


@dataclass(frozen=True, slots=True)
class ChainFault:
    """A report that is gone, or is not what was sealed."""

    day: date
    why: str


@dataclass(slots=True)
class ReportChain:
    """Holds the reports of a bucket against each other, and against those that a ledger remembers."""

    seals: dict[date, str] = field(default_factory=dict)
    """Of each report that there is; empty for one that is broken."""
    faults: dict[date, ChainFault] = field(default_factory=dict)
    _named: list[tuple[date, Sealed]] = field(default_factory=list)

    def add(self, day: date, data: bytes) -> None:
        """Take a report by the day that its key names."""
        try:
            report = read_report(data)
        except ReportBroken as broken:
            self.seals[day] = ""
            self._fault(day, str(broken))
            return
        self.seals[day] = report.seal
        if report.day != day:
            self._fault(day, f"it is the report of {report.day}")
        if report.previous is not None:
            self._named.append((day, report.previous))

    def found(self, known: Iterable[Sealed] = ()) -> Iterator[ChainFault]:
        """Yield what is wrong, a day once, in their order. `known`: the reports that the ledger remembers."""
        for day, before in self._named:
            self._hold(before, f"the report of {day} names")
        for each in known:
            self._hold(each, "the ledger knows")
        yield from (self.faults[day] for day in sorted(self.faults))

    def _hold(self, sealed: Sealed, who: str) -> None:
        if sealed.day not in self.seals:
            self._fault(sealed.day, f"it is gone: {who} it")
        elif sealed.seal and self.seals[sealed.day] != sealed.seal:
            self._fault(sealed.day, f"it has another seal than {who}")

    def _fault(self, day: date, why: str) -> None:
        self.faults.setdefault(day, ChainFault(day, why))
