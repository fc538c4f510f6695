"""The JSON Schemas of what stands in the bucket, as they lie in the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def read_schemas() -> Mapping[int, bytes]:
    """Return the schema of each format of manifests, by its number."""
    return {number: _read(f"manifest-{number}") for number in (1, 2)}


def read_fixity_schema() -> bytes:
    """Return that of the reports of fixity."""
    return _read("fixity-1")


def _read(name: str) -> bytes:
    return (files("archiver.core") / "schemas" / f"{name}.schema.json").read_bytes()
