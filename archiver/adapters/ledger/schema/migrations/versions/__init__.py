"""The revisions, in order; a released one never changes."""
