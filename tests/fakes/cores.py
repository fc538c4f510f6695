"""A processor that notes what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class NotedCores:
    """Satisfies archiver.ports.runtime.Cores."""

    seen: list[str] = field(default_factory=list)

    def gather(self) -> None:
        self.seen.append("gather")

    def scatter(self) -> None:
        self.seen.append("scatter")
