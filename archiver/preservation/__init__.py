"""The tenth year: what keeps the archive whole when a disk burns, and brings audio out of it again."""
