"""A `ports.EventLog` that keeps what it is told, and one that does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Events:
    """Every event in order, as (level, name, fields)."""

    seen: list[tuple[str, str, Mapping[str, object]]] = field(default_factory=list)

    def of(self, name: str) -> list[Mapping[str, object]]:
        """The fields of every event called `name`."""
        return [fields for _, event, fields in self.seen if event == name]

    def debug(self, event: str, **fields: object) -> None:
        self.seen.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        self.seen.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.seen.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.seen.append(("error", event, fields))

    def exception(self, event: str, **fields: object) -> None:
        self.seen.append(("exception", event, fields))


class Silence(Events):
    """An event log that keeps nothing, for runs of which nobody could read a million lines."""

    def debug(self, event: str, **fields: object) -> None:
        pass

    info = warning = error = exception = debug
