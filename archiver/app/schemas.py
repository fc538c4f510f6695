"""The JSON Schemas of manifests, as they lie in the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def read_schemas() -> Mapping[int, bytes]:
    """Return the schema of each format, by its number."""
    folder = files("archiver.core") / "schemas"
    return {number: (folder / f"manifest-{number}.schema.json").read_bytes() for number in (1, 2)}
