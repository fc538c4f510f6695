"""The database that a ledger is kept in: connections, transactions, faults."""
