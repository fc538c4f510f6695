"""The sources of values: the file and the environment, and their faults before any value is judged."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic.fields import FieldInfo

from archiver.settings.key_file import KEYS_IN_FILES, OTHERS
from archiver.settings.model import FIELDS, KEYS, PREFIX, SECTIONS, Written, variable
from archiver.settings.secret_parts import passwords
from archiver.settings.units import shown

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
"""Names the settings file, when --config does not."""

SECRETS = ("provider.api_key", "callback.hmac_key", "notify.heartbeat_url", "notify.urls")
"""Settings that must not stand in a file that others can read."""


ACCOUNTS = "provider.accounts"


def _example(field: FieldInfo) -> str:
    value = field.examples[0] if field.examples else field.default
    written = next((mark for mark in field.metadata if isinstance(mark, Written)), None)
    if value is None:
        return ""
    return f"; for example: {json.dumps(value if written is None else written.show(value))}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One value as it was given."""

    value: object
    source: str
    """As in Loaded.sources."""
    folder: Path
    """The folder where relative paths start."""
    line: int | None = None


class Faults:
    """Collects what is wrong, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.keys: set[str] = set()

    def add(self, key: str, wrong: str, entry: Entry | None = None) -> None:
        """Note what is wrong with a setting, where it came from, and how a right one looks."""
        self.keys.add(key)
        place = "" if entry is None else f" ({entry.source}{f':{entry.line}' if entry.line else ''})"
        field = FIELDS.get(key)
        example = "" if field is None else _example(field)
        self.lines.append(f"{key}: {wrong}{place}{example}")

    def unknown(self, name: str, place: str, near: Sequence[str]) -> None:
        """Note that there is no such setting, and which were likely meant."""
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        self.lines.append(f"{shown(name)[1:-1]}: is no setting ({place}){hint}")


def from_file(path: Path, faults: Faults) -> dict[str, Entry]:
    """Return the file's values by dotted name."""
    try:
        with path.open("rb") as file:
            open_to_others = bool(os.fstat(file.fileno()).st_mode & OTHERS)
            text = file.read().decode("utf-8-sig")
        tree = tomllib.loads(text)
    except OSError as error:
        faults.lines.append(f"{path}: cannot be read: {error.strerror}")
        return {}
    except UnicodeDecodeError:
        faults.lines.append(f"{path}: is not UTF-8 text")
        return {}
    except tomllib.TOMLDecodeError as error:
        faults.lines.append(f"{path}: is not TOML: {error}")
        return {}
    entries = _flattened(tree, path, _lines_of(text), faults)
    secret = [name for name, entry in entries.items() if name in SECRETS or _holds_secret(name, entry)]
    for name in secret if open_to_others else ():
        faults.add(name, f"stands in a file that others can read; run: chmod 600 {path}", entries[name])
    return entries


def _holds_secret(name: str, entry: Entry) -> bool:
    if name == ACCOUNTS:
        return any("api_key" in table for table in tables_of(entry.value))
    return name == "ledger.url" and bool(passwords(str(entry.value)))


def tables_of(value: object) -> Sequence[Mapping[str, object]]:
    """Return the tables of an array of such, as far as it is one."""
    return [table for table in value if isinstance(table, dict)] if isinstance(value, list) else []


def _flattened(tree: Mapping[str, object], path: Path, lines: Mapping[str, int], faults: Faults) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    folder = path.absolute().parent
    for top, value in tree.items():
        if top in SECTIONS and not isinstance(value, dict):
            faults.lines.append(f"{top}: must be a table: [{top}] on a line, its settings below (file {path})")
            continue
        section = value if isinstance(value, dict) and top in SECTIONS else None
        inside = {top: value} if section is None else {f"{top}.{key}": inner for key, inner in section.items()}
        for key, given in inside.items():
            if key in FIELDS:
                entries[key] = Entry(given, f"file {path}", folder, lines.get(key))
            else:
                place = f"file {path}" + (f":{lines[key]}" if key in lines else "")
                faults.unknown(key, place, _near_keys(key))
    return entries


def _near_keys(name: str) -> Sequence[str]:
    leaf = name.rpartition(".")[2]
    namesakes = [key for key in KEYS if key.rpartition(".")[2] == leaf]
    return namesakes or difflib.get_close_matches(name, (*KEYS, *SECTIONS), n=1)


def _lines_of(text: str) -> dict[str, int]:
    """Map dotted keys to their line, for plain `[section]` and `key = value` lines; others are left out."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[?\[\s*([\w.-]+)\s*\]", line):
            section = f"{header[1]}."
            found.setdefault(header[1], number)
        elif assigned := re.match(r"\s*([\w.-]+)\s*=", line):
            found.setdefault(section + assigned[1], number)
    return found


def working_folder(environ: Mapping[str, str]) -> Path:
    """Return the working folder; where it was deleted, its name of before, as the shell left it in $PWD."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/", environ.get("PWD", ""))


def from_environ(environ: Mapping[str, str], faults: Faults) -> dict[str, Entry]:
    """Return the values of our environment variables by dotted name."""
    known = {variable(key): key for key in KEYS}
    entries: dict[str, Entry] = {}
    folder = working_folder(environ)
    for name, value in environ.items():
        if name in known:
            entries[known[name]] = Entry(value, f"env {name}", folder)
        elif name.startswith(PREFIX) and name != CONFIG_VARIABLE:
            faults.unknown(name, "environment", difflib.get_close_matches(name, (*known, CONFIG_VARIABLE), n=1))
    return entries


def merged(file: Mapping[str, Entry], environ: Mapping[str, Entry], faults: Faults) -> dict[str, Entry]:
    """Let the environment win; a key and its key file count as one setting, given in one way."""
    kept = dict(file)
    for key in KEYS_IN_FILES:
        both = (key.setting, key.file_setting)
        for layer in (file, environ):
            if all(_given(layer.get(name)) for name in both):
                faults.add(key.setting, f"and {key.file_setting} are both set; keep one", layer[key.setting])
        if any(_given(environ.get(name)) for name in both):
            kept = {name: entry for name, entry in kept.items() if name not in both}
    return kept | dict(environ)


def _given(entry: Entry | None) -> bool:
    return entry is not None and entry.value != ""


# --- from values to settings
