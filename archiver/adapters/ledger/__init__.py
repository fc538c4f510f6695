"""The ledger: the service's memory, in one SQL database."""

from archiver.adapters.ledger.copying import copy
from archiver.adapters.ledger.database.probe import probe
from archiver.adapters.ledger.database.urls import database_of
from archiver.adapters.ledger.ledger import SqlLedger

__all__ = ["SqlLedger", "copy", "database_of", "probe"]
