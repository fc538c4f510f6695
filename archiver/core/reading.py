"""Errors about one object that is read; part of the error tree of `archiver.core.errors`."""

from __future__ import annotations

from archiver.core.errors import ArchiverError, Verdict
from archiver.core.model import Dependency


class ObjectUnread(ArchiverError):
    """The store works, and does not give these bytes: asking again does not help."""

    verdict = Verdict.REFUSE
    code = "store.unread"
    shows = Dependency.STORE


class ObjectAbsent(ObjectUnread):
    """404: nothing stands under the key."""

    code = "store.absent"
    hint = "look whether the object was deleted: a versioned bucket may still have it"


class ObjectChanged(ObjectUnread):
    """412: another object stands under the key than a moment ago."""

    code = "store.changed"
    hint = "run the command again; if it repeats, somebody else writes into this bucket"


class ObjectCold(ObjectUnread):
    """The object lies in an archived class (Glacier and kin): it must be thawed before it can be read."""

    code = "store.cold"
    hint = "have the store restore it first (S3: RestoreObject), which takes hours; then run the command again"


class ObjectLong(ObjectUnread):
    """The object is larger than what is expected under such a key."""

    code = "store.long"
    hint = "look at the object: it is none that this program writes"
