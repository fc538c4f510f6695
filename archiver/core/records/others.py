"""Addresses in a result that stand where no rule expects them: none is dropped without a word.

Lists, nested objects, JSON inside strings, keys without `Url`, protocol-relative URLs are audio like any other.
An address that cannot be requested, a relative one say, is listed with the reason. What is
no audio by its name is left out, and named. Inputs and callback URLs are no results: they are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from archiver.core.records.fields import duration_of, first_of, id_of, json_in, text_of
from archiver.core.records.items import Item
from archiver.core.records.kinds.names import Media
from archiver.core.records.left_out import LeftOut
from archiver.core.records.names import MAX_NAME, field_name, joined, slug_of, words_of
from archiver.core.text import MAX_TEXT, MAX_URL, printable, scrub, shown_url, usable_url

MOST: Final = 1000
"""Addresses that are looked at beside the documented ones."""

_LONGEST_FIELD: Final = 120
_GENERIC: Final = re.compile(
    "(?:audios?|data|files?|items?|origin_data|response|results?|urls?|vocal_(?:removal|separation)_info)?"
)
_WRAPPER: Final = re.compile("data|lyrics_data|response|result_json|result_object|songs|suno_data|video_info")
_INPUT = re.compile(r"(?:^|_)(?:call_?back|web_?hook)(?:_ur[li]s?)?$|^(?:params?|param_json|inputs?|request)$")
_URL_WORD = re.compile(r"(?:^|_)(?:ur[li]s?|links?|href|src)$")
_A_STREAM: Final = "a stream"
_STREAM: Final = re.compile(r"(?:^|_)stream(?:ing)?(?:_|$)")
_KINDS: Final = (
    (_STREAM, _A_STREAM),
    (re.compile(r"(?:^|_)images?(?:_|$)"), "an image"),
    (re.compile(r"(?:^|_)videos?(?:_|$)"), "a video"),
)
_ENDINGS: Final = (
    (re.compile(r"(?i)\.(?:jpe?g|png|gif|webp|avif|svg|bmp)$"), "an image"),
    (re.compile(r"(?i)\.midi?$"), "MIDI"),
    (re.compile(r"(?i)\.(?:txt|lrc|srt|vtt|json|html?|pdf)$"), "a text"),
)
_MEDIA: Final = {"an image": Media.IMAGE, "a video": Media.VIDEO}
_VIDEO_SUFFIX = re.compile(r"(?i)\.(?:mp4|m4v|mov|webm|mkv)$")
_AUDIO_WORD = re.compile(r"(?:^|_)(?:audios?|music|songs?|tracks?|vocals?|stems?|wav|mp3)(?:_|$)")
_AUDIO_SUFFIX = re.compile(r"(?i)\.(?:mp3|wav|flac|m4a|aac|ogg|opus|aiff?)$")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15}):(//)?\S")
_BETWEEN = re.compile(r"(?<![\s,;|])[\s,;|]+(?=https?://)", re.IGNORECASE)
_JOINED = re.compile(r"[,;|]https?://", re.IGNORECASE)
_WITHIN = re.compile(r"https?://[^\s/?#\"'<>]+[^\s\"'<>]*", re.IGNORECASE)
_RELATIVE = re.compile(r"/[^\s/]|//|[^\s/:]+(?:/[^\s:]*)?\.[^\s.:]+$")

_Path = tuple[Any, str | int]
"""The way to a value: the path of what holds it, and its key or place in there."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The way in which a kind reads the addresses that no shape claims."""

    known: Collection[str]
    """The names that are documented."""
    media: tuple[Media, ...] = (Media.AUDIO,)
    """As of a Kind."""
    numbered: bool = False
    """True where files of a list have names by their place, `image-01`, and each its class of media."""
    inputs: re.Pattern[str] = _INPUT
    """The keys of what is no result, in the alphabet of names."""

    def media_of(self, words: Collection[str], url: str, kind: str) -> Media:
        """Return the class of a file, by its keys or its ending; `kind`: what `what_else` calls it."""
        shown = shown_url(url)
        if not self.numbered or _AUDIO_SUFFIX.search(shown):
            return Media.AUDIO
        if kind in _MEDIA:
            return _MEDIA[kind]
        if any(map(_AUDIO_WORD.search, words)):
            return Media.AUDIO
        return Media.VIDEO if Media.VIDEO in self.media and _VIDEO_SUFFIX.search(shown) else self.media[0]


def inputs_and(*more: str) -> re.Pattern[str]:
    """Return the pattern of inputs, with these keys and messages, which may repeat an input."""
    return re.compile(
        "|".join((_INPUT.pattern, r"(?:^|_)(?:message|msg|reason)$", *(f"^{re.escape(key)}$" for key in more)))
    )


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A string of the result, trimmed."""

    text: str
    path: _Path
    entry: Mapping[str, object]
    """The object that it stands in, be it within a list."""


def what_else(words: str, url: str, *, documented: bool) -> str:
    """Return what a URL is, by the words of its key or by its ending, where it is no audio; else an empty string."""
    return by_key(words) or ("" if documented else by_suffix(url))


def by_key(words: str) -> str:
    """Return what the words of a key say that a URL is instead of audio; empty where they say nothing of it."""
    return next((kind for pattern, kind in _KINDS if pattern.search(words)), "")


def by_suffix(url: str) -> str:
    """Return what the ending of a URL says that it is instead of audio; empty where it says nothing of it."""
    shown = shown_url(url)
    return next((kind for pattern, kind in _ENDINGS if pattern.search(shown)), "")


def address_of(text: str) -> str | None:
    """Return `text` as `usable_url` does, also where it leaves out the scheme or escapes its slashes once more."""
    plain = text.strip().replace("\\/", "/") if "\\/" in text else text.strip()
    return usable_url(f"https:{plain}" if plain.startswith("//") else plain)


def addresses_in(text: str) -> list[str]:
    """Return the URLs that stand one behind the other in a text; the text itself where that is not so."""
    if text.count("://") < 2 or any(map(_has_one_in_its_query, text.split())):  # noqa: PLR2004  as few as several can be
        return [text]
    parts = _BETWEEN.split(text.strip())
    return parts if all(map(address_of, parts)) else [text]


def _has_one_in_its_query(word: str) -> bool:
    query = word.find("?")
    return query >= 0 and _JOINED.search(word, query) is not None


def others_in(answer: object, *, taken: Collection[str], rules: Rules) -> Iterator[Item | LeftOut]:
    """Yield what `answer` names beside the URLs `taken`."""
    leaves = (leaf for leaf in _leaves(answer) if leaf.text not in taken)
    for leaf in islice(leaves, MOST):
        found = _Found.at(leaf, rules)
        if found is not None and found.url not in taken:
            yield from found.judged()
    if next(leaves, None) is not None:
        beyond = f"more than {MOST} addresses that no rule expects"
        yield Item("more", "", "response", known=False, not_taken=beyond)


def _leaves(answer: object) -> Iterator[_Leaf]:
    """Yield the strings of `answer` that may be addresses, in its order, however deep they stand."""
    todo: list[tuple[object, Any, Mapping[str, object]]] = [(answer, None, {})]
    while todo:
        value, path, entry = todo.pop()
        if isinstance(value, str):
            text = value.strip()
            inner = json_in(text)
            if inner is not None:
                todo.append((inner, path, entry))
            elif path is not None and _may_be_address(text):
                parts = addresses_in(text)
                paths = [path] if len(parts) == 1 else [(path, at) for at in range(len(parts))]
                yield from (_Leaf(part, its, entry) for part, its in zip(parts, paths, strict=True))
        elif isinstance(value, dict):
            todo += [(inner, (path, key), value) for key, inner in reversed(value.items()) if inner]
        elif isinstance(value, list):
            todo += [(value[at], (path, at), entry) for at in range(len(value) - 1, -1, -1)]


def _may_be_address(text: str) -> bool:
    return "/" in text or "." in text or text[:5].lower() == "data:"


@dataclass(frozen=True, slots=True)
class _Found:
    """A leaf, with its place in words."""

    leaf: _Leaf
    words: tuple[str, ...]
    """Of each key on the way, in `words_of`'s alphabet."""
    place: int | None
    """In the innermost list."""
    field: str
    url: str | None

    rules: Rules

    @classmethod
    def at(cls, leaf: _Leaf, rules: Rules) -> _Found | None:
        """Return the leaf with its place; None where it stands among inputs."""
        steps = _steps(leaf.path)
        words = tuple(words_of(step) for step in steps if isinstance(step, str))
        if any(map(rules.inputs.search, words)):
            return None
        place = next((step for step in reversed(steps) if isinstance(step, int)), None)
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{field_name(step)}" for step in steps)
        return cls(leaf, words, place, field.lstrip(".")[-_LONGEST_FIELD:].lstrip("."), address_of(leaf.text), rules)

    def judged(self) -> Iterator[Item | LeftOut]:
        """Yield the leaf as a file, as what is left out, or not at all where it is no address."""
        plain = joined(self._group() or self._name())
        is_address_by_key = plain in self.rules.known or any(_URL_WORD.search(word) for word in self.words[-1:])
        reason = "" if self.url else self._fault(is_address_by_key)
        if self.url is None and not reason:
            yield from self._within(is_address_by_key)
            return
        kind = self._kind(plain)
        if not kind and not is_address_by_key and re.search(r"\s", self.leaf.text):
            kind = "a text"
        if kind and _MEDIA.get(kind) not in self.rules.media:
            yield LeftOut(self.field, shown_url(self.leaf.text)[:MAX_TEXT], kind)
            return
        entry, media = self.leaf.entry, self.rules.media_of(self.words, self.leaf.text, kind)
        name = self._file_name(plain, media)
        yield Item(
            name=name,
            url=self.url or "",
            field=self.field,
            flat=True,
            known=self.rules.numbered or name in self.rules.known,
            id=id_of(entry.get("id")),
            duration=duration_of(entry.get("duration")),
            not_taken=reason,
            media=media,
        )

    def _within(self, is_address_by_key: bool) -> Iterator[Item | LeftOut]:
        """Yield an address that stands within a text, which is named and not taken."""
        found = _WITHIN.search(self.leaf.text)
        if found is None:
            return
        shown = shown_url(found[0])[:MAX_TEXT]
        if is_address_by_key:
            reason = f"an address within a text: {_shown(found[0])}"
            yield Item(joined(self._name()), "", self.field, flat=True, known=False, not_taken=reason)
        else:
            yield LeftOut(self.field, shown, "an address within a text")

    def _kind(self, name: str) -> str:
        """Return what the leaf is instead of audio: a stream by any key, all else by the innermost that tells."""
        if any(map(_STREAM.search, self.words)):
            return _A_STREAM
        kind = ""
        for word in reversed(self.words):
            kind = by_key(word)
            if kind or _AUDIO_WORD.search(word):
                break
        documented = not self.rules.numbered and name in self.rules.known
        return kind or ("" if documented else by_suffix(self.leaf.text))

    def _group(self) -> str:
        return slug_of(text_of(first_of(self.leaf.entry, "stem_type_group_name", "stemTypeGroupName", "stem_name")))

    def _name(self) -> str:
        names = (_URL_WORD.sub("", word) for word in self.words)
        return "_".join(name for name in names if not _GENERIC.fullmatch(name))

    def _file_name(self, plain: str, media: Media) -> str:
        if not self.rules.numbered or self._group():
            return joined(plain, str(self.place + 1)) if self.place else plain
        words = [word for each in self.words if (word := _URL_WORD.sub("", each)) and not _WRAPPER.fullmatch(word)]
        own = [word for word in words if not _GENERIC.fullmatch(word)]
        base = joined("_".join(own or words[-1:]) or media.value)
        return base if self.place is None else f"{base.removesuffix('s')[: MAX_NAME - 4]}-{self.place + 1:02}"

    def _fault(self, is_address_by_key: bool) -> str:
        """Return why the text cannot be requested; empty where it is no address at all."""
        text = self.leaf.text
        scheme = _SCHEME.match(text)
        if scheme is not None and (scheme[2] or is_address_by_key or scheme[1].lower() == "data"):
            return _fault_of(scheme[1].lower(), text)
        if is_address_by_key and _RELATIVE.match(text):
            return f"a URL that names no host: {_shown(text)}"
        return ""


def _fault_of(scheme: str, text: str) -> str:
    if scheme == "data":
        return f"data inside the record: {_shown(re.split('[;,]', text, maxsplit=1)[0])}"
    if scheme not in ("http", "https"):
        return f"a URL that is not by http: {_shown(text)}"
    if len(text) > MAX_URL:
        return f"a URL of {len(text)} characters, {MAX_URL} at most can be asked for: {_shown(text)}"
    return f"no URL that can be asked for: {_shown(text)}"


def _shown(text: str) -> str:
    """Return `text` with nothing secret in it, the same when it is shown again."""
    return printable(scrub(re.split(r"[?#]", text, maxsplit=1)[0])[:_LONGEST_FIELD], "\N{REPLACEMENT CHARACTER}")


def _steps(path: Any) -> list[str | int]:  # noqa: ANN401  a linked list, the last first
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]
