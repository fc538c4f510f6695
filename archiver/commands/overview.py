"""Output of `status`, `list` and `show`. Reads, never decides."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.table import Table

from archiver.commands.format import counted, size, span
from archiver.commands.printing import hang, say
from archiver.core.attention import POLLS, NeedyTask, QueueStanding
from archiver.core.capabilities import CreateOnly, Gap, Proof, gaps, is_best_effort
from archiver.core.fixity import Fixity
from archiver.core.fixity_faults import level_for
from archiver.core.fixity_standing import FixityStanding
from archiver.core.levels import Level
from archiver.core.model import DEFAULT_ACCOUNT, Dependency, Pause, StemRow
from archiver.core.plan import DEATHS_TO_QUARANTINE
from archiver.core.records.kinds.names import KindName
from archiver.core.reports import JobCounts, ListedTask, Moved, Overview, Process, TaskRow
from archiver.core.states import StemState, TaskState
from archiver.core.text import is_address
from archiver.core.trimming import Trimmed

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
"""Columns that `show` fits into."""
RED, YELLOW = "bold red", "yellow"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Subjects of a status: the places, and who works there."""

    settings_file: str
    """Empty where none was read."""
    ledger: str
    queue: QueueStanding
    queue_is_overdue: bool
    processes: Sequence[tuple[Process, bool]]
    """Each with whether it lives, the latest first."""
    store: StoreStanding
    full_in: timedelta | None = None
    """Until the ledger's disk is full at the pace of the last week, where that is near."""


@dataclass(frozen=True, slots=True)
class StoreStanding:
    """Facts about the store."""

    place: str
    """Endpoint and bucket."""
    demand: CreateOnly
    proof: Proof | None
    """None where it was not proven yet."""

    @property
    def gaps(self) -> Sequence[Gap]:
        """Its gaps, by its proof."""
        return () if self.proof is None else gaps(self.proof.known, self.demand)


# ---------------------------------------------------------------------- status


def print_surroundings(console: Console, around: Surroundings, now: datetime) -> None:
    """Print where settings, ledger and queue file are, what is unread, and who is at work."""
    say(console, f"settings  {around.settings_file or 'no file: defaults and environment'}")
    say(console, f"ledger    {around.ledger}")
    if around.full_in is not None:
        near = f"full in {span(around.full_in)} at the pace of the last week"
        hang(console, f"          {near}; `stem-archiver ledger trim --older 30d` makes room")
    say(
        console,
        f"{around.queue.path}: {_queue(around, now)}",
        mark="queue     ",
        style=RED if around.queue_is_overdue else "",
    )
    daemons = [pair for pair in around.processes if pair[0].role == "run"]
    living = [process for process, alive in daemons if alive]
    for process in living:
        say(console, f"daemon    {_at_work(process, now)}{_looked(process, now)}")
    if not living:
        say(console, _absent(daemons[0][0] if daemons else None, now), mark="daemon    ", style=YELLOW)
    for process, alive in around.processes:
        if alive and process.role != "run":
            say(console, f"{process.role:<9} {_at_work(process, now)}")
    _print_store(console, around.store, now)


def _print_store(console: Console, store: StoreStanding, now: datetime) -> None:
    if store.proof is None:
        say(console, f"store     {store.place}: not proven yet; `run` and `check` do it before they write")
        return
    best_effort = f"{CreateOnly.BEST_EFFORT}, " if is_best_effort(store.proof.known, store.demand) else ""
    say(console, f"store     {store.place}: {best_effort}proven {span(now - store.proof.at)} ago")
    for gap in store.gaps:
        hang(console, f"          {gap.subject}: {gap.found}; {gap.follows}")


def _queue(around: Surroundings, now: datetime) -> str:
    queue = around.queue
    if queue.fault:
        return f"cannot be read: {queue.fault.removeprefix(queue.path).lstrip(': ')}"
    if not queue.exists:
        return "no such file yet; `stem-archiver enqueue ID` creates it"
    if not queue.unread_bytes:
        return "all taken in"
    text = f"{counted(queue.unread_bytes, 'byte')}, {counted(queue.unread_lines, 'line')} not taken in"
    if queue.unterminated_bytes:
        text += ", the last without its newline"
    if around.queue_is_overdue:
        since = max(filter(None, (queue.moved_at, queue.appended_at)), default=None)
        text += f"; unread for {POLLS} polls" + (f" ({span(now - since)})" if since else "")
    return text


def _at_work(process: Process, now: datetime) -> str:
    does = f": {process.doing}" if process.doing else ""
    return f"alive for {span(now - process.since)} (pid {process.pid} on {process.place}){does}"


def _looked(process: Process, now: datetime) -> str:
    if process.looked_at is None:
        return "; has not looked at the queue yet"
    return f"; looked at the queue {span(now - process.looked_at)} ago"


def _absent(last: Process | None, now: datetime) -> str:
    if last is None:
        return "none is alive on this ledger: start `stem-archiver run`"
    if last.ended_at is not None:
        end = f"ended in order {span(now - last.ended_at)} ago"
    else:
        end = f"died; its last sign was {span(now - last.seen_at)} ago"
    return f"none is alive on this ledger; the last (pid {last.pid} on {last.place}) {end}"


def print_overview(console: Console, overview: Overview, now: datetime) -> None:
    """Print the counts, what is paused, and what needs a person."""
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
        say(console, f" {pause.subject}: {pause.reason}", mark="paused")
        say(console, f"       {pause.hint}{_when(pause, now)}")
    _print_put_off(console, overview, now)
    _print_needing(console, overview, now)
    _print_rejects(console, overview)


def print_fixity(console: Console, fixity: FixityStanding) -> None:
    """Print what checks of the archive found and no later one found mended."""
    if fixity.acknowledged:
        say(
            console,
            f" {_kinds(fixity.acknowledged)}: acknowledged; one that is found otherwise counts again",
            mark="archive:",
        )
    if not any(fixity.faults.values()):
        return
    kinds = {kind: count for kind, count in fixity.faults.items() if count}
    say(console, f" {_kinds(kinds)}", mark="archive at fault:")
    level = max((level_for(kind) for kind in kinds), key=list(Level).index)
    hang(console, f"  `stem-archiver verify --level {level.value}` names them, and closes what is mended")
    hang(console, "  `stem-archiver ack --fault KEY` acknowledges one that nobody can mend")


def _kinds(counts: Mapping[Fixity, int]) -> str:
    return ", ".join(f"{count} {_word(kind)}" for kind, count in counts.items())


def print_jobs(console: Console, jobs: JobCounts) -> None:
    """Print what `status` says of workers and their jobs."""
    console.print(
        f"{counted(jobs.workers, 'worker')} at work; {counted(jobs.waiting, 'job')} waiting, "
        f"{jobs.scheduled} scheduled, {jobs.doing} being done"
    )
    if jobs.waiting and not jobs.workers:
        say(console, " jobs wait, and no worker is at work: start `stem-archiver worker`", mark="workers")
    if jobs.silent_workers or jobs.stalled:
        say(
            console,
            f" workers that went without a goodbye in the last day: {jobs.silent_workers}; their jobs, taken up by "
            f"others within seconds: {jobs.stalled}",
            mark="silent",
            style=YELLOW,
        )


def _when(pause: Pause, now: datetime) -> str:
    if pause.held:
        return "" if pause.lasting else f" (ends by itself: {span(pause.next_probe - now)})"
    if pause.next_probe > now:
        return f" (next probe in {span(pause.next_probe - now)})"
    by = "the service" if pause.dependency is Dependency.STORE else "the next task that needs it"
    return f" (probe due since {span(now - pause.next_probe)}, by {by})"


def _forecast(overview: Overview) -> str:
    late = counted(overview.forecast_late or 0, "stem")
    return f"at this rate ({overview.stems_an_hour or 0:.0f} stems an hour) {late} will expire before they are reached"


def _counts(overview: Overview) -> Table:
    table = Table(box=None, show_header=True, header_style="bold")
    for title in ("tasks", "", "stems", ""):
        table.add_column(title, justify="left" if title else "right")
    stems = [(state.value, str(overview.stems.get(state, 0))) for state in StemState]
    stems += [("", "")] * (len(TaskState) - len(stems))
    for state, (name, count) in zip(TaskState, stems, strict=True):
        table.add_row(state.value, str(overview.tasks.get(state, 0)), name, count)
    return table


def _print_needing(console: Console, overview: Overview, now: datetime) -> None:
    counts = [f"{count} {_word(need)}" for need, count in overview.needs.items() if count]
    if not counts:
        return
    are = "task needs" if sum(overview.needs.values()) == 1 else "tasks need"
    say(console, f" {', '.join(counts)}", mark=f"{are} a person:")
    for task in overview.needing:
        hang(console, f"  {task.task_id}  {_needing(task, now)}")
    if (further := sum(overview.needs.values()) - len(overview.needing)) > 0:
        say(console, f"  and {further} more: `stem-archiver status --json` names all")
    hang(console, "  `stem-archiver show ID` tells more; then `retry ID`, or `ack ID` once you have seen to it")


def _print_put_off(console: Console, overview: Overview, now: datetime) -> None:
    """Print what is tried or asked about again and again, and the oldest of each cause."""
    for each in overview.put_off:
        facts = f" {counted(each.tasks, 'task')}, {each.oldest} since {span(now - each.since)}: {each.reason}"
        say(console, facts, mark="put off", style=YELLOW)


def _word(word: str) -> str:
    return word.replace("_", " ")


def _needing(task: NeedyTask, now: datetime) -> str:
    facts = (_word(task.need), _left(task.deadline, now), task.reason or "nothing is known of it yet")
    return "  ".join(filter(None, facts))


def _left(deadline: datetime | None, now: datetime) -> str:
    if deadline is None:
        return ""
    return f"deadline in {span(deadline - now)}" if deadline > now else f"deadline {span(deadline - now)}"


def _print_rejects(console: Console, overview: Overview) -> None:
    if not overview.rejected_lines:
        return
    are = "line is no task id" if overview.rejected_lines == 1 else "lines are no task ids"
    say(console, f" {overview.rejected_lines} {are}; `stem-archiver ack --rejected` once seen to", mark="rejected")
    for reject in overview.rejects:
        hang(console, f"  {reject.path} {reject.place}: {reject.excerpt!r}: {reject.reason}")
    if overview.dropped_rejects:
        say(console, f"  {overview.dropped_rejects} of them were too many to keep, and are only counted")


# ---------------------------------------------------------------------- list


def print_list(console: Console, tasks: Iterable[ListedTask], now: datetime) -> None:
    """Print a line for each task, as they come."""
    for task in tasks:
        hang(console, _listed(task, now))


def _listed(task: ListedTask, now: datetime) -> str:
    account = "" if task.account == DEFAULT_ACCOUNT else f"  account {task.account}"
    seen = "" if task.acknowledged_at is None else "  acknowledged"
    reason = f"  {task.reason}" if task.reason else ""
    left = "" if task.deadline is None or task.ended_at is not None else f"  {_short(task.deadline - now)}"
    line = f"{task.task_id}  {task.state.value:<8}  {task.accepted_at:%Y-%m-%d %H:%M}"
    named = f"  {task.title}" if task.title else ""
    kind = "" if task.kind in (None, KindName.SEPARATION) else f"  {task.kind}"
    return f"{line}{kind}{named}{account}{seen}{left}{reason}"


def _short(left: timedelta) -> str:
    """Return the time that is left in as few columns as a line of 80 has for it."""
    return f"{span(left)} left" if left > timedelta() else f"due {span(left)}"


# ---------------------------------------------------------------------- show


def print_task(console: Console, row: TaskRow, now: datetime) -> None:
    """Print what `show` says of one task: each thing once, in WIDTH columns."""
    say(console, f"  {row.state.value}", mark=row.task_id, style="bold")
    for name, fact in _facts(row, now).items():
        if fact:
            _fold(console, f"  {name}: ", fact)
    width = max((len(stem.name) for stem in row.stems), default=0)
    for stem in row.stems:
        name = f"  {stem.name:<{min(width, 30)}}  {stem.state.value:<8}  "
        for line, words in enumerate(_stem(stem)):
            _fold(console, name if line == 0 else " " * len(name), words)
    for move in row.history:
        where = f"{move.stem}: " if move.stem else ""
        _fold(console, f"  {move.at:%Y-%m-%d %H:%M:%S}  ", f"{where}{_move(move)}  {_news(move, row)}")


def _facts(row: TaskRow, now: datetime) -> Mapping[str, str | None]:
    of_stems = {stem.reason for stem in row.stems}
    tries = [
        f"{counted(row.asks, 'time')} not ready" if row.asks else "",
        ("1 try failed" if row.attempts == 1 else f"{row.attempts} tries in a row failed") if row.attempts else "",
    ]
    return {
        "reason": row.reason if row.reason not in of_stems else None,
        "acknowledged": _moment(row.acknowledged_at),
        "kind": None if row.kind is None else row.kind.value,
        "title": row.title or None,
        "made from": ", ".join(row.family.parents),
        "made from it": ", ".join(row.family.children),
        "account": None if row.account == DEFAULT_ACCOUNT else row.account,
        "accepted": f"{_moment(row.accepted_at)} from {row.source}",
        "created": _moment(row.created_at),
        "deadline": None if row.deadline is None else f"{_moment(row.deadline)} ({span(row.deadline - now)})",
        "asked": ", ".join(filter(None, tries)),
        "trimmed": None if row.trimmed is None else _trimmed(row.trimmed),
        "quarantined": _quarantine(row),
        "next try": None if row.not_before is None else f"{_moment(row.not_before)} ({_due(row.not_before - now)})",
        "being worked on": None if row.leased_until is None else f"lease until {row.leased_until:%H:%M:%S} UTC",
    }


def _trimmed(kept: Trimmed) -> str:
    return f"the ledger keeps this row alone; {counted(kept.stems, 'stem')} of {size(kept.bytes)} stand in its manifest"


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _due(left: timedelta) -> str:
    return "due" if left <= timedelta() else f"in {span(left)}"


def _quarantine(row: TaskRow) -> str | None:
    if row.deaths < DEATHS_TO_QUARANTINE or row.ended_at is not None:
        return None
    why = f"{row.deaths} processes in a row died while at it (killed, frozen or cut off), so it is tried last and alone"
    return f"{why}; `stem-archiver retry {row.task_id}` frees it"


def _stem(stem: StemRow) -> Iterator[str]:
    receipt = stem.receipt
    if receipt is None:
        if stem.reason:
            yield stem.reason
        yield stem.url_shown if is_address(stem.url_shown) else f"in the record at {stem.field}"
        return
    alias = f" (same bytes as {receipt.alias_of})" if receipt.alias_of else ""
    yield f"{size(receipt.size)}  {receipt.key}{alias}"
    yield f"sha256 {receipt.sha256}"


def _move(move: Moved) -> str:
    event = "" if move.event == move.after else f" ({move.event.replace('_', ' ')})"
    return f"{move.before} -> {move.after}{event}"


_OF_RECEIPT = {"key", "bytes", "sha256"}


def _news(move: Moved, row: TaskRow) -> str:
    """Return the details of a move that stand nowhere above."""
    above = {row.reason, *(stem.reason for stem in row.stems if stem.name == move.stem)}
    known = _OF_RECEIPT if any(stem.receipt and stem.name == move.stem for stem in row.stems) else set()
    return " ".join(
        f"{key}={value}"
        for key, value in move.detail.items()
        if key not in known and not (key == "reason" and value in above)
    )


def _fold(console: Console, head: str, text: str) -> None:
    """Print `text` behind `head`, on as many lines as WIDTH needs."""
    for line, part in enumerate(textwrap.wrap(text, WIDTH - len(head), break_on_hyphens=False) or [""]):
        say(console, f"{head if line == 0 else ' ' * len(head)}{part}".rstrip())
