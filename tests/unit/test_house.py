"""The house keeps its shape: see archiver/README.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "archiver").rglob("*.py"))

LONG_FILES: dict[str, str] = {}
"""Files that may have more than 400 lines, each with its reason."""

LONG_FUNCTIONS = {
    "archiver/adapters/ledger/schema/migrations/versions/v0001_first.py:_create_tasks": "a table, one line a column",
}
"""Functions that may have more than 40 lines, each with its reason."""

PRIVATE_NAMES = {
    "archiver/service/schedule.py": "APScheduler's executor",
}
"""Files that may use a library's private name, and which."""

UNUSED_WORDS = {
    "barred": "blocked_accounts",
    "beat": "progress",
    "beating": "progress",
    "care": "supervision",
    "dismiss": "acknowledge",
    "ending": "backfill result",
    "hear": "alert, notify",
    "heard": "alert, notify",
    "hurried": "deadline-bound",
    "journey": "attempt",
    "persevere": "outage retry",
    "persevering": "outage retry",
    "post": "DispatchContext",
    "pulse": "liveness",
    "reaped": "lease expired",
    "roll": "backfill counts",
    "settle": "reconcile",
    "shift": "DispatchOptions",
    "shut": "is_blocked",
    "slot": "worker, permit, window",
    "slots": "worker, permit, window",
    "stopping": "shutdown",
    "tell": "alert, notify",
    "telling": "alert, notify",
    "together": "group commit",
    "told": "alert, notify",
    "twin": "duplicate",
    "twins": "duplicate",
}
"""Words that no name has a part of, and what is said instead: the glossary of archiver/README.md."""

NAMES_OF_OTHERS = {
    "__post_init__": "dataclasses",
    "do_POST": "http.server, of HTTP's POST",
    "stopping": "systemd: STOPPING=1",
    "pace_slots": "the ledger's table, named before",
    "BEAT": "of music, in the demo's song",
    "tell": "io: where a file stands",
}
"""Names that hold such a word in another meaning, and whose they are."""


@cache
def trees() -> Mapping[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in FILES}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}:{node.name}", node


@cache
def names() -> list[tuple[str, str]]:
    return [(f"{file}:{line} {name}", name) for file, tree in trees().items() for line, name in names_in(tree)]


def names_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that this file gives: of modules' members, arguments, variables and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case _:
                pass


def words_of(name: str) -> list[str]:
    return re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*", name)


def test_root_of_the_package_has_nothing_but_its_entry_and_the_logs() -> None:
    at_root = {path.name for path in FILES if path.parent == ROOT / "archiver"}
    assert at_root == {"__init__.py", "__main__.py", "logs.py"}


def test_file_has_400_lines_at_most() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 400} == {name: lines[name] for name in LONG_FILES}


def test_class_has_16_public_methods_at_most() -> None:
    wide = {}
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
                public = [each.name for each in methods if not each.name.startswith("_")]
                if len(public) > 16:
                    wide[f"{name}:{node.name}"] = len(public)
    assert wide == {}


def test_function_has_40_lines_at_most() -> None:
    long = {name for name, node in functions() if (node.end_lineno or 0) - node.lineno >= 40}
    assert long == set(LONG_FUNCTIONS)


def test_function_has_10_parameters_at_most_and_an_adapters_constructor_12() -> None:
    many = {}
    for name, node in functions():
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        count = sum(each.arg not in {"self", "cls"} for each in arguments)
        most = 12 if name.startswith("archiver/adapters/") and node.name == "__init__" else 10
        if count > most:
            many[name] = count
    assert many == {}


def test_private_name_of_a_library_stands_only_where_there_is_no_public_one() -> None:
    using = {
        str(path.relative_to(ROOT))
        for path in FILES
        if re.search(
            r"noqa:[^#\n]*\b(SLF001|PLC2701)|^\s*from (?!archiver)[\w.]+ import .*\b_\w",
            path.read_text("utf-8"),
            re.MULTILINE,
        )
    }
    assert using == set(PRIVATE_NAMES)


@pytest.mark.parametrize("word", sorted(UNUSED_WORDS))
def test_no_name_has_a_word_that_the_glossary_gives_up(word: str) -> None:
    found = [
        place
        for place, name in names()
        if name not in NAMES_OF_OTHERS and word in [part.lower() for part in words_of(name)]
    ]
    assert not found, f"say {UNUSED_WORDS[word]}"


def test_docstrings_begin_with_the_thing_or_the_verb_and_not_with_a_question() -> None:
    question = re.compile(r'^\s*"""(?:What|Whether)\b.*$', re.MULTILINE)
    texts = {str(file.relative_to(ROOT)): file.read_text() for file in FILES}
    assert [(name, line[0].strip()) for name, text in texts.items() for line in question.finditer(text)] == []
