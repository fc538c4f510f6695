"""The code, the catalogue and the runbook name the same events."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import archiver
from archiver.logs import EVENTS

ROOT = Path(archiver.__file__).parent
RUNBOOK = ROOT.parent / "deploy" / "RUNBOOK.md"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


class Module:
    """A source file and what it assigns to which name, anywhere in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.assigned: dict[str, list[ast.expr]] = defaultdict(list)
        for node in ast.walk(self.tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.assigned[name].append(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.assigned[name].append(value)

    def is_log_method(self, expression: ast.expr) -> bool:
        match expression:
            case ast.Attribute(attr=method, value=ast.Attribute(attr=name) | ast.Name(id=name)):
                return method in LEVELS and name.lstrip("_") == "log"
            case ast.IfExp(body=one, orelse=other):
                return self.is_log_method(one) or self.is_log_method(other)
            case ast.Name(id=name):
                return any(self.is_log_method(value) for value in self.assigned[name])
            case _:
                return False

    def names_in(self, expression: ast.expr) -> set[str]:
        """Return the texts that an event's name can be: literals, or what a variable or a table holds."""
        match expression:
            case ast.Constant(value=str(name)):
                return {name}
            case ast.IfExp(body=one, orelse=other):
                return self.names_in(one) | self.names_in(other)
            case ast.Name(id=name):
                return {text for value in self.assigned[name] for text in self.names_in(value)}
            case ast.Dict(values=values):
                return {text for value in values for text in self.names_in(value)}
            case ast.Subscript(value=table):
                return self.names_in(table)
            case _:
                return set()

    def events(self) -> Iterator[tuple[int, set[str]]]:
        """Yield the line of each call of the log, and the names it may log."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and self.is_log_method(node.func):
                yield node.lineno, self.names_in(node.args[0]) if node.args else set()


@cache
def modules() -> tuple[Module, ...]:
    return tuple(Module(path) for path in sorted(ROOT.rglob("*.py")))


def test_every_event_has_a_name_that_can_be_read_in_the_source() -> None:
    unnamed = [f"{module.path}:{line}" for module in modules() for line, names in module.events() if not names]
    assert unnamed == []


def test_events_of_the_code_are_those_of_the_catalogue() -> None:
    used = {name for module in modules() for _, names in module.events() for name in names}
    assert sorted(used - set(EVENTS)) == [], "in the code, not in logs.EVENTS"
    assert sorted(set(EVENTS) - used) == [], "in logs.EVENTS, not in the code"


def test_events_of_the_runbook_are_those_of_the_catalogue() -> None:
    table = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+) \|$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(table) == dict(EVENTS)
