"""`demo`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from archiver.commands.invocation import Exit, at_work, fail, terminal


def demo(
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Where to leave the archived files.")
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="End with the page open on it, until Ctrl-C.")] = False,
) -> None:
    """Do the main job for real on embedded parts: an emulated provider and a real S3 server, on loopback.

    It takes about a quarter of a minute. One of its tasks is made to fail, to show how that looks.
    Nothing stays but by --keep.

    With --page it ends with the page open on what was archived, and prints its address; needs the extra `page`, too.

    Exit codes: 0 it worked; 1 it did not; 2 the extra `demo`, or `page`, is not installed.

    Example: stem-archiver demo --keep stems
    """
    try:
        from archiver.demo.show import run_demo
    except ImportError as missing:
        fail(f"the demo needs {missing.name}", Exit.USAGE, "install it with: pip install 'stem-archiver[demo]'")
    if page and find_spec("starlette") is None:
        fail("the page needs starlette", Exit.USAGE, "install it with: pip install 'stem-archiver[demo,page]'")
    at_work()
    raise typer.Exit(run_demo(terminal(), keep=keep, page=page))
