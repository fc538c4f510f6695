"""The ledger: the service's memory, in one SQL database."""

from archiver.adapters.ledger.copying import copy
from archiver.adapters.ledger.probe import probe
from archiver.adapters.ledger.sql import SqlLedger, database_of

__all__ = ["SqlLedger", "copy", "database_of", "probe"]
