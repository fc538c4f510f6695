"""Outside things, one room each; no room imports another."""
