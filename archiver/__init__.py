"""Archives the stems an AI music provider made into S3 before they expire."""

__version__ = "0.2.0"
