"""Errors about one file that cannot be had, or not be stored; part of the error tree of `archiver.core.errors`."""

from __future__ import annotations

from archiver.core.errors import AddressPrivate, ArchiverError, StoreCorrupt, Verdict
from archiver.core.model import Dependency


class ObjectDamaged(ArchiverError):
    """The store said yes to our object, and shows other bytes under its key, which it cannot replace safely."""

    verdict = Verdict.REFUSE
    code = StoreCorrupt.code
    shows = Dependency.STORE
    hint = (
        "remove the object that is named, then `stem-archiver retry ID`; if it repeats, suspect memory, a proxy, "
        "the network card, or another writer"
    )


class NoMultipart(ArchiverError):
    """The file is too large for one request, and in parts the store cannot take it safely."""

    verdict = Verdict.REFUSE
    code = "store.no_multipart"
    shows = Dependency.STORE
    hint = (
        "raise download.buffer_budget above the file's size, or use a store that takes uploads in parts "
        "(`stem-archiver check` shows what this one does); then `stem-archiver retry ID`"
    )


class ManifestTooLong(ArchiverError):
    """The task has more files, or more is told of them, than any version could read in one manifest."""

    verdict = Verdict.REFUSE
    code = "manifest.too_long"
    hint = "its files are stored, and the ledger knows them: nothing is lost; please report it"


class RedirectForbidden(AddressPrivate):
    """A redirect leads to a place we do not go, this time: an origin out of order sends all elsewhere for a while."""
