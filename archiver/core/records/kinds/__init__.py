"""The kinds of the provider's records: a table, one row a kind."""
