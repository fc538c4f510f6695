"""The command line: parse, call the app, print; exit codes. No logic."""
