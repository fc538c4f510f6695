"""Reading the provider's record-info: which audio it names, and how far the task is.

Every byte here comes from outside. Reading never raises but for NotAnAnswer, and no URL query, fragment,
password or path token gets into a name, a message or the document.

What counts as audio: each http(s) string under a `*Url` / `*_url` key of `response` (or of a callback's
`vocal_separation_info` / `vocal_removal_info`), and each item of `originData`, flat or nested by role
(`extract`, `remove`). A key nobody has heard of counts too, marked `known=False`: new stems have been added
before. Left out are only keys that name a callback or webhook, a stream (its hosts answer with empty
bodies), an image or a video.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, NoReturn
from urllib.parse import quote

from archiver.core.model import Phase, RecordInfo, StemName, StemSource

MAX_ANSWER: Final = 1 << 20
"""Bytes; a longer answer is not read. Real ones have a few thousand."""

MAX_STEMS: Final = 200
"""Stems that are taken from one record; the provider's largest separation has 12."""

MAX_URL: Final = 4096
"""Characters of a URL, once encoded; a longer one is no URL of the provider's."""

MAX_TEXT: Final = 500
MAX_NAME: Final = 64
_MAX_DEPTH: Final = 64
_LONGEST_INT: Final = 4096
"""Bits."""
_MAX_ITEMS: Final = 5 * MAX_STEMS

FLAT_STEMS: Final = (
    "vocal",
    "instrumental",
    "backing_vocals",
    "drums",
    "bass",
    "guitar",
    "piano",
    "keyboard",
    "percussion",
    "strings",
    "synth",
    "fx",
    "brass",
    "woodwinds",
    "origin",
)
"""The names that belong to documented fields of `response` (provider's docs); `origin` is the source mix."""


class NotAnAnswer(ValueError):
    """The body is no JSON object that could be an answer: HTML, cut short, too long, too deep, NaN."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every answer of the provider's API is wrapped in."""

    code: int | None
    """The body's own verdict, 200 for success; None when there is none."""
    msg: str
    """Scrubbed."""
    data: object
    """As it came; None when null or absent."""


def read_envelope(body: bytes) -> Envelope:
    """Open the envelope of an answer; raise NotAnAnswer, whose message is scrubbed. Judges no code."""
    if len(body) > MAX_ANSWER:
        raise NotAnAnswer(f"the answer is longer than {MAX_ANSWER} bytes")
    try:
        answer = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        begin = scrub(body[:MAX_TEXT].decode("utf-8", "replace"))[:80]
        raise NotAnAnswer(f"the answer is not JSON, it begins {begin!r}") from None
    if not isinstance(answer, dict):
        raise NotAnAnswer("the answer is JSON, but no object")
    return Envelope(code=_code(answer.get("code")), msg=scrub(_text(answer.get("msg"))), data=answer.get("data"))


def parse_record(body: bytes) -> RecordInfo:
    """Read the record inside the answer `body`; raise NotAnAnswer. The envelope's code is not looked at."""
    return record_of(read_envelope(body).data)


def record_of(data: object) -> RecordInfo:
    """Read an envelope's `data`; never raises. URLs are the truth and the flag is a hint.

    None is Phase.ABSENT. What cannot be understood is Phase.PENDING: asking again costs little.
    """
    if data is None:
        return RecordInfo(Phase.ABSENT)
    if not isinstance(data, dict):
        return RecordInfo(Phase.PENDING, document=document_of(data))
    flag = _flag(data)
    found = _audio_of(data)
    phase = _phase(flag)
    return RecordInfo(
        phase=phase,
        stems=_named(found, settled=phase is not Phase.PENDING),
        flag=flag,
        created_at=_moment(_first(data, "createTime", "create_time")),
        completed_at=_moment(_first(data, "completeTime", "complete_time")),
        error_code=_error_code(_first(data, "errorCode", "error_code")),
        error_message=scrub(_text(_first(data, "errorMessage", "error_message"))),
        document=document_of(data),
    )


# ---------------------------------------------------------------------- text and URLs

_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x9c|\x1b\\)?"  # OSC, DCS and kin: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_BLANK = re.compile(r"[\s\u2028\u2029]+")
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_URL_IN_TEXT = re.compile(r"([A-Za-z0-9+.-]{0,16})(?::(?:\\{0,4}/){2}|%3[Aa]%2[Ff]%2[Ff])(\S*)")
_QUERY_IN_TEXT = re.compile(r"\?[^\s?]*=\S*")
_BOT_TOKEN = re.compile(r"\bbot\d+(?::|%3[Aa])[\w-]+")
_LONGEST_HOST: Final = 255
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5}(?!\d))?")


def scrub(text: str) -> str:
    """Return `text` fit for logs: one printable line of at most MAX_TEXT characters.

    URLs are reduced to scheme and host (paths can hold tokens, Telegram's do), control characters and
    terminal escapes are removed.
    """
    return _bare(text).strip()[:MAX_TEXT].rstrip()


def _bare(text: str) -> str:
    """Return `text` printable and without URLs; looks twice, since an escape may have eaten a part of one."""
    return _without_urls(_printable(_without_urls(text)))


def _printable(text: str) -> str:
    return _BLANK.sub(" ", _UNPRINTABLE.sub("", _TERMINAL.sub("", text)))


def _without_urls(text: str) -> str:
    text = _URL_IN_TEXT.sub(lambda url: f"{url[1]}://{_host_of(url[2])}", text)
    return _BOT_TOKEN.sub("bot", _QUERY_IN_TEXT.sub("", text))


def _host_of(rest: str) -> str:
    """Return the host and port of a URL's text after its `//`."""
    authority = re.split(r"[/?#\\%]", rest, maxsplit=1)[0].rpartition("@")[2]
    host = _HOST.match(_ascii_host(authority))
    return host[0] if host else ""


_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,15})://(?P<authority>[^/?#\\]*)(?P<path>[^?#]*)(?P<query>(?:\?[^#]*)?)(?:#.*)?",
    re.DOTALL,
)


def shown_url(url: str) -> str:
    """Return `url` fit for logs and manifests: without query, fragment and userinfo, printable ASCII.

    A bot token in the path is taken out too. Text that is no URL is cut at its first `?` or `#` and scrubbed.
    """
    parts = _URL.fullmatch(url.strip())
    if parts is None:
        return scrub(re.split(r"[?#]", url, maxsplit=1)[0])
    path = re.sub(r"://[^/]*@", "://", _BOT_TOKEN.sub("bot", parts["path"]))
    return f"{parts['scheme'].lower()}://{_host_of(parts['authority'])}{_encoded(path)}"[:MAX_URL]


def host_of(url: str) -> str:
    """Return the host, and the port if any, that a URL names, in lower case; empty where it names none."""
    parts = _URL.fullmatch(url.strip())
    return "" if parts is None else _host_of(parts["authority"]).lower()


def usable_url(text: str) -> str | None:
    """Return `text` as it must be requested, percent-encoded once, without fragment; None if it is no http(s) URL."""
    parts = _URL.fullmatch(text.strip())
    if parts is None or parts["scheme"].lower() not in ("http", "https"):
        return None
    userinfo, at, host = parts["authority"].rpartition("@")
    host = _ascii_host(host)
    if not _HOST.fullmatch(host) or parts["path"][:1] not in ("", "/"):
        return None
    url = f"{parts['scheme'].lower()}://{_encoded(userinfo)}{at}{host}{_encoded(parts['path'] + parts['query'])}"
    return url if len(url) <= MAX_URL else None


def _ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else host[:_LONGEST_HOST].encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _encoded(text: str) -> str:
    """Percent-encode what may not stand in a URL; escapes that stand there already are left."""
    whole = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(whole, safe="%/:?#@!$&'()*+,;=~-._", errors="surrogatepass")


# ---------------------------------------------------------------------- the document

_URL_KEY = re.compile(r"(?i)(?:url|uri|link|href)s?$")
_CALLBACK_KEY = re.compile(r"(?i)call_?back|web_?hook")
_MESSAGE_KEY = re.compile(r"(?i)(?:message|msg|reason)$")


def document_of(data: object) -> str:
    """Return `data` as ASCII JSON in its own order, with nothing secret left in it; never raises.

    URLs stand without query, fragment and userinfo, callback URLs and those inside free text as scheme
    and host; messages are scrubbed, and so is JSON inside strings. What no JSON can hold becomes null.
    """
    return json.dumps(_cleaned(data, "", _MAX_DEPTH), ensure_ascii=True)


def _cleaned(value: object, key: str, depth: int) -> object:
    if isinstance(value, str):
        return _cleaned_text(value, key, depth)
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {_hidden(name): _cleaned(item, name, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, key, depth - 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):  # Python refuses to print integers of more than 4300 digits
        return value if value.bit_length() <= _LONGEST_INT else None
    return None


def _cleaned_text(text: str, key: str, depth: int) -> str:
    if _MESSAGE_KEY.search(key):
        return scrub(text)
    inner = _json_inside(text) if depth else None
    if inner is not None:
        # ASCII only at the outermost level: escapes of escapes double with every level of nesting.
        return json.dumps(_cleaned(inner, key, depth - 1), ensure_ascii=False)
    if _CALLBACK_KEY.search(key):
        return scrub(re.split(r"[?#]", text, maxsplit=1)[0])
    if _URL_KEY.search(key) or re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*://", text):
        return shown_url(text)
    return _hidden(text)


def _hidden(text: str) -> str:
    """Return `text` as it came, or printable and without its URLs when it holds any, however disguised."""
    bare = _bare(text)
    return text if bare == _printable(text) and _without_urls(text) == text else bare


def _json_inside(text: str) -> dict[str, object] | list[object] | None:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None


# ---------------------------------------------------------------------- the audio


@dataclass(frozen=True, slots=True)
class _Audio:
    """A URL that may be audio, before it has its final name."""

    name: str
    url: str
    field: str
    flat: bool = False
    known: bool = True
    id: str = ""
    duration: float | None = None


_NO_AUDIO = re.compile(r"(?:^|_)(?:(?:call_?back|web_?hook)$|(?:stream|streaming|images?|videos?)(?:_|$))")
_AUDIO_KEYS: Final = ("audio", "")
_SHORTEST_TELLING_ID: Final = 16
_LARGEST_ID: Final = 1 << 64


def _audio_of(data: Mapping[str, object]) -> list[_Audio]:
    """Return the union of all that `data` names, documented fields first, at most MAX_STEMS."""
    flat: dict[tuple[str, str], _Audio] = {}
    items: dict[str, _Audio] = {}
    for answer in _answers(data):
        for audio in _flat_audio(answer):
            flat.setdefault((audio.name, audio.url), audio)
        for audio in _origin_audio(answer):
            items.setdefault(audio.url, audio)
    fields = sorted(flat.values(), key=_field_order)[:MAX_STEMS]
    return _merged(fields, islice(items.values(), _MAX_ITEMS))[:MAX_STEMS]


def _answers(data: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the objects that may list audio: the record's `response`, and what callbacks call it."""
    response = _object(data.get("response"))
    yield response
    for outer in (data, response):
        for key in ("vocal_separation_info", "vocalSeparationInfo", "vocal_removal_info", "vocalRemovalInfo"):
            yield _object(outer.get(key))


def _flat_audio(answer: Mapping[str, object]) -> Iterator[_Audio]:
    for key, name, url in _urls_in(answer):
        stem = _joined(_slug(name))
        yield _Audio(stem, url, _field(key), flat=True, known=stem in FLAT_STEMS)


def _origin_audio(answer: Mapping[str, object]) -> Iterator[_Audio]:
    for key in ("originData", "origin_data"):
        listed = answer.get(key)
        items = listed if isinstance(listed, list) else [listed]
        for index, item in enumerate(items[:_MAX_ITEMS]):
            yield from _item_audio(item, f"{key}[{index}]")


def _item_audio(item: object, field: str) -> Iterator[_Audio]:
    """Yield what one item of originData names: itself, and each of its roles."""
    if isinstance(item, str):
        item = {"audio_url": item}
    if not isinstance(item, dict):
        return
    yield from _entry_audio(item, field, role="")
    for role, entry in item.items():
        if isinstance(entry, dict):
            yield from _entry_audio(entry, f"{field}.{_field(role)}", role=role)


def _entry_audio(entry: Mapping[str, object], field: str, *, role: str) -> Iterator[_Audio]:
    group = _slug(_text(_first(entry, "stem_type_group_name", "stemTypeGroupName")))
    tail = {"": "", "extract": "", "remove": "removed"}.get(role, _slug(role))
    for key, name, url in _urls_in(entry):
        documented = name in _AUDIO_KEYS
        yield _Audio(
            name=_joined(group, tail, "" if documented else _slug(name)),
            url=url,
            field=field if documented else f"{field}.{_field(key)}",
            known=documented and role in ("", "extract", "remove"),
            id=_id(entry.get("id")) if documented else "",
            duration=_duration(entry.get("duration")),
        )


def _urls_in(entry: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield key, name (the key without `Url`) and encoded URL of each string that may be audio."""
    for key, value in entry.items():
        words = _words(key)
        name = words.removesuffix("url").strip("_")
        if not isinstance(value, str) or not words.endswith("url") or _NO_AUDIO.search(name):
            continue
        url = usable_url(value)
        if url is not None:
            yield key, name, url


def _field_order(audio: _Audio) -> tuple[int, str]:
    known = FLAT_STEMS.index(audio.name) if audio.known else len(FLAT_STEMS)
    return known, audio.field


def _merged(fields: list[_Audio], items: Iterable[_Audio]) -> list[_Audio]:
    """Return `fields`, with the durations their twins tell, and the items that have no twin among them.

    A twin has the same URL, or an id that stands in a field's file name (in the docs' examples the items'
    URLs are placeholders). An id that two items share says nothing about which file it is.
    """
    items = list(items)
    uses = Counter(item.id for item in items)
    file_names = [shown_url(field.url).rpartition("/")[2] for field in fields]
    merged = list(fields)
    for item in items:
        telling = len(item.id) >= _SHORTEST_TELLING_ID and uses[item.id] == 1
        twins = [
            at for at, field in enumerate(fields) if field.url == item.url or (telling and item.id in file_names[at])
        ]
        for at in twins:
            merged[at] = replace(merged[at], duration=merged[at].duration or item.duration)
        if not twins:
            merged.append(item)
    return merged


# ---------------------------------------------------------------------- names


def _named(found: list[_Audio], *, settled: bool) -> tuple[StemSource, ...]:
    """Give each audio its name: unique, and the same whenever and in whatever order the record lists it.

    A field owns its plain name. An item takes it only when nothing else may ever claim it: where two items
    share a name, each gets a suffix, and so does one named like a documented field that is yet to be filled.
    """
    owners = {audio.name: audio for audio in reversed(found) if audio.flat}
    claims = Counter(audio.name for audio in found)
    names: dict[_Audio, str] = {}
    crowd = []
    for audio in found:
        awaited = audio.name in FLAT_STEMS and not settled
        if owners.get(audio.name) == audio or (claims[audio.name] == 1 and not awaited):
            names[audio] = audio.name
        else:
            crowd.append(audio)
    taken = set(names.values())
    for audio in sorted(crowd, key=lambda audio: (audio.name, _suffixes(audio))):
        names[audio] = _free_name(audio, taken)
        taken.add(names[audio])
    return tuple(_source(names[audio], audio) for audio in found)


def _source(name: str, audio: _Audio) -> StemSource:
    return StemSource(name=StemName(name), url=audio.url, field=audio.field, duration=audio.duration, known=audio.known)


def _suffixes(audio: _Audio) -> tuple[str, str]:
    """Return what tells this audio from its namesakes, the better first: its id, the hash of its shown URL."""
    digest = hashlib.sha256(shown_url(audio.url).encode()).hexdigest()[:8]
    return re.sub(r"[^a-z0-9]", "", audio.id.lower())[:8] or digest, digest


def _free_name(audio: _Audio, taken: set[str]) -> str:
    for suffix in _suffixes(audio):
        name = _joined(audio.name, suffix)
        if name not in taken:
            return name
    return next(name for count in range(2, MAX_STEMS + 2) if (name := _joined(audio.name, str(count))) not in taken)


_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _words(text: str) -> str:
    """Return `text` as lower-case ASCII words joined by `_`: `backingVocals` as `backing_vocals`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", _WORD_STARTS.sub("_", plain).lower()).strip("_")


def _joined(name: str, *tails: str) -> str:
    """Return `name` and `tails` joined by `_`, at most MAX_NAME characters, never empty nor a sidecar's name."""
    tail = "".join(f"_{part}" for part in tails if part)[: MAX_NAME // 2]
    base = name[: MAX_NAME - len(tail)].strip("_") or "stem"
    whole = f"{base}{tail}"
    return "stem_manifest" if whole == "manifest" else whole


def _slug(text: str) -> str:
    return _words(scrub(text))


def _field(key: str) -> str:
    """Return a key as it may be shown: no more than a word of a path, and no less."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", scrub(key))[:MAX_NAME] or "_"


# ---------------------------------------------------------------------- flags, codes, times


def _flag(data: Mapping[str, object]) -> str:
    raw = _first(data, "successFlag", "success_flag", "status")
    if isinstance(raw, str):
        return scrub(raw)[:MAX_NAME]
    number = _code(int(raw) if isinstance(raw, bool) else raw)
    return "" if number is None else str(number)


_PHASE_OF_NUMBER: Final = {"0": Phase.PENDING, "1": Phase.DONE, "2": Phase.PENDING, "3": Phase.FAILED}
"""The sibling endpoints' integers; they disagree about 2 (still running, or failed): asking again settles it."""


def _phase(flag: str) -> Phase:
    """Read the flag. One that nobody has heard of is PENDING."""
    word = flag.upper()
    # CALLBACK_EXCEPTION: the webhook could not be delivered; the audio exists, and was billed.
    if word in ("SUCCESS", "CALLBACK_EXCEPTION"):
        return Phase.DONE
    if word == "FAIL" or "FAILED" in word or "ERROR" in word:
        return Phase.FAILED
    return _PHASE_OF_NUMBER.get(word, Phase.PENDING)


_LARGEST_CODE: Final = 1_000_000
_NO_ERROR: Final = frozenset({0, 200})


def _code(value: object) -> int | None:
    """Return an integer, also one spelled as text; None for all else."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,6}\s*", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_CODE:
        return None
    return int(value) if value == int(value) else None


def _error_code(value: object) -> int | None:
    code = _code(value)
    return None if code in _NO_ERROR else code


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_LARGEST_SECONDS: Final = 10_000_000_000
_LONGEST_TIME: Final = 40


def _moment(value: object) -> datetime | None:
    """Read a time: epoch milliseconds or seconds, as number or text, or ISO 8601 (UTC where it names no zone).

    None for all else, and for what lies outside the years 2000 to 2099.
    """
    try:
        moment = _any_moment(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment is not None and _EARLIEST <= moment < _LATEST else None


def _any_moment(value: object) -> datetime | None:
    if isinstance(value, str) and len(value) <= _LONGEST_TIME:
        text = value.strip()
        if not re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", text):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        value = float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    span = timedelta(seconds=value) if abs(value) < _LARGEST_SECONDS else timedelta(milliseconds=value)
    return _EPOCH + span


def _duration(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _id(value: object) -> str:
    return str(value) if isinstance(value, int) and abs(value) < _LARGEST_ID else _text(value)[:MAX_TEXT]


def _object(value: object) -> Mapping[str, object]:
    """Return an object, also one that came as JSON inside a string; an empty one for all else."""
    inner = _json_inside(value) if isinstance(value, str) else value
    return inner if isinstance(inner, dict) else {}


def _first(entry: Mapping[str, object], *keys: str) -> object:
    """Return the first value that is neither null nor blank."""
    values = (entry.get(key) for key in keys)
    return next(
        (value for value in values if value is not None and not (isinstance(value, str) and not value.strip())), None
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
