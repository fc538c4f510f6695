"""Frozen settings from defaults, one TOML file, the environment and credential files.

The environment wins over the file, the file over the defaults. All faults are raised at once, in
one SettingsFault, and no fault ever repeats the value of a secret.
"""

from archiver.settings.loading import SEARCH, Loaded, data_folder, load
from archiver.settings.model import KEYS, Settings, value_of, variable
from archiver.settings.shown import Row, masked
from archiver.settings.units import (
    parse_bandwidth,
    parse_duration,
    parse_rate,
    parse_size,
    show_bandwidth,
    show_duration,
    show_size,
)

__all__ = [
    "KEYS",
    "SEARCH",
    "Loaded",
    "Row",
    "Settings",
    "data_folder",
    "load",
    "masked",
    "parse_bandwidth",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "show_bandwidth",
    "show_duration",
    "show_size",
    "value_of",
    "variable",
]
