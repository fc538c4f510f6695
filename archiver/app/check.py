"""`check`: tries everything once before it is relied on. Composes probes; decides nothing."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from archiver.app.adapters import open_accounts, open_store
from archiver.app.ledger import on_server, probe_ledger
from archiver.core.errors import ArchiverError
from archiver.core.keys import probe_key
from archiver.core.model import DEFAULT_ACCOUNT
from archiver.core.reports import Finding
from archiver.ports.provider import RecordApi
from archiver.ports.runtime import EventLog
from archiver.settings import Loaded, Settings
from archiver.settings.rules import SQLITE


def findings(loaded: Loaded, log: EventLog) -> Iterator[Finding]:
    """Yield one finding a look, in the order in which an operator would mend them."""
    settings = loaded.settings
    yield Finding("ok", "settings", f"{len(loaded.sources)} keys read", "")
    yield from _queue(settings)
    yield from probe_ledger(settings) if on_server(settings) else _ledger(settings)
    yield from _accounts(settings, log)
    with closing(open_store(settings, log)) as store:
        yield from store.probe(probe_key(settings.store.prefix))


def _accounts(settings: Settings, log: EventLog) -> Iterator[Finding]:
    with closing(open_accounts(settings, log)) as accounts:
        for account in settings.provider.api_keys():
            subject = "provider" if account == DEFAULT_ACCOUNT else f"provider, account {account}"
            yield _provider(subject, settings.provider.base_url, accounts.of(account))


def _provider(subject: str, base_url: str, api: RecordApi) -> Finding:
    try:
        credit = api.credit()
    except ArchiverError as error:
        return Finding("fail", subject, f"{error.code}: {error}", error.hint)
    return Finding("ok", subject, f"{base_url} accepts the key (credit {credit:g})", "")


def _queue(settings: Settings) -> Iterator[Finding]:
    queue = settings.queue.path
    if queue.exists():
        yield _readable(queue)
    else:
        yield Finding("warn", "queue file", f"{queue} does not exist yet", "`stem-archiver enqueue ID` creates it")


def _ledger(settings: Settings) -> Iterator[Finding]:
    database = Path(settings.ledger.url.removeprefix(SQLITE))
    if database.exists():
        yield _private(database)
    else:
        yield Finding("ok", "ledger", f"{database} will be created", "")


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
