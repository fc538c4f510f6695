"""The tables, their indexes, and how an older schema becomes this one."""
