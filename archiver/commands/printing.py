"""The texts and tables that commands print. Reads, never decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archiver.commands.format import counted, size, span
from archiver.core.model import DEFAULT_ACCOUNT, Pause
from archiver.core.plan import DEATHS_TO_QUARANTINE
from archiver.core.reports import Finding, JobCounts, Overview, TaskRow
from archiver.core.states import StemState, TaskState
from archiver.core.text import visible

if TYPE_CHECKING:  # `status` and `show` need none of them, and these load the whole service
    from archiver.app.preview import Preview
    from archiver.commands.progress import Tally
    from archiver.service.backfill import BackfillResult

_NAMED = 20
"""The most unfinished tasks that `backfill` names to people; its JSON names more, and both count all."""

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def _say(console: Console, text: str, *, mark: str = "", style: str = "bold red") -> None:
    """Print a line that may hold words from outside: as text, not markup, and with nothing unprintable in it."""
    console.print(Text.assemble((mark, style), visible(text)))


def print_result(console: Console, result: BackfillResult, tally: Tally) -> None:
    """Print what a backfill did and what it leaves open."""
    counts, work = result.counts, result.work
    missed = " and ".join(f"{count} {state.value}" for state, count in work.not_archived.items())
    console.print(
        f"{counted(work.tasks, 'task')}: {work.archived} archived ({counts.already_archived} of them before), "
        f"{sum(work.not_archived.values())} not{missed and f' ({missed})'}; "
        f"{counted(tally.stems, 'stem')}, {size(tally.bytes_stored)} in {tally.seconds:.1f} s",
        highlight=False,
    )
    if not counts.complete:
        _say(console, "  stopped before all ids were read: those left out are not counted")
    for row in work.unfinished[:_NAMED]:
        again = f"; next try {row.not_before:%Y-%m-%d %H:%M:%S} UTC" if row.not_before else ""
        _say(console, f"  {row.task_id}  {row.state.value}: {row.reason or _reached(row)}{again}")
    if (further := sum(work.not_archived.values()) - len(work.unfinished[:_NAMED])) > 0:
        _say(console, f"  and {further} more: `stem-archiver show ID` tells of each")
    if counts.rejected:
        are = "line is no task id" if counts.rejected == 1 else "lines are no task ids"
        _say(console, f"  {counts.rejected} {are}: see `stem-archiver status`")
    for pause in result.pauses:
        _say(console, f"  {pause.subject} is paused: {pause.reason}; {pause.hint}")


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


def print_overview(console: Console, overview: Overview, now: datetime) -> None:
    """Print what `status` says."""
    console.print(_counts(overview))
    console.print(f"{size(overview.bytes_stored)} stored; {overview.working} being worked on, {overview.due} due")
    moments = {
        "nearest deadline": overview.nearest_deadline,
        "next try": None if overview.due else overview.next_due,
        "last archived": overview.last_archived_at,
    }
    for name, moment in moments.items():
        if moment is not None:
            console.print(f"{name}: {span(moment - now)}")
    if overview.forecast_late:
        console.print(f"[bold red]forecast[/] {_forecast(overview)}")
    for pause in overview.pauses:
        _say(console, f" {pause.subject}: {pause.reason}", mark="paused")
        _say(console, f"       {pause.hint}{_when(pause, now)}")
    _print_at_risk(console, overview, now)
    _print_quarantined(console, overview, now)
    if overview.rejected_lines:
        console.print(f"[yellow]rejected[/] {overview.rejected_lines} lines of the queue:")
        for reject in overview.rejects:
            _say(console, f"  {reject.path} at byte {reject.offset}: {reject.excerpt!r}: {reject.reason}")


def print_jobs(console: Console, jobs: JobCounts) -> None:
    """Print what `status` says of workers and their jobs."""
    workers = "1 worker" if jobs.workers == 1 else f"{jobs.workers} workers"
    console.print(
        f"{workers} at work; {jobs.waiting} jobs waiting, {jobs.scheduled} scheduled, {jobs.doing} being done"
    )
    if jobs.waiting and not jobs.workers:
        _say(console, " jobs wait, and no worker is at work: start `stem-archiver worker`", mark="workers")
    if jobs.silent_workers or jobs.stalled:
        _say(
            console,
            f" workers that went without a goodbye in the last day: {jobs.silent_workers}; their jobs, taken up by "
            f"others within seconds: {jobs.stalled}",
            mark="silent",
            style="yellow",
        )


def _when(pause: Pause, now: datetime) -> str:
    if pause.held:
        return "" if pause.lasting else f" (ends by itself: {span(pause.next_probe - now)})"
    return f" (next probe {span(pause.next_probe - now)})"


def _forecast(overview: Overview) -> str:
    rate = f"{overview.stems_an_hour or 0:.0f} stems an hour"
    return f"at this rate ({rate}) {overview.forecast_late} stems will expire before they are reached"


def _counts(overview: Overview) -> Table:
    table = Table(box=None, show_header=True, header_style="bold")
    for title in ("tasks", "", "stems", ""):
        table.add_column(title, justify="left" if title else "right")
    stems = [(state.value, str(overview.stems.get(state, 0))) for state in StemState]
    stems += [("", "")] * (len(TaskState) - len(stems))
    for state, (name, count) in zip(TaskState, stems, strict=True):
        table.add_row(state.value, str(overview.tasks.get(state, 0)), name, count)
    return table


def _print_at_risk(console: Console, overview: Overview, now: datetime) -> None:
    if not overview.at_risk_count:
        return
    console.print(f"[bold red]at risk[/] {overview.at_risk_count} tasks:")
    for risk in overview.at_risk:
        left = span(risk.deadline - now)
        lacks = f"{risk.missing_stems} stems missing" if risk.missing_stems else "its stems are not known yet"
        _say(console, f"  {risk.task_id}  {left}  {lacks}  {risk.reason}")


def _print_quarantined(console: Console, overview: Overview, now: datetime) -> None:
    if not overview.quarantined_count:
        return
    console.print(f"[bold red]quarantined[/] {overview.quarantined_count} tasks, at which processes died:")
    for task in overview.quarantined:
        again = "" if task.not_before is None else f"  next try {span(task.not_before - now)}"
        _say(console, f"  {task.task_id}  {task.deaths} deaths{again}")


def print_preview(console: Console, previews: Iterable[Preview]) -> None:
    """Print what `backfill --dry-run` says, as each task is looked at, and what a run would do in all."""
    does: Counter[str] = Counter()
    stems = 0
    for task in previews:
        does[task.does] += 1
        stems += len(task.stems)
        _say(console, f"{task.task_id}  {task.says}")
        for stem in task.stems:
            _say(console, f"  {stem.url} -> {stem.key}")
    _say(
        console,
        f"a run would fetch {counted(stems, 'stem')} of {counted(does['fetch'], 'task')}, "
        f"ask again about {does['ask again']}, and do nothing about {does['nothing']}",
    )


def print_task(console: Console, row: TaskRow, now: datetime) -> None:
    """Print what `show` says of one task."""
    _say(console, f"  {row.state.value}", mark=row.task_id, style="bold")
    facts = {
        "reason": row.reason or None,
        "account": None if row.account == DEFAULT_ACCOUNT else row.account,
        "accepted": f"{row.accepted_at:%Y-%m-%d %H:%M:%S} UTC from {row.source}",
        "created": row.created_at and f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "deadline": row.deadline and f"{row.deadline:%Y-%m-%d %H:%M:%S} UTC ({span(row.deadline - now)})",
        "asked": f"{row.asks} times not ready, {row.attempts} tries in a row failed",
        "quarantined": _quarantine(row),
        "next try": row.not_before and f"{row.not_before:%Y-%m-%d %H:%M:%S} UTC ({span(row.not_before - now)})",
        "being worked on": row.leased_until and f"lease until {row.leased_until:%H:%M:%S} UTC",
    }
    for name, fact in facts.items():
        if fact is not None:
            _say(console, f"  {name}: {fact}")
    for stem in row.stems:
        receipt = stem.receipt
        what = f"{size(receipt.size)}  sha256 {receipt.sha256}  {receipt.key}" if receipt else stem.reason
        alias = f" (same bytes as {receipt.alias_of})" if receipt and receipt.alias_of else ""
        _say(console, f"  {stem.name:<18} {stem.state.value:<8} {what}{alias}")
        if receipt is None:
            _say(console, f"  {'':<18} {'':<8} {stem.url_shown}")
    for move in row.history:
        where = move.stem or "task"
        detail = " ".join(f"{key}={value}" for key, value in move.detail.items())
        line = f"  {move.at:%Y-%m-%d %H:%M:%S}  {where:<18} {move.before} -{move.event}-> {move.after}  {detail}"
        _say(console, line.rstrip())


def _quarantine(row: TaskRow) -> str | None:
    if row.deaths < DEATHS_TO_QUARANTINE or row.ended_at is not None:
        return None
    why = f"{row.deaths} processes in a row died while at it (killed, frozen or cut off), so it is tried last and alone"
    return f"{why}; `stem-archiver retry {row.task_id}` frees it"


def print_findings(console: Console, findings: Iterable[Finding]) -> bool:
    """Print one line a finding, its hint below; return whether none failed."""
    passed = True
    for finding in findings:
        _say(console, f" {finding.subject}: {finding.detail}", mark=f"{finding.level:<4}", style=_STYLE[finding.level])
        if finding.hint and finding.level != "ok":
            _say(console, f"     {finding.hint}")
        passed = passed and finding.level != "fail"
    return passed
