"""Modules that are hidden from a library, and are there again afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from archiver.core.hiding import hidden

WITHOUT = """
import sys
import archiver.logs
found = sorted({"rich", "pygments", "attr", "greenlet"} & set(sys.modules))
import rich.console
print(found, rich.console.Console.__name__)
"""

OF_HTTPX = """
import sys
sys.argv[1:] = COMMAND
from archiver.__main__ import main
try:
    main()
except SystemExit as ended:
    print(ended.code, end=" ")
found = sorted({"pygments", "httpx", "httpx._main"} & {name for name, module in sys.modules.items() if module})
import click
print(found, click.__name__)
"""

OF_A_COMMAND = """
import sys, types
def main():
    import click
    print(click.__name__)
sys.modules["archiver.commands.app"] = types.SimpleNamespace(main=main)
sys.argv[1:] = ["run"]
import archiver.__main__
archiver.__main__.main()
"""


def test_hidden_module_is_not_found_meanwhile_and_is_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with hidden("colorsys"), pytest.raises(ModuleNotFoundError):
        __import__("colorsys")
    assert __import__("colorsys").__name__ == "colorsys"


def test_module_that_is_loaded_stays_in_sight() -> None:
    with hidden("json"):
        import json
    assert sys.modules["json"] is json


def test_log_loads_no_rich_and_leaves_it_to_others() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] Console\n"


@pytest.mark.parametrize("words", [["run"], ["get", "3e63b4cc88d52611159371f6af5571e7", "-o", "/dev/null/none"]])
def test_program_loads_no_command_line_of_httpx_and_leaves_click_to_others(words: list[str]) -> None:
    environ = os.environ | {
        "ARCHIVER_LEDGER__URL": "sqlite:////dev/null/ledger.db",
        "ARCHIVER_PROVIDER__API_KEY": "of-nobody",
        "ARCHIVER_STORE__BUCKET": "none",
    }
    command = [sys.executable, "-c", OF_HTTPX.replace("COMMAND", repr(words))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environ)
    assert done.stdout == f"{3 if words == ['run'] else 2} ['httpx'] click\n"


def test_command_line_may_load_click_which_older_typers_are_made_of() -> None:
    done = subprocess.run([sys.executable, "-c", OF_A_COMMAND], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "click\n"
