"""The ledger: the service's memory, in one SQL database."""

from archiver.edge.ledger.sql import SqlLedger

__all__ = ["SqlLedger"]
