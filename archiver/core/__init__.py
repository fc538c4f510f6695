"""The rules, free of IO: no clock, no randomness, no third-party import."""
