"""The texts and tables that commands print. Reads, never decides."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from archiver.commands.format import counted, size
from archiver.core.reports import Finding, TaskRow
from archiver.core.states import StemState
from archiver.core.text import visible

if TYPE_CHECKING:  # `status` and `show` need none of them, and these load the whole service
    from archiver.app.preview import Preview
    from archiver.commands.progress import Tally
    from archiver.service.backfill import BackfillResult

_NAMED = 20
"""The most unfinished tasks that `backfill` names to people; its JSON names more, and both count all."""

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def say(console: Console, text: str, *, mark: str = "", style: str = "bold red") -> None:
    """Print a line that may hold words from outside: as text, not markup, and with nothing unprintable in it."""
    console.print(Text.assemble((mark, style), visible(text)))


def print_result(console: Console, result: BackfillResult, tally: Tally) -> None:
    """Print what a backfill did and what it leaves open."""
    counts, work = result.counts, result.work
    missed = ", ".join(f"{count} {state.value}" for state, count in work.not_archived.items())
    console.print(
        f"{counted(work.tasks, 'task')}: {work.archived} archived ({counts.already_archived} of them before), "
        f"{sum(work.not_archived.values())} not{missed and f' ({missed})'}; "
        f"{counted(tally.stems, 'stem')}, {size(tally.bytes_stored)} in {tally.seconds:.1f} s",
        highlight=False,
    )
    if not counts.complete:
        say(console, "  stopped before all ids were read: those left out are not counted")
    now = datetime.now(UTC)
    for row in work.unfinished[:_NAMED]:
        later = row.not_before is not None and row.not_before > now
        again = f"; next try {row.not_before:%Y-%m-%d %H:%M:%S} UTC" if later else ""
        say(console, f"  {row.task_id}  {row.state.value}: {row.reason or _reached(row)}{again}")
    if (further := sum(work.not_archived.values()) - len(work.unfinished[:_NAMED])) > 0:
        say(console, f"  and {further} more: see `stem-archiver list`")
    if counts.rejected:
        are = "line is no task id" if counts.rejected == 1 else "lines are no task ids"
        say(console, f"  {counts.rejected} {are}: see `stem-archiver status`")
    for pause in result.pauses:
        say(console, f"  {pause.subject} is paused: {pause.reason}; {pause.hint}")


def _reached(row: TaskRow) -> str:
    """Return how far a task came that nothing is wrong with."""
    if not row.stems:
        return "not asked about yet" if row.first_asked_at is None else "not ready when it was last asked about"
    stored = sum(stem.state is StemState.STORED for stem in row.stems)
    return f"{stored} of {counted(len(row.stems), 'stem')} stored"


def result_summary(result: BackfillResult, tally: Tally, exit_code: int) -> dict[str, object]:
    """Return the JSON object of `backfill --json`."""
    counts, work = result.counts, result.work
    return {
        "verdict": result.verdict,
        "exit_code": exit_code,
        "complete": counts.complete,
        "tasks": work.tasks,
        "archived": work.archived,
        "already_archived": counts.already_archived,
        "not_archived": sum(work.not_archived.values()),
        "states": work.states,
        "rejected_lines": counts.rejected,
        "unfinished": [
            {
                "task_id": row.task_id,
                "state": row.state,
                "reason": row.reason,
                "not_before": row.not_before,
                "deadline": row.deadline,
            }
            for row in work.unfinished
        ],
        "paused": [
            {
                "dependency": pause.dependency,
                "account": pause.account,
                "host": pause.host,
                "reason": pause.reason,
                "hint": pause.hint,
            }
            for pause in result.pauses
        ],
        "stems": tally.stems,
        "bytes": tally.bytes_stored,
        "seconds": round(tally.seconds, 3),
    }


def print_preview(console: Console, previews: Iterable[Preview]) -> None:
    """Print what `backfill --dry-run` says, as each task is looked at, and what a run would do in all."""
    does: Counter[str] = Counter()
    stems = 0
    for task in previews:
        does[task.does] += 1
        stems += len(task.stems)
        say(console, f"{task.task_id}  {task.says}")
        for stem in task.stems:
            say(console, f"  {stem.url or '(in the record)'} -> {stem.key}")
    say(
        console,
        f"a run would fetch {counted(stems, 'stem')} of {counted(does['fetch'], 'task')}, "
        f"ask again about {does['ask again']}, and do nothing about {does['nothing']}",
    )


def print_findings(console: Console, findings: Iterable[Finding]) -> bool:
    """Print one line a finding, its hint below; return whether none failed."""
    passed = True
    for finding in findings:
        say(console, f" {finding.subject}: {finding.detail}", mark=f"{finding.level:<4}", style=_STYLE[finding.level])
        if finding.hint and finding.level != "ok":
            say(console, f"     {finding.hint}")
        passed = passed and finding.level != "fail"
    return passed


def hang(console: Console, line: str) -> None:
    """Print a line; on a terminal that is narrower it goes on below, indented, and no word is cut."""
    if not console.is_terminal or len(line) <= console.width:
        say(console, line)
        return
    indent = " " * (len(line) - len(line.lstrip()))
    further = f"{indent}    "
    for part in textwrap.wrap(
        line, console.width, subsequent_indent=further, break_on_hyphens=False, replace_whitespace=False
    ):
        say(console, part)
