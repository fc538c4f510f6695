"""`man`: the manual page, made of what --help shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from archiver import __version__


def man(context: typer.Context) -> None:
    """Print the manual page of the whole program, as `man -l -` reads it.

    Exit codes: 0 printed.

    Example: stem-archiver man
    """
    for line in page(context.find_root()):
        typer.echo(line)


def page(context: Any) -> Iterator[str]:  # noqa: ANN401 - the library's type is private
    """Yield the lines of the page, in roff, of the command of this context and all below it."""
    yield f'.TH STEM-ARCHIVER 1 "" "stem-archiver {__version__}"'
    yield ".SH NAME"
    yield "stem\\-archiver \\- archive the stems of an AI music provider into S3"
    yield ".SH SYNOPSIS"
    yield "\\fBstem\\-archiver\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]..."
    yield ".SH DESCRIPTION"
    yield from _paragraphs(context.command.help)
    yield ".SH OPTIONS"
    yield from _options(context)
    yield ".SH COMMANDS"
    yield from _commands(context, context.command)


def _commands(above: Any, group: Any, *path: str) -> Iterator[str]:  # noqa: ANN401 - as above
    for name, command in group.commands.items():
        words = (*path, name)
        if hasattr(command, "commands"):
            yield from _commands(above, command, *words)
            continue
        context = typer.Context(command, info_name=" ".join(words), parent=above)
        called, pieces = _safe(" ".join(words)), _safe(" ".join(command.collect_usage_pieces(context)))
        yield f".SS {called}"
        yield f"\\fBstem\\-archiver {called}\\fR {pieces}"
        yield from _paragraphs(command.help)
        yield from _options(context)


def _options(context: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    for option in context.command.get_params(context):
        record = None if getattr(option, "hidden", False) else option.get_help_record(context)
        if record is not None:
            yield ".TP"
            yield f"\\fB{_safe(record[0].strip())}\\fR"
            yield _safe(record[1]) or "\\&"


def _paragraphs(text: str | None) -> Iterator[str]:
    for part in (text or "").split("\n\n"):
        yield ".PP"
        yield _safe(" ".join(part.split()))


def _safe(text: str) -> str:
    """Return the text as roff prints it: no escape, no request at its beginning."""
    escaped = re.sub(r"\s+", " ", text).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
