"""The ledger: the service's memory, in one SQL database."""

from archiver.adapters.ledger.apart import BackupsApart
from archiver.adapters.ledger.backup_file import new_file, pieces_of
from archiver.adapters.ledger.backups import Restoring
from archiver.adapters.ledger.copying import copy
from archiver.adapters.ledger.database.probe import probe
from archiver.adapters.ledger.database.urls import database_of
from archiver.adapters.ledger.ledger import SqlLedger, schema_of

__all__ = [
    "BackupsApart",
    "Restoring",
    "SqlLedger",
    "copy",
    "database_of",
    "new_file",
    "pieces_of",
    "probe",
    "schema_of",
]
