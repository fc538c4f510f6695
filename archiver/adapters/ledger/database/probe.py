"""Findings of `check` about a ledger on a server. It is looked at, and nothing of it is made or changed."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.faults import translated
from archiver.adapters.ledger.schema.migrate import HEAD, revision
from archiver.core.errors import LedgerFault
from archiver.core.reports import Finding

_SUBJECT = "ledger"
_LOOK = text("""SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
    has_schema_privilege(current_schema(), 'CREATE') AS may_create,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
    coalesce(NOT inet_server_addr() <<= '127.0.0.0/8' AND inet_server_addr() <> '::1', false) AS remote""")


def probe(database: Database) -> Iterator[Finding]:
    """Yield what an operator should know of the server, the worst first."""
    try:
        with translated(database.where), database.reading() as db:
            found = list(_look(db, database.where))
    except LedgerFault as fault:
        found = [Finding("fail", _SUBJECT, str(fault), fault.hint)]
    yield from found


def _look(db: Connection, where: str) -> Iterator[Finding]:
    server, now = db.execute(_LOOK).one(), revision(db)
    if now is None and not server.may_create:
        hint = "make its user owner of the database, or `GRANT ALL ON SCHEMA public TO USER`"
        yield Finding("fail", _SUBJECT, f"{where}: its user may not create the tables", hint)
        return
    tables = "the tables will be made" if now is None else f"schema {now}"
    if now not in {None, HEAD}:
        tables += f", brought to {HEAD} at the next start if it is older, else refused"
    yield Finding("ok", _SUBJECT, f"{where} answers (PostgreSQL {server.version}); {tables}", "")
    if server.fsync != "on":
        hint = "set fsync = on at the server"
        yield Finding("warn", _SUBJECT, "the server runs with fsync off: a power cut may cost the ledger", hint)
    if server.remote and not server.encrypted:
        hint = "add ?sslmode=verify-full to ledger.url"
        yield Finding("warn", _SUBJECT, "what goes to the server is not encrypted", hint)
