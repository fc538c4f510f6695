"""The first settings of somebody: each value judged by itself, and written as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from archiver.settings.model import SECTIONS, Settings, value_of, variable
from archiver.settings.rules import key as api_key

API_KEY = "provider.api_key"


def judged(key: str, text: str) -> str:
    """Return the value of a setting as it will be kept; raise ValueError, which never repeats a secret."""
    if key == API_KEY:
        return api_key(text)
    section, _, name = key.partition(".")
    try:
        settings = Settings.model_validate({section: {name: text}})
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
        raise ValueError(said.removeprefix("Value error, ").replace("Input should be", "must be")) from None
    return str(value_of(settings, key))


def as_toml(values: Mapping[str, str]) -> str:
    """Return a settings file with these values, by dotted name."""
    return "\n".join(_toml(values)) + "\n"


def as_environment(values: Mapping[str, str]) -> str:
    """Return a file of environment variables with these values, by dotted name."""
    return "".join(f"{variable(key)}={_quoted(value)}\n" for key, value in values.items())


def _quoted(value: str) -> str:
    """Return the value as docker compose reads it back."""
    if not re.search(r"[\s$#'\"\\`]", value):
        return value
    return f"'{value}'" if "'" not in value else json.dumps(value).replace("$", "\\$")


def _toml(values: Mapping[str, str]) -> Iterator[str]:
    yield "# The settings of stem-archiver. `stem-archiver config example` prints all there are."
    for section in SECTIONS:
        inside = {key: value for key, value in values.items() if key.startswith(f"{section}.")}
        if inside:
            yield f"\n[{section}]"
        for key, value in inside.items():
            yield f"{key.partition('.')[2]} = {json.dumps(value)}"
