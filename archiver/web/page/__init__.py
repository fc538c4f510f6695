"""The page to see and hear the archive: views over what the ledger and the bucket say. Needs the extra `page`."""
