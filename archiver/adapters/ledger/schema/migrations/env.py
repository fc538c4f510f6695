"""Alembic's entry: runs the revisions inside the transaction that migrate.py holds."""

from __future__ import annotations

from alembic import context

_attributes = context.config.attributes


def _applied(*_: object, **__: object) -> None:
    _attributes["checkpoint"]("ledger.migrating")


context.configure(connection=_attributes["connection"], on_version_apply=_applied)
with context.begin_transaction():
    context.run_migrations()
