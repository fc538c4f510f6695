"""What commands print of words that came from outside."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from archiver.app.preview import Preview, PreviewedStem
from archiver.commands.format import print_json
from archiver.commands.overview import StoreStanding, Surroundings, print_overview, print_surroundings, print_task
from archiver.commands.printing import print_findings, print_preview, print_result
from archiver.commands.progress import Tally
from archiver.core.attention import Need, NeedyTask, QueueStanding
from archiver.core.capabilities import Capabilities, CreateOnly, Proof
from archiver.core.intake import Reject
from archiver.core.model import AccountName, Dependency, Pause, Receipt, StemName, TaskId
from archiver.core.model import StemRow as Stem
from archiver.core.put_off import PutOff, Why
from archiver.core.reports import AtRisk, EnlistedWork, Finding, Moved, Overview, Process, TaskRow
from archiver.core.states import StemState, TaskState
from archiver.service.backfill import BackfillCounts, BackfillResult, Verdict
from tests.fakes.time import NOW

HOSTILE = (
    "[red]r[/red] [link=https://evil.example]l[/link] :bomb: [/] "
    "\x1b]0;title\x07\x1b[2J\x9b31m\x9d8;;https://evil.example\x9c\u202eevil\u2066 \r\n2026-11-01 forged line\x00"
)
OURS = re.compile(r"\x1b\[[0-9;]*m")
"""The colours that the console itself sets."""

STEMS = (
    Stem(StemName("vocal"), StemState.REFUSED, None, HOSTILE, HOSTILE, reason=HOSTILE),
    Stem(
        StemName("drums"),
        StemState.STORED,
        None,
        HOSTILE,
        HOSTILE,
        receipt=Receipt(HOSTILE, 1, "ab" * 32, HOSTILE, HOSTILE, NOW, alias_of=StemName(HOSTILE)),
    ),
)
ROW = TaskRow(
    task_id=TaskId("task-0001"),
    state=TaskState.LISTED,
    account=AccountName("second"),
    accepted_at=NOW,
    source=HOSTILE,
    first_asked_at=NOW,
    created_at=NOW,
    completed_at=NOW,
    deadline=NOW,
    not_before=NOW,
    asks=1,
    attempts=1,
    flag=HOSTILE,
    reason=HOSTILE,
    ended_at=None,
    leased_until=NOW,
    stems=STEMS,
    history=(Moved(NOW, StemName("vocal"), "refused", "wanted", "refused", {HOSTILE: HOSTILE}),),
)
PAUSE = Pause(Dependency.STORE, NOW, HOSTILE, HOSTILE, lasting=True, probes=1, next_probe=NOW)
OVERVIEW = Overview(
    tasks={TaskState.LISTED: 1},
    stems={StemState.WANTED: 1},
    bytes_stored=1,
    due=0,
    working=0,
    next_due=NOW,
    nearest_deadline=NOW,
    at_risk_count=1,
    at_risk=(AtRisk(TaskId("task-0001"), NOW, 1, HOSTILE),),
    pauses=(PAUSE,),
    rejected_lines=1,
    rejects=(Reject(HOSTILE, 0, HOSTILE, HOSTILE),),
    last_archived_at=NOW,
    stems_an_hour=1.0,
    forecast_late=1,
    needs={Need.AT_RISK: 1},
    put_off=(PutOff(Why.FAILING, 1, TaskId("task-0001"), NOW, HOSTILE),),
    needing=(NeedyTask(TaskId("task-0001"), Need.AT_RISK, TaskState.LISTED, AccountName("second"), NOW, HOSTILE),),
)
PROCESS = Process("us", "run", HOSTILE, 1, NOW, NOW, None, NOW, HOSTILE, HOSTILE, None)
AROUND = [
    Surroundings(
        HOSTILE,
        HOSTILE,
        QueueStanding(HOSTILE, fault=fault),
        True,
        [(PROCESS, alive)],
        StoreStanding(HOSTILE, demand, proof),
    )
    for fault, alive, demand, proof in (
        (HOSTILE, True, CreateOnly.REQUIRED, None),
        ("", False, CreateOnly.BEST_EFFORT, Proof(Capabilities(create_only=False, replaces=False), NOW)),
    )
]
RESULT = BackfillResult(Verdict.PAUSED, BackfillCounts(1, 0, 1), EnlistedWork({ROW.state: 1}, (ROW,)), (PAUSE,))
PREVIEW = Preview(TaskId("task-0001"), HOSTILE, (PreviewedStem(HOSTILE, HOSTILE),))
FINDINGS = [Finding(level, HOSTILE, HOSTILE, HOSTILE) for level in ("ok", "warn", "fail")]


def _places(console: Console) -> None:
    for around in AROUND:
        print_surroundings(console, around, NOW)


PRINTERS: dict[str, Callable[[Console], object]] = {
    "status": lambda console: print_overview(console, OVERVIEW, NOW + timedelta(hours=1)),
    "status of a place": _places,
    "show": lambda console: print_task(console, ROW, NOW + timedelta(hours=1)),
    "backfill": lambda console: print_result(console, RESULT, Tally()),
    "dry run": lambda console: print_preview(console, [PREVIEW]),
    "check": lambda console: print_findings(console, FINDINGS),
}


@pytest.mark.parametrize("command", PRINTERS)
def test_words_from_outside_are_printed_as_they_are_and_steer_nothing(command: str) -> None:
    out = io.StringIO()
    PRINTERS[command](Console(file=out, force_terminal=True, color_system="truecolor", soft_wrap=True))
    text = OURS.sub("", out.getvalue())
    assert "[red]r[/red] [link=https://evil.example]l[/link] :bomb: [/]" in text
    assert [char for char in text if not (char.isprintable() or char == "\n")] == []
    assert not any(line.startswith("2026-11-01 forged") for line in text.splitlines())


def test_json_of_words_from_outside_holds_no_character_that_steers_a_terminal() -> None:
    out = io.StringIO()
    print_json(ROW, out)
    assert out.getvalue().removesuffix("\n").isprintable()
    assert out.getvalue().isascii()
    assert json.loads(out.getvalue())["reason"] == HOSTILE


def test_stem_without_an_address_is_shown_with_its_place_in_the_record() -> None:
    fault = "a URL that names no host: /bass.mp3"
    bass = Stem(StemName("bass"), StemState.REFUSED, fault, fault, "bassUrl", reason=f"record.not_taken: {fault}")
    out = io.StringIO()
    print_task(Console(file=out, soft_wrap=True), replace(ROW, stems=(bass,)), NOW)
    assert f"bass refused record.not_taken: {fault} in the record at bassUrl" in " ".join(out.getvalue().split())


def test_status_names_what_is_put_off_by_why_and_the_oldest_of_each_with_its_reason() -> None:
    out, since = io.StringIO(), NOW - timedelta(hours=2)
    unknown = PutOff(Why.UNKNOWN, 300, TaskId("task-0007"), since, "the provider does not know this id yet")
    failing = PutOff(Why.FAILING, 1, TaskId("task-0008"), NOW - timedelta(days=3), "cdn.busy: refused")
    print_overview(Console(file=out, width=200), replace(OVERVIEW, put_off=(unknown, failing)), NOW)
    assert [line for line in out.getvalue().splitlines() if line.startswith("put off")] == [
        "put off 300 tasks, task-0007 since 2h: the provider does not know this id yet",
        "put off 1 task, task-0008 since 3d: cdn.busy: refused",
    ]
