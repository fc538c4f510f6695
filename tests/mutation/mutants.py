"""Which mutants there are: cosmic-ray's operators and two of our own, less what the rules leave out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.exception_replacer import ExceptionReplacer
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Keyword
from parso.tree import NodeOrLeaf as Node

Span = tuple[tuple[int, int], tuple[int, int]]

SAME = ("Is_Eq", "IsNot_NotEq")
"""Operators that change nothing for None, True, False and the members of an enum, which alone are compared so."""
LOG_METHODS = {"debug", "info", "warning", "error", "exception"}


class RemoveCall(Operator):  # type: ignore[misc] # cosmic-ray has no types
    """Replaces a statement that is only a call by `pass`."""

    def mutation_positions(self, node: Node) -> Iterator[Span]:
        """See Operator."""
        if node.type == "simple_stmt" and node.children[0].type == "atom_expr":
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Node, index: int) -> Node:
        """See Operator."""
        node.children[0] = _stand_in("pass", node.children[0])
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """See Operator."""
        return ()


class CatchNothing(Operator):  # type: ignore[misc] # cosmic-ray has no types
    """Takes an exception out of an `except`; cosmic-ray's own operator cannot do so with dotted names."""

    def mutation_positions(self, node: Node) -> Iterator[Span]:
        """See Operator."""
        for holder, at in self._caught(node):
            yield holder.children[at].start_pos, holder.children[at].end_pos

    def mutate(self, node: Node, index: int) -> Node:
        """See Operator."""
        holder, at = self._caught(node)[index]
        holder.children[at] = _stand_in("()", holder.children[at])
        return node

    @staticmethod
    def _caught(node: Node) -> list[tuple[Node, int]]:
        if node.type != "except_clause":
            return []
        inside = node.children[1].children[1] if node.children[1].type == "atom" else None
        if inside is None or inside.type != "testlist_comp":
            return [(node, 1)]
        return [(inside, at) for at, name in enumerate(inside.children) if name.type != "operator"]

    @classmethod
    def examples(cls) -> tuple[()]:
        """See Operator."""
        return ()


def _stand_in(code: str, node: Node) -> Node:
    return Keyword(code, node.start_pos, prefix=node.get_first_leaf().prefix)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one file."""

    path: Path
    """From the root of the checkout."""
    line: int
    name: str
    operator: Operator
    occurrence: int

    def applied(self, source: str) -> str:
        """Return the file's text with the change."""
        code: str = mutate_code(source, self.operator, self.occurrence)
        return code

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.name}"


def mutants_of(root: Path, path: Path, choose: random.Random) -> list[Mutant]:
    """Return one mutant for each place and kind of change in a file; `choose` picks it from its like.

    Ten ways to spoil one `+` are one mutant here: they live and die together, and would drown the others.
    """
    tree = get_ast((root / path).read_text(encoding="utf-8"))
    places: dict[tuple[tuple[int, int], str], list[Mutant]] = {}
    for name, operator in _operators():
        spots = (start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(spots):
            leaf = tree.get_leaf_for_position((start[0], start[1] + 1))  # at its very start: the leaf before it
            if not _left_out(leaf, name):
                alike = places.setdefault((start, name.partition("_")[0]), [])
                alike.append(Mutant(path, start[0], name, operator, occurrence))
    return [choose.choice(alike) for _, alike in sorted(places.items())]


def _operators() -> Iterator[tuple[str, Operator]]:
    for name in operator_names():
        operator = get_operator(name)
        if not operator.arguments() and operator is not ExceptionReplacer and not name.endswith(SAME):
            yield name.removeprefix("core/"), operator()
    for own in (RemoveCall, CatchNothing):
        yield own.__name__, own()


# ---------------------------------------------------------------------- the rules; README.md says why


def _left_out(leaf: Node, operator: str) -> bool:
    line = [leaf]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    return any(_is_out(node, line[at - 1] if at else None, line, operator) for at, node in enumerate(line))


def _is_out(node: Node, child: Node | None, line: list[Node], operator: str) -> bool:
    """Say whether `node`, which holds the place by way of `child`, puts it under a rule."""
    match node.type:
        case "tfpdef" | "annassign":
            return bool(child is node.children[1])
        case "funcdef":
            return bool(child is node.annotation)
        case "fstring":
            return True
        case "decorator":
            return child is not None and child.type != "operator"
        case "param":
            return bool(child is node.default) and operator == "NumberReplacer"
        case "if_stmt":
            return bool(node.children[1].get_code(include_prefix=False) == "TYPE_CHECKING")
        case "atom_expr":
            return _is_log_call(node) or node.get_first_leaf().value == "assert_never"
        case "expr_stmt" if operator.startswith(("ReplaceBinaryOperator_BitOr", "NumberReplacer")):
            return _is_constant(node, line)
    return False


def _is_log_call(node: Node) -> bool:
    words = node.get_code(include_prefix=False).partition("(")[0].split(".")
    return words == ["report"] or (len(words) > 1 and words[-2].lstrip("_") == "log" and words[-1] in LOG_METHODS)


def _is_constant(node: Node, line: list[Node]) -> bool:
    """Say whether a statement outside all functions gives a name nothing but figures, or a union of types."""
    if any(outer.type in {"funcdef", "lambdef"} for outer in line):
        return False
    leaves = [leaf for leaf in ast_nodes(node.children[-1]) if not hasattr(leaf, "children")]
    return all(leaf.type in {"number", "operator", "name", "keyword"} for leaf in leaves)
