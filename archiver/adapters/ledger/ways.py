"""Ways: the tasks of a listing in its order, along an index, with whether each is what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    Subquery,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    type_coerce,
    union_all,
)

from archiver.adapters.ledger.attention import Near, each_need
from archiver.adapters.ledger.claimable import OPEN
from archiver.adapters.ledger.listing import conditions
from archiver.adapters.ledger.schema.tables import NOT_ARCHIVED, UNTRIMMED, stems, tasks
from archiver.adapters.ledger.schema.titles import WORDS, title_words, titles
from archiver.core.clocks import microseconds
from archiver.core.listing import ANY, Span, TaskFilter, TaskOrder, TaskPlace
from archiver.core.model import DEFAULT_ACCOUNT
from archiver.core.states import ENDED_WITH_AUDIO, OPEN_TASK_STATES, TaskState

NARROW = 2_000
"""Tasks that are sorted, where an index finds them that knows no order."""

Condition = ColumnElement[bool]
_ALWAYS = Span()


class Met(NamedTuple):
    """A task on the way."""

    key: int
    task_id: str


@dataclass(frozen=True, slots=True)
class _Part:
    """Tasks that one index has in the order of `key`."""

    source: FromClause
    key: ColumnElement[int]
    task_id: ColumnElement[str]
    of: tuple[Condition, ...]
    span: Span = _ALWAYS
    """Of the key."""
    is_unique: bool = False
    """True where no two have the same key."""


@dataclass(frozen=True, slots=True)
class Way:
    """Parts that are gone along together."""

    parts: Sequence[_Part]
    rises: bool
    fits: Condition | None
    """The condition that is asked of a task beside what the indexes know."""

    def next(self, db: Connection, behind: TaskPlace | None, most: int, wanted: int) -> Sequence[Met]:
        """Return at most `wanted` of the next `most` tasks: those that fit."""
        found, key, task_id = self._fitting(behind, most)
        rows = db.execute(found.order_by(*self._in_order(key, task_id)).limit(wanted))
        return [Met(key, task_id) for key, task_id in rows]

    def end(self, db: Connection, behind: TaskPlace | None, most: int) -> Met | None:
        """Return the last of the next `most` tasks, whether it fits or not; None where there are fewer."""
        keys = self._keys(behind, most)
        in_order = select(keys).order_by(*self._in_order(keys.c.key, keys.c.task_id))
        last = db.execute(in_order.limit(1).offset(most - 1)).first()
        return None if last is None else Met(*last)

    def count(self, db: Connection, most: int) -> tuple[int, bool]:
        """Return how many of the first `most` tasks fit, and whether these are all."""
        found, _, _ = self._fitting(None, most)
        number = db.scalar(select(func.count()).select_from(found.subquery())) or 0
        return number, (self.fits is None and number < most) or self.end(db, None, most + 1) is None

    def _fitting(
        self, behind: TaskPlace | None, most: int
    ) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any]]:
        keys = self._keys(behind, most)
        if self.fits is None:
            return select(keys.c.key, keys.c.task_id), keys.c.key, keys.c.task_id
        # In their order and so many, before any is looked at.
        first = select(keys).order_by(*self._in_order(keys.c.key, keys.c.task_id)).limit(most).subquery()
        found = select(first.c.key, first.c.task_id).join(tasks, tasks.c.task_id == first.c.task_id).where(self.fits)
        return found, first.c.key, first.c.task_id

    def _in_order(self, *by: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column if self.rises else column.desc() for column in by]

    def _keys(self, behind: TaskPlace | None, most: int) -> Subquery:
        each = [self._keys_of(part, behind, most).subquery() for part in self.parts]
        return union_all(*(select(one) for one in each)).subquery()

    def _keys_of(self, part: _Part, behind: TaskPlace | None, most: int) -> Select[Any]:
        both = (part.key,) if part.is_unique else (part.key, part.task_id)
        columns = part.key.label("key"), part.task_id.label("task_id")
        within = (*part.of, *self._within(part, behind, both))
        found: Select[Any] = select(*columns).select_from(part.source).where(*within)  # type: ignore[assignment]  # Any is for both
        return found.order_by(*self._in_order(*both)).limit(most)

    def _within(
        self, part: _Part, behind: TaskPlace | None, both: tuple[ColumnElement[Any], ...]
    ) -> Iterator[Condition]:
        """Give the bounds of what is gone along: one where it begins, or SQLite takes the wider one of two."""
        since, until = (None if each is None else microseconds(each) for each in (part.span.since, part.span.until))
        if behind is not None:
            here = tuple_(*(literal(behind.key, BigInteger), literal(behind.task_id, String))[: len(both)])
            if self.rises and (since is None or since <= behind.key):
                since = None
                yield tuple_(*both) > here
            elif not self.rises and (until is None or until > behind.key):
                until = None
                yield tuple_(*both) < here
        if since is not None:
            yield part.key >= since
        if until is not None:
            yield part.key < until


def way_of(
    db: Connection, wanted: TaskFilter, order: TaskOrder, near: Near, *, back: bool, narrow: int = NARROW
) -> Way:
    """Return the way along the index that knows most of what is asked for; `back` is against the order."""
    rises = (order is TaskOrder.DEADLINE and not wanted.words) is not back
    if wanted.words and db.dialect.name == "sqlite":
        asked = _asked(db, wanted, near)
        return Way([_of_words(wanted.words)], rises=back, fits=_all([*asked, *_of_states(wanted)]))
    order = TaskOrder.NEWEST if wanted.words else order
    if (few := _few(db, wanted, near, narrow)) is not None:
        rest = replace(wanted, needs_person=False)  # these do
        return Way([_of_few(few, wanted, order, _asked(db, rest, near))], rises=rises, fits=None)
    its_span = {TaskOrder.NEWEST: "accepted", TaskOrder.DEADLINE: "deadline", TaskOrder.ENDED: "ended"}.get(order)
    rest = wanted if its_span is None else replace(wanted, **{its_span: _ALWAYS})  # type: ignore[arg-type]  # a span each
    if order is TaskOrder.NEWEST and wanted.account not in {None, DEFAULT_ACCOUNT}:
        part = _part(tasks.c.accepted_at, tasks.c.account == wanted.account, span=wanted.accepted)
        asked = _asked(db, replace(rest, account=None), near)
        return Way([part], rises=rises, fits=_all([*asked, *_of_states(wanted)]))
    return Way(_parts(wanted, order), rises=rises, fits=_all(_asked(db, rest, near)))


def _all(asked: Sequence[Condition]) -> Condition | None:
    return and_(*asked) if asked else None


def _of_states(wanted: TaskFilter) -> list[Condition]:
    return [] if set(wanted.states) == set(TaskState) else [tasks.c.state.in_(wanted.states)]


def _part(key: ColumnElement[Any], *of: Condition, span: Span = _ALWAYS) -> _Part:
    # As the integer that it is in the database.
    return _Part(tasks, type_coerce(key, BigInteger), tasks.c.task_id, of, span)


_SIZED = tasks.c.bytes_stored.is_not(None)
_NOTHING = [_part(tasks.c.accepted_at, false())]


def _parts(wanted: TaskFilter, order: TaskOrder) -> list[_Part]:
    """Return the parts of an order, a state after the other: each is a range of an index."""
    its = tasks.c
    states = [state for state in TaskState if state in wanted.states]
    if wanted.needs_person:
        states = [state for state in states if state is not TaskState.ARCHIVED]
    if order is TaskOrder.NEWEST:
        return [_part(its.accepted_at, its.state == state, span=wanted.accepted) for state in states] or _NOTHING
    if order is TaskOrder.DEADLINE:
        open_ones = [state for state in states if state in OPEN_TASK_STATES]
        few = [] if len(open_ones) == len(OPEN_TASK_STATES) else [its.state.in_(open_ones)]
        with_one = (OPEN, its.deadline.is_not(None), *few)
        return [_part(its.deadline, *with_one, span=wanted.deadline)] if open_ones else _NOTHING
    if order is TaskOrder.SIZE:
        with_audio = [state for state in states if state in ENDED_WITH_AUDIO]
        return [_part(its.bytes_stored, its.state == state, _SIZED) for state in with_audio] or _NOTHING
    ended = [state for state in states if state not in OPEN_TASK_STATES]
    of = {state: UNTRIMMED if state is TaskState.ARCHIVED else NOT_ARCHIVED for state in ended}
    over = its.ended_at.is_not(None)
    return [_part(its.ended_at, of[state], its.state == state, over, span=wanted.ended) for state in ended] or _NOTHING


def _of_words(words: Sequence[str]) -> _Part:
    phrase = " ".join(f'"{word.rstrip(ANY)}"{ANY if word.endswith(ANY) else ""}' for word in words)
    both = title_words.join(titles, titles.c.number == title_words.c.rowid)
    matches = text("title_words MATCH :phrase").bindparams(bindparam("phrase", phrase, unique=True))
    key, task_id = type_coerce(title_words.c.rowid, BigInteger), type_coerce(titles.c.task_id, String)
    return _Part(both, key, task_id, (matches,), is_unique=True)  # type: ignore[arg-type]  # a text is a condition


def _of_few(ids: Sequence[str], wanted: TaskFilter, order: TaskOrder, asked: Sequence[Condition]) -> _Part:
    """Return the few tasks all together, which are sorted."""
    its = tasks.c
    # With a limit, else a database may look for them along the order.
    few = select(its.task_id).where(its.task_id.in_(ids)).limit(len(ids)).subquery()
    key, of = {
        TaskOrder.NEWEST: (its.accepted_at, true()),
        TaskOrder.DEADLINE: (its.deadline, and_(OPEN, its.deadline.is_not(None))),
        TaskOrder.ENDED: (its.ended_at, and_(its.ended_at.is_not(None), its.folder_digest.is_(None))),
        TaskOrder.SIZE: (its.bytes_stored, _SIZED),
    }[order]
    source = few.join(tasks, its.task_id == few.c.task_id)
    return _Part(source, type_coerce(key, BigInteger), its.task_id, (of, *_of_states(wanted), *asked))


def _asked(db: Connection, wanted: TaskFilter, near: Near) -> list[Condition]:
    """Return what is asked of a task beside its state."""
    its = tasks.c
    found = conditions(wanted, near)
    if wanted.source:
        found.append(its.source == wanted.source)
    if wanted.stem:
        found.append(exists().where(stems.c.task_id == its.task_id, stems.c.name == wanted.stem))
    if wanted.needs_person:
        found.append(or_(*each_need(near)))
    if wanted.prefix:
        found.append(_begins(db, wanted.prefix))
    if wanted.words and db.dialect.name != "sqlite":
        found.append(_has_words(wanted.words))
    for column, span in (
        (its.accepted_at, wanted.accepted),
        (its.created_at, wanted.created),
        (its.deadline, wanted.deadline),
        (its.ended_at, wanted.ended),
    ):
        found += _within(column, span)
    return found


def _within(column: ColumnElement[Any], span: Span) -> list[Condition]:
    found = [] if span.since is None else [column >= span.since]
    return found if span.until is None else [*found, column < span.until]


def _begins(db: Connection, prefix: str) -> Condition:
    """Return the condition that an id begins so, by its bytes: as the index of either database sorts them."""
    if db.dialect.name == "sqlite":
        return and_(tasks.c.task_id >= prefix, tasks.c.task_id < prefix + chr(0x10FFFF))
    behind = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return and_(tasks.c.task_id.op("~>=~")(prefix), tasks.c.task_id.op("~<~")(behind))


def _has_words(words: Sequence[str]) -> Condition:
    query = " & ".join(f"'{word.rstrip(ANY)}'{':*' if word.endswith(ANY) else ''}" for word in words)
    matches = text(f"{WORDS} @@ to_tsquery('simple', :phrase)").bindparams(bindparam("phrase", query, unique=True))
    return and_(tasks.c.title.is_not(None), matches)


def _few(db: Connection, wanted: TaskFilter, near: Near, narrow: int) -> Sequence[str] | None:
    """Return the tasks that an index without an order finds; None where those are many, or none does."""
    if wanted.needs_person:
        groups = [select(tasks.c.task_id).where(group).limit(narrow + 1).subquery() for group in each_need(near)]
        # No task is in two; so it ends with the first that has as many.
        found = select(union_all(*(select(group) for group in groups)).subquery())
    elif wanted.prefix:
        found = select(tasks.c.task_id).where(_begins(db, wanted.prefix))
    elif wanted.words:
        found = select(tasks.c.task_id).where(_has_words(wanted.words))
    else:
        return None
    ids = db.execute(found.limit(narrow + 1)).scalars().all()
    return None if len(ids) > narrow else ids
