"""A task as one ZIP archive: written as its files come, and named once all of them are proven."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from archiver.core.errors import ArchiverError
from archiver.core.keys import MANIFEST_NAME, RECORD_NAME, record_key
from archiver.core.manifest_read import Manifest
from archiver.core.model import TaskId
from archiver.preservation.fetching import READS, WrongBytes
from archiver.preservation.folder import NewFile, NotOurs
from archiver.preservation.results import Result, Verdict
from archiver.preservation.retrieval import RECORD_MAX, Retrieval
from archiver.preservation.wanted import Wanted, WantedFile, wanted

_MODE = 0o644 << 16
_LARGE = 1 << 31
_BLOCK = 256 * 1024
_FIRST_YEAR = 1980
"""The first that a ZIP archive can name."""
_LACKING = "not written, for it would lack what is named above"
_WITHOUT_ZIP = "without --zip every file that can be had is written"


class _Spoilt(Exception):
    """The part of the archive that is written cannot be continued."""


@dataclass(slots=True)
class _Entry:
    """The sink of one file within the archive: it cannot be begun again alone."""

    file: IO[bytes]
    begun: bool = False

    def write(self, data: memoryview) -> None:
        self.begun = True
        self.file.write(data)

    def begin_again(self) -> None:
        if self.begun:
            raise _Spoilt


@dataclass(frozen=True, slots=True)
class _Plan:
    """Parts of one archive."""

    manifest: Manifest
    asked: Wanted
    documents: dict[str, bytes]
    """The sidecars, by their names."""

    @property
    def name(self) -> str:
        """The archive's file."""
        return f"{self.asked.folder}.zip"

    def entry(self, name: str) -> str:
        """Return the name of a file within the archive."""
        return f"{self.asked.folder}/{name}"

    def result(self, name: str, verdict: Verdict = Verdict.WRITTEN, detail: str = "") -> Result:
        """Return what became of a file, or of the archive itself where `name` is empty."""
        path = f"{self.name}/{self.entry(name)}" if name else self.name
        return Result(self.manifest.task_id, path, verdict, detail=detail)

    def results(self) -> Iterator[Result]:
        """Yield that every entry stands, with its size and SHA-256."""
        for file in self.asked.files:
            yield replace(self.result(file.name), size=file.size, sha256=file.sha256, stem=file.stem)
        for name, data in self.documents.items():
            yield replace(self.result(name), size=len(data), sha256=hashlib.sha256(data).hexdigest())


@dataclass(slots=True)
class Zips:
    """Writes one archive a task, by means of a `Retrieval`, whose totals count them too."""

    by: Retrieval
    _at: WantedFile | None = None
    """The file that is under way."""

    def run(self, tasks: Iterable[TaskId]) -> Iterator[Result]:
        """Yield what became of each file; raises as `Retrieval.run`. Archives are written one after the other."""
        for task in tasks:
            for result in self._task(task):
                self.by.totals.add(result)
                yield result

    def _task(self, task: TaskId) -> Iterator[Result]:
        _, found, data = self.by.look(task)
        if isinstance(found, Result):
            yield found
            return
        asked = wanted(found, self.by.selection)
        yield from self.by.without(found, asked)
        plan = _Plan(found, asked, {})
        if not asked.files:
            return
        try:
            if self.by.selection.stem is None:
                yield from self._documents(plan, data)
            yield from self._archive(plan)
        except NotOurs as fault:
            yield plan.result("", Verdict.BLOCKED, str(fault))

    def _documents(self, plan: _Plan, manifest: bytes) -> Iterator[Result]:
        """Add the sidecars to the plan; yield that the record is not to be had, where it is so."""
        plan.documents[MANIFEST_NAME] = manifest
        key = record_key(self.by.prefix, plan.manifest.task_id)
        try:
            record = self.by.fetching.archive.document(key, limit=RECORD_MAX)
        except ArchiverError as fault:
            yield self.by.refused(plan.result(RECORD_NAME, Verdict.UNREAD), fault)
            return
        if record is None:
            yield plan.result(RECORD_NAME, Verdict.ABSENT, "the store has no such object")
        else:
            plan.documents[RECORD_NAME] = record.data

    def _archive(self, plan: _Plan) -> Iterator[Result]:
        """Yield the entries of the archive, once it stands or stood already; else what keeps it from standing."""
        with self.by.root.reading(plan.name) as standing:
            if standing is not None and _holds(standing, plan):
                yield from (replace(result, verdict=Verdict.EQUAL) for result in plan.results())
            elif standing is not None:
                yield plan.result("", Verdict.DIFFERENT, "another file stands there, and is left alone")
            if standing is not None:
                return
        if (fault := self._written(plan)) is None:
            yield from plan.results()
        else:
            yield fault
            yield replace(plan.result("", Verdict.BLOCKED, _LACKING), hint=_WITHOUT_ZIP)

    def _written(self, plan: _Plan) -> Result | None:
        """Write the archive; return what keeps a file of it from being had, and leave nothing then."""
        for _ in range(READS):
            try:
                with self.by.root.writing(plan.name) as new:
                    self._fill(plan, new)
            except _Spoilt:
                continue
            except WrongBytes as fault:
                return self._at_fault(plan, Verdict.WRONG, str(fault))
            except ArchiverError as fault:
                return self.by.refused(self._at_fault(plan, Verdict.UNREAD, str(fault)), fault)
            return None
        return self._at_fault(plan, Verdict.WRONG, f"its bytes are others than the manifest tells, read {READS} times")

    def _at_fault(self, plan: _Plan, verdict: Verdict, detail: str) -> Result:
        return plan.result(self._at.name if self._at else "", verdict, detail)

    def _fill(self, plan: _Plan, new: NewFile) -> None:
        task = plan.manifest.task_id
        with os.fdopen(os.dup(new.descriptor), "w+b") as file:
            with ZipFile(file, "w", ZIP_STORED) as archive:
                for each in plan.asked.files:
                    self._at = each
                    about = _about(plan, each.name)
                    with archive.open(about, "w", force_zip64=each.size > _LARGE) as entry:
                        key = f"{self.by.prefix}{task}/{each.path}"
                        self.by.fetching.fetch(key, each.size, each.sha256, _Entry(entry))
                for name, data in plan.documents.items():
                    archive.writestr(_about(plan, name), data)
            file.seek(0)
            with ZipFile(file) as archive:
                if archive.testzip() is not None:
                    raise _Spoilt


def _about(plan: _Plan, name: str) -> ZipInfo:
    return entry_about(plan.entry(name), plan.manifest.written_at)


def entry_about(name: str, when: datetime) -> ZipInfo:
    """Return what an archive says of an entry: the same each time that it is written."""
    moment = (max(when.year, _FIRST_YEAR), when.month, when.day, when.hour, when.minute, when.second)
    about = ZipInfo(name, moment)
    about.external_attr = _MODE
    about.create_system = 3
    return about


def _holds(standing: IO[bytes], plan: _Plan) -> bool:
    """Return whether a file is an archive of just these entries."""
    expected = {each.path.removeprefix(f"{plan.name}/"): (each.size, each.sha256) for each in plan.results()}
    try:
        with ZipFile(standing) as archive:
            sizes = {about.filename: about.file_size for about in archive.infolist()}
            if sizes != {name: size for name, (size, _) in expected.items()}:
                return False
            return all(_sha256(archive, name) == sha256 for name, (_, sha256) in expected.items())
    except (BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):  # packed or locked otherwise
        return False


def _sha256(archive: ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as entry:
        while block := entry.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
