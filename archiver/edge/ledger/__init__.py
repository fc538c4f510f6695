"""The ledger: the service's memory, in one SQL database."""

from archiver.edge.ledger.copying import copy
from archiver.edge.ledger.probe import probe
from archiver.edge.ledger.sql import SqlLedger, database_of

__all__ = ["SqlLedger", "copy", "database_of", "probe"]
