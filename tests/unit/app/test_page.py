"""The page, as it waits for somebody to look."""

from __future__ import annotations

import subprocess
import sys

from tests import ROOT

IDLE = """
import sys
import archiver.commands.app, archiver.app.page
print({"starlette", "jinja2", "archiver.web.page.application"} & set(sys.modules))
"""


def test_page_that_nobody_asked_yet_has_loaded_none_of_its_views() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IDLE], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    assert done.stdout == "set()\n"
