"""The shape of the command line: options that every command takes, and help that reads well."""

from __future__ import annotations

import copy
import difflib
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


LIKENESS = 0.75
"""The least that what was typed has in common with a command for that to be suggested: `ack` is none for `backup`."""


class Group(TyperGroup):
    """A group of commands, as legible as they are."""

    def __init__(self, *, help: str | None = None, **attributes: Any) -> None:  # noqa: A002, ANN401 - as in the base
        super().__init__(help=paragraphs(help), **attributes | {"suggest_commands": False})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - the types of the base are private
        """Find the command; where there is none, suggest those that are much like it, else such of the groups below."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None and (like := self._like(args[0])):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {', '.join(map(repr, like))}?")
        return super().resolve_command(ctx, args)

    def _like(self, typed: str) -> list[str]:
        if here := difflib.get_close_matches(typed, self.commands, cutoff=LIKENESS):
            return here
        below = {path: path.rpartition(" ")[2] for path in _paths(self)}
        words = difflib.get_close_matches(typed, set(below.values()), cutoff=LIKENESS)
        return [path for each in words for path, word in below.items() if word == each]

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


def _paths(group: TyperGroup) -> Iterator[str]:
    """Yield the words of every command and group below, as they are typed."""
    for name, command in group.commands.items():
        yield name
        if isinstance(command, TyperGroup):
            yield from (f"{name} {path}" for path in _paths(command))


def _lent(option: Any) -> Any:  # noqa: ANN401 - the library's type is private
    """Return the option for a command: unseen in its help, and taken into the call."""
    lent = copy.copy(option)
    lent.hidden, lent.expose_value, lent.callback = True, False, _taken
    return lent


def _taken(context: typer.Context, option: Any, value: object) -> None:  # noqa: ANN401 - the library's type is private
    context.obj = context.obj or Call()  # there is none yet where a shell completes a line
    if value:
        context.obj.take(option.name, value)
