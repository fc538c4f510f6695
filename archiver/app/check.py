"""`check`: tries everything once before it is relied on. Composes probes; decides nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from archiver.app.adapters import open_accounts
from archiver.app.clock import utc_now
from archiver.app.ledger import on_server, open_ledger, probe_ledger
from archiver.app.places import store_name
from archiver.app.store import open_store
from archiver.app.verify import plan
from archiver.core.capabilities import Capabilities, Proof
from archiver.core.errors import ApiBusy, ArchiverError, LedgerFault
from archiver.core.fixity_cost import Plan
from archiver.core.keys import probe_key
from archiver.core.levels import Level
from archiver.core.model import DEFAULT_ACCOUNT
from archiver.core.reports import Finding
from archiver.core.text import scrub
from archiver.ports.provider import RecordApi
from archiver.ports.runtime import EventLog
from archiver.settings import Loaded, Settings
from archiver.settings.rules import SQLITE

_WAY_TO_PROVIDER = "mend provider.base_url, or the way there: the name's address, a firewall, a proxy (download.proxy)"
_OTHER_USER = "run it as the service's user, or give this one the right to work there"


def findings(loaded: Loaded, log: EventLog, *, race: bool = False) -> Iterator[Finding]:
    """Yield one finding a look, in the order in which an operator would mend them; `race`: see `race.race`."""
    settings = loaded.settings
    given = sum(source != "default" for source in loaded.sources.values())
    yield Finding("ok", "settings", f"{given} are given, of {len(loaded.sources)}", "")
    yield from _looked("queue file", lambda: _queue(settings))
    yield from _looked("ledger", lambda: probe_ledger(settings) if on_server(settings) else _ledger(settings))
    yield from _looked("provider", lambda: _accounts(settings, log))
    yield from _looked("bucket", lambda: _store(settings, log, race=race))
    yield from _looked("archive", lambda: _reading(settings))


def _looked(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of one look; what keeps it from looking on is a finding too, never the end of the others."""
    try:
        yield from look()
    except (ArchiverError, LedgerFault) as fault:
        yield Finding("fail", subject, str(fault), fault.hint)
    except PermissionError as error:
        yield Finding("fail", subject, f"{error.filename}: {error.strerror}", _OTHER_USER)
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator sees it beside what works
        hint = "look at the cause that is named; a report of it is welcome if that says nothing to you"
        yield Finding("fail", subject, f"cannot be looked at: {_said(error)}", hint)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {scrub(str(error))}"


def _store(settings: Settings, log: EventLog, *, race: bool) -> Iterator[Finding]:
    key, is_proven = probe_key(settings.store.prefix), False

    def proven(known: Capabilities) -> None:
        nonlocal is_proven
        is_proven = True
        _note(settings, known)

    with closing(open_store(settings, log)) as store:
        yield from store.probe(key, settings.store.create_only, proven)
        if race and is_proven:
            yield store.race(key)


def _reading(settings: Settings) -> Iterator[Finding]:
    """Look at whether what was archived is read again; say what that costs while it is not."""
    if settings.verify.within:
        yield Finding("ok", "archive", f"every object is read within {settings.verify.within.days} days", "")
        return
    said = "what was archived is never read again by itself"
    with suppress(LedgerFault, OSError), closing(open_ledger(settings, create=False)) as ledger:
        said = f"{said}; within 90 days that is {_cost(plan(settings, ledger, Level.READ, None))}"
    hint = 'set verify.within to "90d"; where reading costs too much, `verify --level read` from time to time'
    yield Finding("warn", "archive", said, hint)


def _cost(ahead: Plan) -> str:
    gigabytes = ahead.bytes / 10**9
    price = "" if ahead.prices.name == "none" else f", {ahead.price:.2f} {ahead.prices.currency}"
    return f"{ahead.requests} requests, {gigabytes:.1f} GB{price or ' (set verify.prices to know the price)'}"


def _note(settings: Settings, known: Capabilities) -> None:
    """Keep what the store was proven to do in the ledger, where there is one: the service relies on it from then on."""
    with suppress(LedgerFault), closing(open_ledger(settings, create=False)) as ledger:
        ledger.proofs.note(store_name(settings), Proof(known, utc_now()))


def _accounts(settings: Settings, log: EventLog) -> Iterator[Finding]:
    with closing(open_accounts(settings, log)) as accounts:
        for account in settings.provider.api_keys():
            subject = "provider" if account == DEFAULT_ACCOUNT else f"provider, account {account}"
            yield _provider(subject, settings.provider.base_url, accounts.of(account))


def _provider(subject: str, base_url: str, api: RecordApi) -> Finding:
    try:
        credit = api.credit()
    except ArchiverError as error:
        hint = _WAY_TO_PROVIDER if type(error) is ApiBusy else error.hint
        return Finding("fail", subject, f"{error.code}: {error}; asked at {base_url}", hint)
    return Finding("ok", subject, f"{base_url} accepts the key (credit {credit:g})", "")


def _queue(settings: Settings) -> Iterator[Finding]:
    queue = settings.queue.path
    if queue.exists():
        yield _readable(queue)
    else:
        yield Finding("warn", "queue file", f"{queue} does not exist yet", "`stem-archiver enqueue ID` creates it")


def _ledger(settings: Settings) -> Iterator[Finding]:
    database = Path(settings.ledger.url.removeprefix(SQLITE))
    there = database.exists()
    place = database if there else _nearest_folder(database)
    if not os.access(place, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        yield Finding("fail", "ledger", f"{place} cannot be written to by this user", _OTHER_USER)
    elif there:
        yield _private(database)
    else:
        yield Finding("ok", "ledger", f"{database} will be created", "")


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.exists())


def _readable(path: Path) -> Finding:
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        return Finding("fail", "queue file", f"{path}: {error.strerror}", "give the service the right to read it")
    return Finding("ok", "queue file", f"{path} can be read", "")


def _private(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding("warn", "ledger", f"{path} has mode {mode:04o}", f"chmod 600 {path}")
    return Finding("ok", "ledger", f"{path} is private", "")
