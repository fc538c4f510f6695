"""First bytes of what is no audio: pages, archives, documents, texts; and a few words for it, fit for people."""

from __future__ import annotations

import re

from archiver.adapters.downloader.first_bytes import FirstBytes
from archiver.core.text import printable

_OTHERS = FirstBytes(
    {
        rb"\x1f\x8b": "a gzip stream",
        rb"PK(?:\x03\x04|\x05\x06|\x07\x08)": "a ZIP archive",
        rb"7z\xbc\xaf\x27\x1c": "a 7z archive",
        rb"Rar!\x1a\x07": "a RAR archive",
        rb"\xfd7zXZ\x00": "an xz stream",
        rb"BZh[1-9]1AY": "a bzip2 stream",
        rb"\x28\xb5\x2f\xfd": "a zstd stream",
        rb".{257}ustar": "a tar archive",
        rb"\x89PNG": "a PNG image",
        rb"\xff\xd8\xff": "a JPEG image",
        rb"GIF8[79]a": "a GIF image",
        rb"RIFF....WEBP": "a WebP image",
        rb"....ftyp(?:avi[fs]|hei[cxms]|hev[cx]|m[is]f1|crx )": "an AVIF or HEIF image",
        rb"BM.{4}\x00{4}": "a BMP image",
        rb"II\x2a\x00|MM\x00\x2a": "a TIFF image",
        rb"\x00\x00\x01\x00[\x01-\x40]\x00": "an icon",
        rb"%PDF": "a PDF document",
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Office document",
        rb"SQLite format 3\x00": "a database",
        rb"\x7fELF": "a program",
    }
)
_WIDE = re.compile(rb"\xff\xfe(?:[\t\n\r -~]\x00){4}|\xfe\xff(?:\x00[\t\n\r -~]){4}")
"""UTF-16, of which a mark and four letters are no audio's."""
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<[A-Za-z!?/]|\{\s*[\"}]|\[\s*[\[{\"\]])")
"""HTML, XML or JSON, whatever comes behind."""
_LINE = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\r -~]{12}")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_PRINTED = re.compile(rb"[\t\n\r -~]")
_ENOUGH_TEXT = 64
_MOSTLY = 0.75
_TAG = re.compile(r"<(script|style)\b(?:(?!</\1>).)*+(?:</\1>)?|<[^>]*>?", re.DOTALL | re.IGNORECASE)
_JSON = re.compile(r"\{\s*[\"}]|\[\s*[\[{\"\]]")
_URL_SIGNS = ("://", "=", "?", "&", "@")
_LONG_WORD = 25
_TEXT = 1024
_EXCERPT = 80


def is_page(head: bytes) -> bool:
    """Return whether `head` begins HTML, XML, JSON, an archive, an image or a document."""
    return bool(_PAGE.match(head) or _WIDE.match(head)) or _OTHERS.kind_of(head) is not None


def is_html(head: bytes) -> bool:
    """Return whether `head` begins a page of HTML."""
    start = head[:_TEXT].lower()
    return b"<html" in start or b"<!doctype html" in start


def is_text(head: bytes) -> bool:
    """Return whether `head` begins with twelve letters of ASCII, or is nearly all letters for a line."""
    start = head[:_ENOUGH_TEXT]
    if _LINE.match(start):
        return True
    return not _CONTROLS.search(start) and len(_PRINTED.findall(start)) >= _MOSTLY * len(start) > 0


def looks_like(head: bytes) -> str:
    """Say in a few words what bytes that are no audio seem to be; printable, without links or long tokens."""
    if (name := _OTHERS.kind_of(head)) is not None:
        return name
    try:
        text = _decoded(head)
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        return f"unknown bytes {head[:8].hex(' ')}"
    return f"{_kind_of(text)}: {_scrubbed(text)!r}"


def _decoded(head: bytes) -> str:
    if _WIDE.match(head):
        return head[: _TEXT - _TEXT % 2].decode("utf-16", errors="ignore").strip()
    start = head[:_TEXT]
    if is_page(head) or is_text(head):
        return start.decode("utf-8-sig", errors="ignore").replace("\0", " ").strip()
    return start.decode("utf-8-sig", errors="strict" if len(head) <= _TEXT else "ignore").strip()


def _kind_of(text: str) -> str:
    start = text[:512].lower()
    if "<html" in start or start.startswith("<!doctype html"):
        return "an HTML page"
    if start.startswith("<"):
        return "XML"
    if start.startswith("--") and "content-" in start:
        return "a multipart answer"
    if ";chunk-signature=" in start:
        return "a signed upload that was never unwrapped"
    return "JSON" if _JSON.match(start) else "text"


def _scrubbed(text: str) -> str:
    words = _TAG.sub(" ", text).split()
    shown = ["…" if len(word) >= _LONG_WORD or any(sign in word for sign in _URL_SIGNS) else word for word in words]
    return " ".join(printable(" ".join(shown)).split())[:_EXCERPT]
