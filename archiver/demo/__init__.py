"""The parts of `stem-archiver demo` beyond the service itself, embedded and all on loopback."""
