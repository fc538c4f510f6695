"""Task ids as a person hands them in, each once, with what is said of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from archiver.core.intake import Intake, Reject
from archiver.core.model import AccountName, TaskId
from archiver.core.said import UNSAID, Said, line_of


@dataclass(slots=True)
class NamedIds:
    """The ids that were named, each once, and what else was found."""

    ids: dict[TaskId, None] = field(default_factory=dict)
    accounts: dict[TaskId, AccountName] = field(default_factory=dict)
    said: dict[TaskId, Said] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    def take(self, intake: Intake) -> None:
        """Add the finds of one batch of lines."""
        self.ids |= dict.fromkeys(intake.ids)
        self.accounts |= intake.accounts
        self.said |= intake.said
        self.rejects += intake.rejects

    def line_of(self, task_id: TaskId, account: AccountName | None, said: Said) -> str:
        """Return the line that hands the task in, with account and `said` where its own line left them open."""
        its_own = self.said.get(task_id, UNSAID)
        return line_of(task_id, self.accounts.get(task_id, account), its_own.or_else(said))
