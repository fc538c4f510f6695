"""The provider's API as its accounts have it, and the requests that may be sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from archiver.core.model import AccountName, RecordInfo, TaskId
from archiver.core.records.kinds.names import KindName


class RecordApi(Protocol):
    """The provider's API as one account has it. Holds the key, follows no redirect, keeps to the rate limit."""

    def fetch(self, task_id: TaskId, *, kind: KindName = KindName.SEPARATION, first: bool = False) -> RecordInfo:
        """Read the record that the task has among those of this kind, once, with short retries inside (at most 30 s).

        Of those that wait until they may send, one that is to go `first` passes the others.
        Phase.ABSENT, which is no error, says that this kind does not know the id. Raises ApiBusy or ProviderPaused.
        """

    def fresh_link(self, url: str) -> str | None:
        """Ask POST /api/v1/common/download-url for a link that lives 20 minutes.

        None when the provider refuses this URL. The answer is a secret: never log or store it.
        Raises ApiBusy or ProviderPaused.
        """

    def credit(self, *, first: bool = False) -> float:
        """Return the account's credit, the free health check; `first`: see `fetch`. Raises as that does."""


class Accounts(Protocol):
    """The accounts at the provider that we have keys for."""

    def of(self, account: AccountName) -> RecordApi:
        """Return the API as that account has it; raise AccountUnknown."""


@dataclass(frozen=True, slots=True)
class NoPermit:
    """No request may be sent now."""

    seconds: float
    """Until it is worth asking again."""
    cooling: float = 0.0
    """Seconds for which the provider has asked all who share its limit to be silent."""


class Permits(Protocol):
    """The requests that one account may send within the provider's window, by all who share them."""

    def take(self) -> str | NoPermit:
        """Take a permit, whose name is to be given back, or say when to look again; never waits for one."""

    def give_back(self, permit: str) -> None:
        """Let the permit rest for a window from now on; call this when the answer has come."""

    def cool_down(self, seconds: float) -> None:
        """Let none of the others have a permit for so many seconds."""

    def resize(self, limit: int) -> None:
        """Set the number of permits; those that are out or at rest count towards it."""

    def left(self) -> int:
        """Return how many could be taken now."""
