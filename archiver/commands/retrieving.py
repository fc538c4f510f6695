"""Output of `get` and `restore`: a line for each file, one that is kept up to date on a terminal, and the sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console

from archiver.commands.format import counted, size
from archiver.commands.invocation import terminal
from archiver.commands.printing import say
from archiver.commands.progress import Rate, Tally
from archiver.commands.screen import beside_line
from archiver.preservation.results import PROVEN, Result, Totals, Verdict


def summary(totals: Totals, tally: Tally) -> dict[str, object]:
    """Return the sum as the JSON of a command holds it."""
    return {
        "tasks": totals.tasks,
        "tasks_without_audio": totals.without_audio,
        "tasks_left_out": dict(totals.left_out),
        "files": totals.count(PROVEN),
        "written": totals.verdicts[Verdict.WRITTEN],
        "bytes": totals.bytes,
        "skipped": totals.verdicts[Verdict.EQUAL],
        "faults": totals.faults,
        "unread": totals.unread,
        "verdicts": {verdict.value: count for verdict, count in sorted(totals.verdicts.items())},
        "seconds": round(tally.seconds, 3),
    }


@dataclass(slots=True)
class Teller:
    """Tells people of what comes: files on standard output, faults and progress on standard error."""

    totals: Totals
    tally: Tally
    out: Console = field(default_factory=terminal)
    err: Console = field(default_factory=lambda: terminal(err=True))
    quiet: bool = False
    """True where nobody wants to see how far it is."""
    _rate: Rate = field(default_factory=Rate)

    def tell(self, results: Iterator[Result]) -> None:
        """Tell of each, and of all at the end."""
        shown = self.out if self.out.is_terminal else self.err
        faults = self.err if self.quiet else shown
        with beside_line(self._line, shown, self.err, quiet=self.quiet) as now_and_then:
            for each in results:
                self._one(each, faults)
                now_and_then()
        self._all()

    def _one(self, result: Result, faults: Console) -> None:
        if result.is_proven:
            stood = "  stood already" if result.verdict is Verdict.EQUAL else ""
            if result.sha256:
                say(self.out, f"{result.path}  {result.size} bytes  sha256 {result.sha256}{stood}")
            return
        detail = f": {result.detail}" if result.detail else ""
        say(faults, f"  {result.path}{detail}", mark=result.verdict.value)
        if result.hint:
            say(faults, f"     {result.hint}")

    def _line(self) -> str:
        totals = self.totals
        said = [
            f"{counted(totals.count(PROVEN), 'file')} here",
            f"{size(self.tally.bytes_in)} in",
            f"{size(self._rate.of(self.tally.bytes_in))}/s",
        ]
        if totals.faults + totals.unread:
            said.append(counted(totals.faults + totals.unread, "fault"))
        return ", ".join(said)

    def _all(self) -> None:
        totals = self.totals
        said = (
            f"{counted(totals.tasks, 'task')}: {counted(totals.count(PROVEN), 'file')} here and proven "
            f"({totals.verdicts[Verdict.EQUAL]} stood already), {size(totals.bytes)} written in "
            f"{self.tally.seconds:.1f} s; {counted(totals.faults, 'fault')}"
        )
        if totals.unread:
            said += f", {totals.unread} not read"
        if totals.without_audio:
            said += f"; {counted(totals.without_audio, 'task')} without audio"
        if totals.left_out:
            said += "; left out: " + ", ".join(f"{count} ({why})" for why, count in sorted(totals.left_out.items()))
        say(self.out, said)
