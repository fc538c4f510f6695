"""The accounts at the provider: one client for each, with its own key and its own rate limit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping

from archiver.adapters.provider.client import KieApi
from archiver.core.errors import AccountUnknown
from archiver.core.model import AccountName


class KieAccounts:
    """`Accounts` over a client for each; `clients` must hold DEFAULT_ACCOUNT. They read their keys from `keys`."""

    def __init__(
        self, clients: Mapping[AccountName, KieApi], keys: MutableMapping[AccountName, str] | None = None
    ) -> None:
        self._clients = clients
        self._keys = {} if keys is None else keys

    def of(self, account: AccountName) -> KieApi:
        """Return the client of that account; raise AccountUnknown."""
        try:
            return self._clients[account]
        except KeyError:
            known = ", ".join(self._clients)
            raise AccountUnknown(f"the settings have no account {account} (they have: {known})") from None

    def budget(self) -> int:
        """Return how many requests may be sent at once now, over all accounts."""
        return sum(client.budget() for client in self._clients.values())

    def crowded(self) -> Collection[AccountName]:
        """Return the accounts that threads wait for already: one more would be kept from the others.

        A single account is never crowded, for there are no others.
        """
        if len(self._clients) == 1:
            return ()
        return {account for account, client in self._clients.items() if client.is_waited_for()}

    def enough_wait(self, *, first: bool) -> Collection[AccountName]:
        """Return the accounts for which as many wait, of what goes `first` or of the rest, as can be sent soon."""
        return [account for account, client in self._clients.items() if client.is_full(first=first)]

    def next_in(self) -> float | None:
        """Return the seconds until the next request of those that wait may be sent; None where none waits."""
        waits = (client.next_in() for client in self._clients.values())
        return min((wait for wait in waits if wait is not None), default=None)

    def set_rates(self, requests_per_10s: Mapping[AccountName, int]) -> None:
        """Keep to other rates from now on, for those accounts that are known."""
        for account, limit in requests_per_10s.items():
            if account in self._clients:
                self._clients[account].set_rate(limit)

    def set_keys(self, keys: Mapping[AccountName, str]) -> None:
        """Send other keys from now on, for those accounts that are known."""
        self._keys.update({account: key for account, key in keys.items() if account in self._clients})

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError."""
        for client in self._clients.values():
            client.renew_trust()

    def close(self) -> None:
        """End every wait with ApiBusy and close all connections."""
        for client in self._clients.values():
            client.close()
