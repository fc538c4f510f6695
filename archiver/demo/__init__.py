"""What `stem-archiver demo` needs beyond the service itself: embedded parts, all on loopback."""
