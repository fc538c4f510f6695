"""The address of the tasks view: what its query asks for, read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from archiver.core.listing import PREFIX_MIN, Span, TaskFilter, TaskOrder, TaskPlace, words_of
from archiver.core.model import AccountName
from archiver.core.states import TaskState

Pairs = Sequence[tuple[str, str]]

PATH = "/tasks"
SPANS = ("accepted", "created", "deadline", "ended")
"""The names of the spans of time; in an address `NAME_from` and `NAME_to`, each a day (included) or a minute."""

_TEXT_MAX = 200
_LAST_YEAR = 9000
_TO_THE_MINUTE = "%Y-%m-%dT%H:%M"
_FIELDS = ("state", "needs", "title", "id", "account", "source", "stem", "order")
_IN_SIGHT = frozenset({"state", "needs", "title", "id", "order"})
_BY_SPAN = {"deadline": TaskOrder.DEADLINE, "ended": TaskOrder.ENDED}


@dataclass(frozen=True, slots=True)
class Asked:
    """A view of the tasks."""

    wanted: TaskFilter
    order: TaskOrder
    start: TaskPlace | None
    back: bool
    fields: Pairs
    """All that the form has, as it was typed; no place."""
    faults: Sequence[str] = field(default_factory=list)
    """The values that were left out, and why."""

    def of(self, name: str) -> str:
        """Return what was typed into a field."""
        return next((value for key, value in self.fields if key == name), "")

    @property
    def query(self) -> str:
        """The query of this view's address, without a place."""
        return urlencode(self.fields)

    @property
    def has_more(self) -> bool:
        """True where a filter is used that is not in plain sight."""
        return any(name not in _IN_SIGHT for name, _ in self.fields)

    def path(self, start: TaskPlace | None = None, *, back: bool = False, suffix: str = "") -> str:
        """Return the address of this view at another place, or as a file of that suffix."""
        place = [] if start is None else [("before" if back else "after", str(start))]
        query = urlencode([*self.fields, *place])
        return f"{PATH}{suffix}?{query}" if query else f"{PATH}{suffix}"


def asked_in(pairs: Pairs) -> Asked:
    """Read a query; what is no such value is left out, and said."""
    faults: list[str] = []
    names = {*_FIELDS, *(f"{name}_{end}" for name in SPANS for end in ("from", "to"))}
    fields = [(name, value.strip()[:_TEXT_MAX]) for name, value in pairs if name in names and value.strip()]
    fields = [each for each in fields if _is_shown(*each, faults)]
    first = dict(reversed(fields))
    spans = {name: _span(name, first) for name in SPANS}
    wanted = TaskFilter(
        states=_states([value for name, value in fields if name == "state"], faults),
        needs_person="needs" in first,
        account=AccountName(first["account"]) if "account" in first else None,
        source=first.get("source", ""),
        stem=first.get("stem", ""),
        prefix=_prefix(first.get("id", ""), faults),
        words=words_of(first.get("title", "")),
        accepted=spans["accepted"],
        created=spans["created"],
        deadline=spans["deadline"],
        ended=spans["ended"],
    )
    order = _order(first.get("order", ""), spans, faults)
    places = {name: value for name, value in pairs if name in {"after", "before"}}
    back = "before" in places
    return Asked(wanted, order, _place(places.get("before" if back else "after"), faults), back, fields, faults)


def _states(words: Sequence[str], faults: list[str]) -> tuple[TaskState, ...]:
    known = [state for state in TaskState if state.value in words]
    faults += [f"there is no state {word!a}" for word in words if word not in list(TaskState)]
    return tuple(known) or tuple(TaskState)


def _prefix(text: str, faults: list[str]) -> str:
    if text and (len(text) < PREFIX_MIN or not text.isascii() or not text.isprintable()):
        faults.append(f"an id is looked for by its first {PREFIX_MIN} characters, or more")
        return ""
    return text


def _order(word: str, spans: dict[str, Span], faults: list[str]) -> TaskOrder:
    if not word:
        return next((order for name, order in _BY_SPAN.items() if spans[name]), TaskOrder.NEWEST)
    try:
        return TaskOrder(word)
    except ValueError:
        faults.append(f"there is no order {word!a}")
        return TaskOrder.NEWEST


def due_by(moment: datetime) -> str:
    """Return the address of the open tasks whose deadline is then or before, the nearest first."""
    until = (moment + timedelta(minutes=1)).astimezone(UTC).strftime(_TO_THE_MINUTE)
    return f"{PATH}?{urlencode({'order': TaskOrder.DEADLINE.value, 'deadline_to': until})}"


def _span(name: str, first: dict[str, str]) -> Span:
    since, until = first.get(f"{name}_from", ""), first.get(f"{name}_to", "")
    return Span(_begin(since), _begin(until, timedelta(days=1)))


def _is_shown(name: str, value: str, faults: list[str]) -> bool:
    """Return whether the field may be shown with that value: one for a day takes a day or a minute alone."""
    if not name.endswith(("_from", "_to")):
        return True
    try:
        _begin(value)
    except ValueError:
        faults.append(f"{value!a} is no day: write it like 2026-11-28")
        return False
    return True


def _begin(text: str, of_a_day: timedelta = timedelta()) -> datetime | None:
    """Read a minute, or a day, of which so much is over; raise ValueError for what is none, and for what is too far."""
    if not text:
        return None
    is_day = "T" not in text
    moment = datetime.strptime(text, "%Y-%m-%d" if is_day else _TO_THE_MINUTE).replace(tzinfo=UTC)
    if moment.year > _LAST_YEAR:
        raise ValueError("a year too far")
    return moment + of_a_day if is_day else moment


def _place(text: str | None, faults: list[str]) -> TaskPlace | None:
    try:
        return None if text is None else TaskPlace.of(text)
    except ValueError:
        faults.append("the place in the list is none: this is the start")
        return None
