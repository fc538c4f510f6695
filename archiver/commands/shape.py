"""The shape of the command line: options that every command takes, and help that reads well."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from archiver.commands.invocation import Call

EVERYWHERE = ("config", "quiet", "verbose", "log_level", "no_color")
"""The options of `stem-archiver` itself that may stand behind the command, too."""

_EPILOG = "Before or after the command: -c FILE, -q, -v, --log-level LEVEL, --no-color; see stem-archiver --help."


class Command(TyperCommand):
    """A command whose help is made of paragraphs, and shows no types of Python."""

    def __init__(self, name: str | None, *, help: str | None = None, **attributes: Any) -> None:  # noqa: A002, ANN401 - as in the base
        super().__init__(name, help=paragraphs(help), **attributes | {"epilog": _EPILOG})

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]  # the base's type is private
        """Return the parameters, legible."""
        return legible(super().get_params(ctx), ctx)


class Group(TyperGroup):
    """A group of commands, as legible as they are."""

    def __init__(self, *, help: str | None = None, **attributes: Any) -> None:  # noqa: A002, ANN401 - as in the base
        super().__init__(help=paragraphs(help), **attributes)

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]  # the base's type is private
        """Return the parameters, legible."""
        return legible(super().get_params(ctx), ctx)


class CommandLine(Group):
    """The whole: it lends its options to every command and group below."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - as in the base
        super().__init__(**attributes)
        lent = [_lent(each) for each in self.params if each.name in EVERYWHERE]
        for command in below(self):
            command.params = [*command.params, *lent]


class _Argument(TyperArgument):
    def display_type_rich(self, ctx: typer.Context) -> str | None:  # type: ignore[override]  # the base's type is private
        """Return nothing: its name says what it is."""
        del ctx
        return None


def legible(params: Sequence[Any], ctx: typer.Context) -> list[Any]:
    """Return the parameters with what a person would write in the place of a type: nothing for a switch."""
    for each in params:
        if isinstance(each, TyperArgument):
            each.__class__ = _Argument
        elif isinstance(each, TyperOption) and each.metavar is None:
            each.metavar = "" if each.is_flag else each.display_type(ctx).strip("<>")
    return list(params)


def paragraphs(text: str | None) -> str | None:
    """Return the text with each paragraph on one line, so that a terminal breaks it where it is full."""
    if text is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def below(group: TyperGroup) -> Iterator[Any]:
    """Yield every group and command below, each once."""
    for command in group.commands.values():
        yield command
        if isinstance(command, TyperGroup):
            yield from below(command)


def _lent(option: Any) -> Any:  # noqa: ANN401 - the library's type is private
    """Return the option for a command: unseen in its help, and taken into the call."""
    lent = copy.copy(option)
    lent.hidden, lent.expose_value, lent.callback = True, False, _taken
    return lent


def _taken(context: typer.Context, option: Any, value: object) -> None:  # noqa: ANN401 - the library's type is private
    context.obj = context.obj or Call()  # there is none yet where a shell completes a line
    if value:
        context.obj.take(option.name, value)
