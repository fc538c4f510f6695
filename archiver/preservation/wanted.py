"""Files of a task that can be had, and the names they get here: no name of the bucket's is taken on trust. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from archiver.core.keys import SIDECARS
from archiver.core.manifest_fields import LONGEST_PATH, plain_name_fault
from archiver.core.manifest_read import Manifest, ManifestStem
from archiver.core.model import Receipt

_TITLE_MAX = 80
"""Bytes of a title within a name: with the id of a task behind it, it still is one."""
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
"""Characters that some file systems take in no name."""


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A stem's object, and the file that it becomes."""

    stem: str
    path: str
    """Beside the manifest, in the bucket: one plain name."""
    name: str
    """Here: one plain name too, unlike every other of its task, also where letters' case does not count."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A stem that no file can be made of, and why."""

    stem: str
    why: str
    gone: bool = False
    """True where the manifest itself tells that there is no object."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files of one task that can be had."""

    folder: str
    """One plain name."""
    files: tuple[WantedFile, ...]
    unusable: tuple[Unusable, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Files that are asked for of each task."""

    stem: str | None = None
    """One stem alone, and no sidecar; None for all there is."""
    titles: bool = False
    """Name folder and files by the task's title, where it has one."""


def wanted(manifest: Manifest, selection: Selection) -> Wanted:
    """Return what the manifest holds of what is asked for."""
    title = safe_title(manifest.title) if selection.titles else ""
    folder = f"{title} ({manifest.task_id})" if title else str(manifest.task_id)
    names = _Names(title)
    files: list[WantedFile] = []
    unusable: list[Unusable] = []
    for stem in _chosen(manifest.stems, selection.stem):
        try:
            files.append(_file(stem, names))
        except ValueError as error:
            unusable.append(Unusable(stem.name, str(error), gone=not stem.is_stored))
    return Wanted(folder, tuple(files), tuple(unusable))


def names_of(receipts: Iterable[tuple[str, Receipt]]) -> Mapping[str, str]:
    """Return what `wanted` calls the file of each stem, by the stem; where no file can be called so, its hash."""
    names, found = _Names(""), dict[str, str]()
    for stem, receipt in sorted(receipts, key=lambda each: (each[1].alias_of is not None, each[0])):
        try:
            found[stem] = names.take(receipt.key.rpartition("/")[2], stem, aliased=receipt.alias_of is not None)
        except ValueError:
            found[stem] = names.take(f"{receipt.sha256}.bin", receipt.sha256, aliased=False)
    return found


def _chosen(stems: Sequence[ManifestStem], name: str | None) -> Iterator[ManifestStem]:
    """Yield those asked for: what names an object of its own before its aliases, so that these give way."""
    for stem in sorted(stems, key=lambda each: (each.alias_of is not None, each.name)):
        if name is None or stem.name == name:
            yield stem


def _file(stem: ManifestStem, names: _Names) -> WantedFile:
    if not stem.is_stored:
        raise ValueError(f"{stem.state}: {stem.reason}" if stem.reason else stem.state)
    if stem.path_fault or stem.size is None:
        raise ValueError(stem.path_fault or "it has no size")
    fault = plain_name_fault(stem.path)  # asked once more: everything rests on it
    if fault:
        raise ValueError(fault)
    name = names.take(stem.path, stem.name, aliased=stem.alias_of is not None)
    return WantedFile(stem.name, stem.path, name, stem.size, stem.sha256)


@dataclass(slots=True)
class _Names:
    """The names of one folder's files, each given once."""

    title: str
    paths: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=lambda: {_folded(name) for name in SIDECARS})

    def take(self, path: str, stem: str, *, aliased: bool) -> str:
        """Return the name for the object at `path`; for an alias, or a second stem there, that of the stem itself."""
        base = stem + PurePosixPath(path).suffix if aliased or path in self.paths else path
        self.paths.add(path)
        if base.endswith(".part"):
            raise ValueError("its name is one of an unfinished file")
        if fault := plain_name_fault(base):
            raise ValueError(fault)
        labelled = base.endswith(f" - {stem}{PurePosixPath(base).suffix}")
        for name in _candidates(base, "" if labelled else self.title):
            if not plain_name_fault(name) and _folded(name) not in self.taken:
                self.taken.add(_folded(name))
                return name
        raise ValueError("its name is none that a file can have")


def _candidates(base: str, title: str) -> Iterator[str]:
    if title:
        yield f"{title} - {base}"
    yield base
    parts = PurePosixPath(base)
    for number in range(2, 100):
        yield f"{parts.stem} ({number}){parts.suffix}"


def _folded(name: str) -> str:
    """Return what a file system that heeds neither case nor composition tells names apart by."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def safe_title(title: str) -> str:
    """Return the title as a part of a file's name; empty where nothing of it is left."""
    text = unicodedata.normalize("NFC", title[: 4 * _TITLE_MAX])
    text = "".join(letter if letter.isprintable() else " " for letter in _FORBIDDEN.sub("_", text))
    text = " ".join(text.split()).strip(". ")
    return text.encode()[:_TITLE_MAX].decode(errors="ignore").strip(". ")


def fits(name: str) -> bool:
    """Return whether a name is one plain name, within what file systems take."""
    return not plain_name_fault(name) and len(name.encode()) <= LONGEST_PATH
