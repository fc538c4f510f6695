"""The shapes that results come in, and the files in each."""
