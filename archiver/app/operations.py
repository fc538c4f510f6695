"""The page's operations: each is what the command of that name does, by a ledger that is opened for it alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.queue_file import QueueFile, read_ids
from archiver.app.clock import utc_now
from archiver.app.ledger import open_ledger
from archiver.core.intake import Intake
from archiver.core.model import AccountName, Dependency, TaskId
from archiver.core.named_ids import NamedIds
from archiver.core.said import UNSAID, Said
from archiver.settings import Settings
from archiver.web.page.operating import Preview

_PATIENCE = timedelta(seconds=10)
_VERIFIES = 2
"""Runs of `verify` at one time; what is asked for beyond waits."""
_ENDS = {
    0: "every byte is as it was archived",
    1: "at fault: the overview counts it, `stem-archiver verify` names it",
    3: "something could not be read: try again later",
}


@dataclass(frozen=True, slots=True)
class CommandOperations:
    """The Operations of these settings, which stand in that file."""

    settings: Settings
    config: Path | None
    _turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_VERIFIES))

    @contextmanager
    def _ledger(self) -> Iterator[SqlLedger]:
        with closing(open_ledger(self.settings, patience=_PATIENCE, create=False)) as ledger:
            yield ledger

    def preview(self, text: str) -> Preview:
        """See Operations."""
        found = _named(text)
        states = self._standing(found)
        fresh = [
            (each, str(found.accounts.get(each, "")), found.said.get(each, UNSAID).title)
            for each in found.ids
            if each not in states
        ]
        return Preview(fresh, [(each, states[each]) for each in found.ids if each in states], found.rejects)

    def add(self, text: str, account: AccountName | None) -> int:
        """See Operations."""
        found = _named(text)
        states = self._standing(found)
        fresh = [each for each in found.ids if each not in states]
        if fresh:
            self._queue.append([found.line_of(each, account, UNSAID) for each in fresh])
        return len(fresh)

    @property
    def _queue(self) -> QueueFile:
        return QueueFile(str(self.settings.queue.path))

    def _standing(self, found: NamedIds) -> dict[TaskId, str]:
        """Return of each id that is known how it stands."""
        ids = list(found.ids)
        with self._ledger() as ledger:
            states = {each: state.value for each, state in ledger.intakes.known(ids).items()}
        waiting = self._queue.holds([each for each in ids if each not in states])
        return states | dict.fromkeys(waiting, "in the queue file, not read yet")

    def retry(self, ids: Sequence[TaskId] | None) -> Sequence[TaskId]:
        """See Operations."""
        with self._ledger() as ledger:
            return ledger.intakes.retry(ids, now=utc_now())

    def give_title(self, task: TaskId, title: str) -> bool:
        """See Operations."""
        with self._ledger() as ledger:
            if not ledger.intakes.known([task]):
                return False
            ledger.intakes.take_in(Intake(said={task: Said(title=title)}), source="page", now=utc_now())
            return True

    def acknowledge(self, ids: Sequence[TaskId]) -> Sequence[TaskId]:
        """See Operations."""
        at_risk, retention = self.settings.schedule.at_risk, self.settings.provider.retention
        with self._ledger() as ledger:
            return list(ledger.intakes.acknowledge(ids, now=utc_now(), at_risk=at_risk, retention=retention))

    def acknowledge_rejects(self) -> int:
        """See Operations."""
        with self._ledger() as ledger:
            return ledger.intakes.acknowledge_rejects(now=utc_now())

    def hold(self, dependencies: Sequence[Dependency], span: timedelta | None) -> None:
        """See Operations."""
        now = utc_now()
        with self._ledger() as ledger:
            for each in dependencies:
                ledger.pauses.hold(each, until=None if span is None else now + span, now=now)

    def lift(self, dependencies: Sequence[Dependency]) -> Sequence[Dependency]:
        """See Operations."""
        with self._ledger() as ledger:
            return [each for each in dependencies if ledger.pauses.lift(each)]

    def verify(self, ids: Sequence[TaskId], ended: Callable[[str, bool], None]) -> None:
        """See Operations; a process of its own does it, so that the page stays small."""
        words = [sys.executable, "-m", "archiver", *([] if self.config is None else ["--config", str(self.config)])]
        words += ["verify", "--level", "read", "--json", *ids]

        def run() -> None:
            with self._turns:
                done = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL)  # noqa: S603 - our own command, ids that were judged
            came_to = _ENDS.get(done.returncode) or done.stderr.decode("utf-8", "replace").strip()[:500]
            ended(f"{_counts(done.stdout)}{came_to}", done.returncode != 0)

        threading.Thread(target=run, name="verify", daemon=True).start()


def _counts(said: bytes) -> str:
    with suppress(ValueError, AttributeError, TypeError):
        verdicts = json.loads(said).get("verdicts") or {}
        counts = [f"{count} {word}" for word, count in verdicts.items() if count]
        return f"{', '.join(counts)}: " if counts else ""
    return ""


def _named(text: str) -> NamedIds:
    found = NamedIds()
    for intake in read_ids(BytesIO(text.encode("utf-8", "replace")), "what was pasted"):
        found.take(intake)
    return found
