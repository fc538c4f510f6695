"""Output of `verify`: a line for each fault, one that is kept up to date on a terminal, and the sum."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console

from archiver.commands.format import counted, print_json, size
from archiver.commands.invocation import terminal
from archiver.commands.printing import say
from archiver.commands.progress import Rate, Tally
from archiver.commands.screen import beside_line
from archiver.core.fixity import FAULTS, Fixity, Judged
from archiver.core.fixity_cost import Plan
from archiver.core.fixity_report import Sealed
from archiver.core.walks import Walk
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.verification import Verification


def of_plan(ahead: Plan) -> dict[str, object]:
    """Return the work ahead as the JSON of a command holds it."""
    known = ahead.prices.name != "none"
    return {
        "level": ahead.level.value,
        "tasks": ahead.holdings.tasks,
        "objects": ahead.holdings.objects,
        "requests": ahead.requests,
        "listings": ahead.listings,
        "bytes": ahead.bytes,
        "price": round(ahead.price, 6) if known else None,
        "currency": ahead.prices.currency if known else None,
        "seconds_at_least": round(ahead.seconds, 3),
    }


@dataclass(slots=True)
class FixityPrinter:
    """Prints faults on standard output, progress on standard error."""

    work: Verification
    ahead: Plan
    tally: Tally
    book: FaultBook
    report: Callable[[], Sealed | None] = lambda: None
    """Puts the report of the day, if it is due; called once all was judged."""
    out: Console = field(default_factory=terminal)
    err: Console = field(default_factory=lambda: terminal(err=True))
    continued: Walk | None = None
    """The walk that broke off, as it was then; None where this one is anew."""
    quiet: bool = False
    """True where nobody wants to see how far it is."""
    _rate: Rate = field(default_factory=Rate)

    def print(self, results: Iterator[Judged], error: Callable[[], str | None]) -> None:
        """Print each that is not simply ok, and the sum of all."""
        if self.continued is not None and not self.quiet:
            say(self.err, self._said_continued(self.continued), mark="goes on")
        with beside_line(self._line, self.err, self.err, quiet=self.quiet) as now_and_then:
            for each in results:
                self._one(each)
                now_and_then()
        self._all()
        if day := self._reported(error()):
            say(self.out, f"  the report of {day} stands in the bucket")

    def print_json(self, results: Iterator[Judged], error: Callable[[], str | None], code: Callable[[], int]) -> None:
        """Print one object; its faults as they come."""
        found = (
            {
                "key": each.key,
                "verdict": each.verdict.value,
                "fault": each.is_fault,
                "task_id": each.task_id or None,
                "expected": each.expected,
                "found": each.found,
                "hint": each.hint,
            }
            for each in results
        )
        print_json(
            {
                "plan": of_plan(self.ahead),
                "found": found,
                "summary": self._summary,
                "error": error,
                "report": lambda: self._reported(error()),
                "exit_code": code,
            },
            sys.stdout,
        )

    @staticmethod
    def _said_continued(walk: Walk) -> str:
        verdicts = Counter(walk.sums.verdicts)
        faults = sum(count for verdict, count in verdicts.items() if verdict in FAULTS)
        said = f"with the check of {walk.begun_at:%Y-%m-%d %H:%M:%S} UTC that broke off, behind "
        found = f" and {counted(faults, 'fault')} that it named then" if faults else ""
        return f"{said}{counted(verdicts.total(), 'object')}{found}; --anew begins another"

    def _reported(self, error: str | None) -> str | None:
        """Return the day of the report that was put now, if one was; none is where the work was broken off."""
        sealed = None if error else self.report()
        return None if sealed is None else sealed.day.isoformat()

    def _summary(self) -> dict[str, object]:
        totals = self.work.totals
        return {
            "verdicts": {verdict.value: totals.verdicts[verdict] for verdict in Fixity},
            "faults": totals.faults,
            "faults_acknowledged": totals.acknowledged,
            "tasks": totals.tasks,
            "tasks_not_in_ledger": self.work.looking.unledgered,
            "unknown_ids": list(totals.unlisted),
            "objects_listed": totals.listed,
            "bytes_listed": totals.bytes,
            "bytes_read": self.tally.bytes_in,
            "seconds": round(self.tally.seconds, 3),
            "faults_new": self.book.noted,
            "faults_mended": self.book.mended,
            "objects_judged_before": sum(self.continued.sums.verdicts.values()) if self.continued else 0,
        }

    def _one(self, judged: Judged) -> None:
        said = f"  {judged.key}: expected {judged.expected}" if judged.expected else f"  {judged.key}"
        found = f"; found {judged.found}" if judged.found else ""
        hint = f" ({judged.hint})" if judged.hint else ""
        say(self.out, f"{said}{found}{hint}", mark=judged.verdict.value)

    def _line(self) -> str:
        totals = self.work.totals
        judged = sum(totals.verdicts.values())
        said = [f"{judged} of about {self.ahead.holdings.objects + 2 * self.ahead.holdings.whole} objects judged"]
        if self.tally.bytes_in:
            said += [f"{size(self.tally.bytes_in)} read", f"{size(self._rate.of(self.tally.bytes_in))}/s"]
        if totals.faults:
            said.append(counted(totals.faults, "fault"))
        return ", ".join(said)

    def _all(self) -> None:
        totals, prices = self.work.totals, self.ahead.prices
        for task in totals.unlisted:
            say(self.out, f"  {task}: neither the ledger nor the bucket knows this id", mark="no such task")
        verdicts = ", ".join(f"{totals.verdicts[each]} {each.value}" for each in Fixity if totals.verdicts[each])
        price = "" if prices.name == "none" else f", about {self.ahead.price:.2f} {prices.currency}"
        say(
            self.out,
            f"{counted(totals.tasks, 'task')}, {counted(totals.listed, 'object')} listed ({size(totals.bytes)}): "
            f"{verdicts or 'nothing judged'}; {counted(self.ahead.requests, 'request')} planned, "
            f"{size(self.tally.bytes_in)} read"
            f"{price}, {self.tally.seconds:.1f} s; {counted(totals.faults, 'fault')}",
        )
        if totals.acknowledged:
            say(self.out, f"  {counted(totals.acknowledged, 'fault')} of them acknowledged")
        if self.book.mended:
            say(self.out, f"  {counted(self.book.mended, 'earlier fault')} found mended")
        if self.work.looking.unledgered:
            count = counted(self.work.looking.unledgered, "task")
            say(
                self.out,
                f"  the ledger does not know {count} of the bucket: `stem-archiver rebuild --check` names them",
            )
