"""What a person types: parse, call the app, print; exit codes. No logic."""
