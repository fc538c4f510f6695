"""A copy of the page that needs no program: overview, the newest tasks, and players of files that were restored."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from archiver.core.errors import ArchiverError, Interrupted, LedgerFault
from archiver.core.listing import TaskFilter, TaskOnPage, TaskOrder
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.reports import TaskRow
from archiver.ports.listing import Moment
from archiver.preservation.wanted import names_of
from archiver.web.page.overview import drawn
from archiver.web.page.parts import Parts
from archiver.web.page.shelf import Shelf
from archiver.web.page.task import ShownStem, shown
from archiver.web.page.tasks import SIGNS

MOST = 10_000
"""Tasks that are copied, the newest."""
FOLDER = "_page"
"""Beside `index.html` and the folders of tasks: no task has such an id."""

_ON_PAGE = 200
_ROOT = "../"
_LINK = re.compile(r' href="(/[^"]*)"')
_TASK = re.compile(r"/task/([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy's extent."""

    tasks: int
    left_out: int
    """Older tasks, which are in no list of it."""
    unread: int
    """Trimmed tasks whose manifest could not be read: their stems are not in it."""


@dataclass(slots=True)
class StaticCopy:
    """Writes a copy, each file by `write`.

    `audio` leads from a task's document to the folders that `restore` writes.
    """

    parts: Parts
    shelf: Shelf
    write: Callable[[str, bytes], object]
    audio: str
    stopped: Callable[[], bool] = lambda: False
    most: int = MOST
    _unread: int = field(default=0, init=False)

    def make(self) -> Copied:
        """Write all of it; raises LedgerFault, OSError, and Interrupted once stopped."""
        for name, data in self.parts.pages.assets.all():
            self.write(f"{FOLDER}/static/{name}", data)
        rows = []
        for listed in self._newest():
            if self.stopped():
                raise Interrupted
            self._task(listed)
            rows.append(listed)
        left_out = max(0, self.parts.listings.count(TaskFilter(), self._moment()).tasks - len(rows))
        self._lists(rows, left_out)
        self._overview(rows, left_out)
        return Copied(len(rows), left_out, self._unread)

    def _moment(self) -> Moment:
        words = self.parts.words
        return Moment(self.parts.clock(), words.at_risk, words.retention)

    def _newest(self) -> Iterator[TaskOnPage]:
        moment, left, start = self._moment(), self.most, None
        while left > 0:
            size = min(_ON_PAGE, left)
            page = self.parts.listings.page(TaskFilter(), TaskOrder.NEWEST, moment, start=start, size=size)
            yield from page.rows
            left, start = left - len(page.rows), page.older
            if start is None:
                return

    def _text(self, path: str, template: str, root: str, **facts: object) -> None:
        text = self.parts.pages.text(
            template, root=root, home=f"{root}../index.html", operates=False, now=self.parts.clock(), **facts
        )
        self.write(f"{FOLDER}/{path}", text.encode())

    def _task(self, listed: TaskOnPage) -> None:
        row, unread = self._row(listed)
        if row is None:
            return
        facts = shown(self.parts, row)
        facts["stems"] = restored(row, facts["stems"], self.audio)
        self._text(
            f"task/{row.task_id}.html", "static_task.html", _ROOT, unread=unread, audio=self.audio, static=True, **facts
        )

    def _row(self, listed: TaskOnPage) -> tuple[TaskRow | None, str]:
        task = listed.task.task_id
        try:
            return self.shelf.task(task, anew=True), ""
        except LedgerFault:
            raise
        except (ArchiverError, ManifestBroken) as fault:
            self._unread += 1
            return self.parts.reports.show(task), str(fault)

    def _lists(self, rows: Sequence[TaskOnPage], left_out: int) -> None:
        pages = [rows[at : at + _ON_PAGE] for at in range(0, len(rows), _ON_PAGE)] or [[]]
        for number, page in enumerate(pages, 1):
            facts = {"rows": page, "number": number, "pages": len(pages), "signs": SIGNS, "left_out": left_out}
            self._text(f"tasks-{number}.html", "static_tasks.html", "", total=len(rows), **facts)

    def _overview(self, rows: Sequence[TaskOnPage], left_out: int) -> None:
        known = {row.task.task_id for row in rows}
        figures = self.parts.pages.text("figures.html", **drawn(self.parts), operates=False, form_token="")
        text = self.parts.pages.text(
            "static_overview.html",
            root=f"{FOLDER}/",
            home="index.html",
            figures=relinked(figures, known),
            now=self.parts.clock(),
            total=len(rows),
            left_out=left_out,
        )
        self.write("index.html", text.encode())


def restored(row: TaskRow, stems: Sequence[ShownStem], audio: str) -> Sequence[ShownStem]:
    """Return the stems with the paths of the files that `restore` writes of them."""
    found = names_of((each.name, each.receipt) for each in stems if each.receipt is not None)
    return [
        replace(each, url=f"{audio}/{quote(row.task_id)}/{quote(found[each.name])}") if each.name in found else each
        for each in stems
    ]


def relinked(html: str, known: Collection[str]) -> str:
    """Return HTML whose links to known tasks lead to their copies; others are none."""

    def link(found: re.Match[str]) -> str:
        task = _TASK.fullmatch(found[1])
        return f' href="{FOLDER}/task/{task[1]}.html"' if task and task[1] in known else ""

    return _LINK.sub(link, html)
