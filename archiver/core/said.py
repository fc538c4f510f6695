"""Words of a queue line beside the id: of which kind the task is, what it is called, what it was made from. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from archiver.core.model import ACCOUNT_RULE, TASK_ID_RULE, AccountName, TaskId, account_name, task_id
from archiver.core.records.kinds.names import KindName

AUTOMATIC = "auto"
"""Said for a kind that is to be found out."""

TITLE_LENGTH = 200
"""Characters of the longest title that is kept."""

KINDS = ", ".join((AUTOMATIC, *KindName))
_AGAIN = "append the line again with the right one"
NO_ACCOUNT = f"the account it names can be none (expected {ACCOUNT_RULE}); {_AGAIN}"
NO_KIND = f"the kind it names is none (there are: {KINDS}); append the line again with one of these, or without kind="
NO_PARENT = f"the parent it names is no other task's id (expected {TASK_ID_RULE}); {_AGAIN}, or without parent="


class Said(NamedTuple):
    """Words of a line, or a command, about a task."""

    kind: KindName | None = None
    """None where it is to be found out."""
    title: str = ""
    parent: TaskId | None = None

    def and_then(self, later: Said) -> Said:
        """Return this and what was said later: the first kind stays, and the last of all else."""
        return Said(self.kind or later.kind, later.title or self.title, later.parent or self.parent)

    def or_else(self, other: Said) -> Said:
        """Return this, and of `other` what this leaves open."""
        return Said(self.kind or other.kind, self.title or other.title, self.parent or other.parent)


UNSAID = Said()


def kind_named(text: object) -> KindName | None:
    """Return the kind of that name, None for `auto`; raise ValueError, without echoing it, where there is none."""
    name = text.lower() if isinstance(text, str) else ""
    if name == AUTOMATIC:
        return None
    try:
        return KindName(name)
    except ValueError:
        raise ValueError(NO_KIND) from None


def title_of(text: object) -> str:
    """Return `text` as a title: one line of characters that are seen, at most TITLE_LENGTH; empty for what is no text.

    Controls, marks of direction and halves of characters are left out; blanks of any width are one space.
    """
    if not isinstance(text, str):
        return ""
    blanks = " ".join(text[: 16 * TITLE_LENGTH].split())
    seen = "".join(each for each in blanks if each in _JOINERS or not unicodedata.category(each).startswith("C"))
    return seen[:TITLE_LENGTH].strip()


_JOINERS = "\u200c\u200d"


def account_named(name: object) -> AccountName:
    """Return the account of that name; raise ValueError, without echoing it, when it cannot be one."""
    try:
        return account_name(name)
    except ValueError:
        raise ValueError(NO_ACCOUNT) from None


def said_in(words: Mapping[str, object], of: TaskId | None = None) -> Said:
    """Return what the words `kind`, `title` and `parent` say, those that are None as if they were not there.

    Raises ValueError, without echoing anything of it, for a kind or a parent that can be none, or is the task itself.
    """
    kind, parent = words.get("kind"), words.get("parent")
    return Said(
        None if kind is None else kind_named(kind),
        title_of(words.get("title")),
        None if parent is None else _parent(parent, of),
    )


def _parent(text: object, of: TaskId | None) -> TaskId:
    try:
        parent = task_id(text) if isinstance(text, str) else None
    except ValueError:
        parent = None
    if parent is None or parent == of:
        raise ValueError(NO_PARENT)
    return parent


# ---------------------------------------------------------------------- on a line

BEGINS = re.compile(r"(?<=\S)\s+(?:#|(?:account|kind|title|parent)=)")
"""Where the words, or a comment, begin behind the id."""
_WORD = re.compile(r'\s+(account|kind|title|parent)=(?:"((?:[^"\\]|\\.)*+)"(?!\S)|(\S*+))', re.DOTALL)
_END = re.compile(r"\s+#|\s*\Z")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def words_in(text: str) -> Mapping[str, str]:
    """Return the words `name=value` of the end of a line, in any order and each once, up to a comment.

    A value with blanks stands in double quotes, in which a backslash lets the next character stand for itself.
    Raises ValueError, without echoing anything of it, where something else stands among them.
    """
    words: dict[str, str] = {}
    name, at = "", 0
    while not _END.match(text, at):
        word = _WORD.match(text, at)
        if word is None or word[1] in words or (word[3] or "").startswith('"'):
            raise ValueError(_astray(word[1] if word is not None else name, word is not None and word[1] in words))
        name, at = word[1], word.end()
        words[name] = word[3] if word[2] is None else _ESCAPED.sub(r"\1", word[2])
    return words


def _astray(name: str, twice: bool) -> str:
    """Return what is wrong behind, or with, the word of that name."""
    if name == "account":
        return NO_ACCOUNT
    if twice:
        return f"it says {name}= twice; {_AGAIN}"
    return f'what follows {name}= is not one word; a value with blanks stands in quotes: {name}="..."'


def line_of(named: TaskId, account: AccountName | None, said: Said) -> str:
    """Return the line that names the task, and says all this of it."""
    words = [str(named)]
    words += [] if account is None else [f"account={account}"]
    words += [] if said.kind is None else [f"kind={said.kind.value}"]
    if said.title:
        escaped = said.title.replace("\\", "\\\\").replace('"', '\\"')
        words.append(f'title="{escaped}"')
    words += [] if said.parent is None else [f"parent={said.parent}"]
    return " ".join(words)
