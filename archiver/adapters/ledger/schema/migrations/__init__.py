"""Alembic revisions, one for each released schema."""
