"""A scripted `RecordApi` without a network; passes the same contract suite as the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Self

from archiver.core.errors import AccountUnknown, ArchiverError
from archiver.core.model import AccountName, Phase, RecordInfo, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_of
from tests.fakes.calls import Calls, unnoticed

Script = Sequence[RecordInfo | ArchiverError]
"""What one task's fetches give or raise, in turn; the last entry for ever."""


@dataclass(slots=True)
class FakeApi:
    """Knows the tasks of `records`; all others are absent. Every attribute may be changed while in use."""

    records: dict[TaskId, Script] = field(default_factory=dict)
    kinds: dict[TaskId, KindName] = field(default_factory=dict)
    """The kinds of the tasks that are no separations; asked for by another kind, a task is absent."""
    links: dict[str, str] = field(default_factory=dict)
    """Fresh links by the URL that they are asked for; for others there is none."""
    balance: float = 100.0
    trouble: ArchiverError | None = None
    """While set, every call raises it."""
    accounts: list[AccountName] = field(default_factory=list)
    """Whose API was asked for, in turn; it is one and the same for all but `unknown` ones."""
    unknown: set[AccountName] = field(default_factory=set)
    fetched: list[TaskId] = field(default_factory=list)
    asked: list[KindName] = field(default_factory=list)
    """The kind of each fetch, in turn."""
    linked: list[str] = field(default_factory=list)
    before: Calls = unnoticed
    permit: Callable[[bool], None] = lambda _: None
    """Called before that: waits until a request may be sent; True for one that goes first."""
    date: Callable[[], datetime] | None = None
    """The provider's own clock, where its answers tell the time."""
    _lock: Lock = field(default_factory=Lock)

    def knows(
        self,
        task_id: TaskId,
        *answers: Mapping[str, object] | RecordInfo | ArchiverError,
        kind: KindName = KindName.SEPARATION,
    ) -> None:
        """Script the answers of one task; a mapping is read as record-info's `data`."""
        self.kinds[task_id] = kind
        self.records[task_id] = [record_of(each, kind) if isinstance(each, Mapping) else each for each in answers]

    def of(self, account: AccountName) -> Self:
        """See Accounts."""
        with self._lock:
            self.accounts.append(account)
        if account in self.unknown:
            raise AccountUnknown(f"no account {account}")
        return self

    def fetch(self, task_id: TaskId, *, kind: KindName = KindName.SEPARATION, first: bool = False) -> RecordInfo:
        """See RecordApi."""
        self.permit(first)
        self.before("fetch", task_id)
        with self._lock:
            self._complain()
            self.fetched.append(task_id)
            self.asked.append(kind)
            script = self._script(task_id, kind)
            answer = script[0]
            if len(script) > 1:
                self.records[task_id] = script[1:]
        if isinstance(answer, ArchiverError):
            raise answer
        return answer if self.date is None else replace(answer, answered_at=self.date())

    def fresh_link(self, url: str) -> str | None:
        """See RecordApi."""
        self.permit(False)
        self.before("fresh_link", url)
        with self._lock:
            self._complain()
            self.linked.append(url)
            return self.links.get(url)

    def credit(self, *, first: bool = False) -> float:
        """See RecordApi."""
        self.permit(first)
        self.before("credit", "")
        self._complain()
        return self.balance

    def _script(self, task_id: TaskId, kind: KindName) -> Script:
        """Return the answers that are left; an error is about the id, whatever kind is asked for."""
        script = self.records.get(task_id, ())
        if not script or not (
            kind is self.kinds.get(task_id, KindName.SEPARATION) or isinstance(script[0], ArchiverError)
        ):
            return (RecordInfo(Phase.ABSENT, kind=kind),)
        return script

    def _complain(self) -> None:
        if self.trouble is not None:
            raise self.trouble
