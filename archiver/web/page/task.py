"""One task: what it is, its stems to be heard, its receipts, its history, its documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from archiver.core.errors import ArchiverError
from archiver.core.keys import manifest_key, record_key
from archiver.core.manifest_bounds import LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import read_manifest
from archiver.core.model import Receipt, StemRow, TaskId, task_id
from archiver.core.reports import TaskRow
from archiver.core.states import ENDED_BADLY, StemState
from archiver.core.text import without_controls
from archiver.web.page.audio import LINK_LASTS, Audio, audio_url, file_name
from archiver.web.page.parts import Parts, View
from archiver.web.page.shelf import UNREAD, Shelf, receipt_of
from archiver.web.page.streaming import refusal
from archiver.web.page.telling import head_of, moves, standing
from archiver.web.page.waveforms import Waveforms, level
from archiver.web.page.words import in_words, size

HISTORY = 200
"""Moves that are shown; the first and the last."""
"""States that a retry brings back to work, as does a stem that was refused."""
_SHOWN = 400_000
"""Characters of a document that are shown."""


@dataclass(frozen=True, slots=True)
class ShownStem:
    """A stem as the view has it."""

    name: str
    row: StemRow
    receipt: Receipt | None
    url: str
    """The player's; empty where there is nothing to hear."""
    file: str
    """The name that it is saved as."""
    size: str
    words: str
    """Words in the place of its waveform."""
    is_lost: bool
    marks: str = ""
    """Faults of its sound in words, as far as it is known."""
    level: str = ""
    """Its loudness."""


class TaskView:
    """The endpoints of the view."""

    def __init__(self, parts: Parts, shelf: Shelf, audio: Audio) -> None:
        self._parts = parts
        self._shelf = shelf
        self._audio = audio

    def routes(self) -> Sequence[Route]:
        """Return all of them."""
        return [
            Route("/task/{task}", self.show),
            Route("/task/{task}/link/{stem}", self.link),
            Route("/task/{task}/documents", self.documents),
            Route("/task/{task}/live", self.live),
        ]

    def show(self, request: Request) -> Response:
        """Show the task."""
        unread = ""
        try:
            row = self._shelf.task(request.path_params["task"], anew=True)
        except (ArchiverError, ManifestBroken) as fault:
            row, unread = self._by_ledger(request, fault)
        if row is None:
            return self._absent(request)
        if self._parts.soundings is not None:
            self._parts.soundings.ask(row)
        facts = shown(self._parts, row) | {"unread": unread, "breaks": self._audio.breaks.of(row.task_id)}
        return self._parts.pages.page(request, "task.html", status=200, **facts)

    def live(self, request: Request) -> Response:
        """Show what befell downloads of it."""
        return self._parts.pages.page(request, "breaks.html", breaks=self._audio.breaks.of(request.path_params["task"]))

    def _by_ledger(self, request: Request, fault: Exception) -> tuple[TaskRow | None, str]:
        """Return a trimmed task as the ledger alone has it, and why its stems are not shown."""
        why = UNREAD if isinstance(fault, ManifestBroken) else refusal(fault)[1]
        return self._parts.reports.show(task_id(request.path_params["task"])), why

    def _absent(self, request: Request) -> Response:
        return self._parts.pages.page(request, "absent.html", status=404)

    def link(self, request: Request) -> Response:
        """Show a link to a stem in the store, made for this click."""
        stem, fault, url = request.path_params["stem"], "", ""
        try:
            row = self._shelf.task(request.path_params["task"])
            receipt = None if row is None else receipt_of(row, stem)
            if row is None or receipt is None:
                return self._absent(request)
            url = self._audio.link(row, stem, receipt)
        except ManifestBroken:
            return self._absent(request)
        except ArchiverError as error:
            row, fault = None, refusal(error)[1]
        minutes = int(LINK_LASTS.total_seconds() // 60)
        task = request.path_params["task"]
        return self._parts.pages.page(request, "link.html", task=task, stem=stem, url=url, minutes=minutes, fault=fault)

    def documents(self, request: Request) -> Response:
        """Show manifest and record as they stand in the bucket, and whether the manifest's seal is right."""
        try:
            task = task_id(request.path_params["task"])
        except ValueError:
            return self._absent(request)
        prefix = self._parts.words.prefix
        documents = [
            self._document("Manifest", manifest_key(prefix, task), task),
            self._document("Record", record_key(prefix, task), None),
        ]
        return self._parts.pages.page(request, "documents.html", task=task, documents=documents)

    def _document(self, title: str, key: str, sealed: TaskId | None) -> dict[str, object]:
        try:
            found = self._parts.archive().document(key, limit=LARGEST)
        except ArchiverError as fault:
            return {"title": title, "key": key, "text": "", "fault": refusal(fault)[1], "seal": "", "is_broken": False}
        if found is None:
            return {"title": title, "key": key, "text": "", "fault": "there is none", "seal": "", "is_broken": False}
        seal, is_broken = "", False
        if sealed is not None:
            seal, is_broken = _sealed(found.data, sealed)
        text = pretty(found.data)
        return {"title": title, "key": key, "text": text, "fault": "", "seal": seal, "is_broken": is_broken}


def shown(parts: Parts, row: TaskRow) -> dict[str, Any]:
    """Return the facts of a task that its document shows."""
    stems = [_shown_stem(parts, row, each) for each in row.stems]
    stored = [each.receipt for each in stems if each.receipt is not None]
    lines, left_out = moves(row, HISTORY)
    return {
        "row": row,
        "title": in_words(row.title),
        "standing": standing(row),
        "head": head_of(row, parts.clock()),
        "stems": stems,
        "stored": stored,
        "whole": size(sum(each.size for each in stored if each.alias_of is None)),
        "moves": lines,
        "left_out": left_out,
        "may_retry": row.state in ENDED_BADLY or any(each.state is StemState.REFUSED for each in row.stems),
    }


def _shown_stem(parts: Parts, row: TaskRow, stem: StemRow) -> ShownStem:
    receipt = stem.receipt
    words, is_lost = in_place_of_sound(row, stem)
    if receipt is None:
        return ShownStem(stem.name, stem, None, "", "", "", words, is_lost)
    url, file = audio_url(row.task_id, stem.name, receipt), file_name(row, stem.name, receipt)
    found = ShownStem(stem.name, stem, receipt, url, file, size(receipt.size), words, is_lost)
    sound = None if parts.soundings is None else parts.soundings.whole(stem)
    return found if sound is None else replace(found, marks=" · ".join(sound.marks(stem.duration)), level=level(sound))


def in_place_of_sound(row: TaskRow, stem: StemRow) -> tuple[str, bool]:
    """Return what is said in the place of a stem's waveform, and whether it is lost; empty where it can be heard."""
    if stem.receipt is not None:
        return "", False
    moved = next((each.at for each in reversed(row.history) if each.stem == stem.name), None)
    day = f" on {moved:%Y-%m-%d}" if moved is not None else ""
    why = in_words(stem.reason or stem.not_taken)
    because = f": {why}" if why else ""
    match stem.state.value:
        case "lost":
            return f"lost{day}{because}", True
        case "refused":
            return f"refused{day}{because}", True
        case _:
            return f"not stored yet{because}", False


def _sealed(data: bytes, task: TaskId) -> tuple[str, bool]:
    try:
        read_manifest(data, task)
    except ManifestBroken as fault:
        return f"seal broken: {fault}", True
    return "sealed", False


def pretty(data: bytes) -> str:
    """Return JSON indented, as people read it; what is none as it is, without controls; so much as is shown."""
    try:
        text = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = data[:_SHOWN].decode("utf-8", "replace")
    lines = (without_controls(line) if line.strip() else "" for line in text[:_SHOWN].split("\n"))
    indents = (line[: len(line) - len(line.lstrip(" "))] for line in text[:_SHOWN].split("\n"))
    shown = "\n".join(indent + line.lstrip() for indent, line in zip(indents, lines, strict=True))
    return shown if len(text) <= _SHOWN else f"{shown}\n… {len(text) - _SHOWN} more characters"


def routes(parts: Parts) -> Sequence[Route]:
    """Return the routes of this view."""
    shelf = Shelf.over(parts.reports, parts.archive, parts.words.prefix, parts.clock)
    audio = Audio(parts, shelf)
    return [*TaskView(parts, shelf, audio).routes(), *audio.routes(), *Waveforms(parts, shelf).routes()]


VIEW = View("/task", "", routes)
