"""Neutral probes: what refused one task is asked for what concerns no task, and so tells whose trouble it is."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from archiver.core.errors import (
    ArchiverError,
    CredentialsMissing,
    NoCredit,
    StoreUnfit,
    StoreUnproven,
    Verdict,
)
from archiver.core.keys import probe_key
from archiver.core.misses import RouteMoved
from archiver.core.model import AccountName, Dependency, Paused, TaskId
from archiver.pipeline.context import TaskContext
from archiver.pipeline.evidence import JUST_NOW

_OF_ALL = (CredentialsMissing, StoreUnproven, StoreUnfit)
"""Refusals by the store that are about no key: nothing was sent, or nothing is to be."""


class NeutralProbe:
    """The neutral probes for one task, of one account."""

    def __init__(self, context: TaskContext, account: AccountName, of: TaskId) -> None:
        self._out = context.outside
        self._prefix = context.prefix
        self._account = account
        self._of = of

    def blames(self, error: ArchiverError) -> bool:
        """Return whether the refusal is about this task alone: what refused it works for all else."""
        if error.verdict is Verdict.PAUSE_STORE:
            return not isinstance(error, _OF_ALL) and self.store_works()
        return error.narrow and self.provider_works(least=0.001 if isinstance(error, NoCredit) else 0)

    def provider_works(self, *, least: float = 0, known: bool = False) -> bool:
        """Return whether it tells the credit, which is not below `least`, and answers about the last id that it did.

        `known`: only where there is such an id; else the credit alone may tell.
        """
        evidence = self._out.breakers.evidence
        if known and evidence.last(self._account) is None:
            return False
        probe = partial(self._provider_works, least)
        if not least and evidence.just_answered(self._account, besides=self._of):
            return True
        return evidence.find_out((self._account, least), probe, holds=JUST_NOW)

    def _provider_works(self, least: float) -> bool:
        other = self._out.breakers.evidence.last(self._account)
        with suppress(ArchiverError):
            api = self._out.accounts.of(self._account)
            if api.credit(first=True) >= least:
                if other is not None:
                    with suppress(RouteMoved):  # of one kind; the credit was told
                        api.fetch(other, first=True)
                    self._out.breakers.evidence.answered(self._account, other)
                return True
        return False

    def host_works(self, host: str) -> bool:
        """Return whether the host answers about the last file that it gave whole; False where none is known.

        What it answers does not matter: that link may be spent by now.
        """
        evidence = self._out.breakers.evidence
        url = evidence.given(host)
        return url is not None and evidence.find_out(host, partial(self._answers, url))

    def _answers(self, url: str) -> bool:
        try:
            with self._out.downloader.open(url):
                return True
        except ArchiverError as error:
            return error.shows is Dependency.ORIGIN and error.down is None

    def works_for_others(self, error: ArchiverError) -> bool:
        """Return whether what was busy, or refused us, proves at work for what is not this task's."""
        if error.down is Dependency.STORE:
            return self.store_works()
        asked = error.down is Dependency.PROVIDER or error.verdict is Verdict.PAUSE_PROVIDER
        return asked and self.provider_works(known=True)

    def store_is_up(self) -> bool:
        """Return whether the store may be used, before any file is fetched for it: it is proven, and paused no longer.

        A paused one is probed by a trial write.
        """
        if not self._store_is_proven():
            return False
        if not self._out.breakers.is_paused(Dependency.STORE):
            return True
        try:
            self._out.store.try_write(probe_key(self._prefix))
        except ArchiverError as error:
            if error.down is None:
                return True  # it answers, and may refuse nothing but this key
            self._out.breakers.failed(Dependency.STORE, error)
            return False
        self._out.breakers.worked(Dependency.STORE)
        return True

    def _store_is_proven(self) -> bool:
        try:
            self._out.ensure_proof()
        except ArchiverError as error:
            reason = f"{error.code}: {error}"
            self._out.breakers.trip(Paused(Dependency.STORE, reason, error.hint, error.lasting))
            return False
        return True

    def store_works(self) -> bool:
        """Return whether it takes a trial write."""
        with suppress(ArchiverError):
            self._out.store.try_write(probe_key(self._prefix))
            return True
        return False
