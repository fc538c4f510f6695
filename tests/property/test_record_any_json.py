"""Whatever JSON the provider sends, reading it ends, and what is read keeps its promises."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from archiver.core.model import Phase, RecordInfo
from archiver.core.records.document import document_of
from archiver.core.records.envelope import NotAnAnswer, read_envelope
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.record import record_of
from archiver.core.text import MAX_URL, is_address, scrub, shown_url, usable_url

SECRET = "s3cr3t" + "T0ken" * 2  # in two pieces: hypothesis draws the constants that it finds in a module
KEYS = st.sampled_from(
    [
        "response",
        "originData",
        "origin_data",
        "extract",
        "remove",
        "audio_url",
        "audioUrl",
        "id",
        "duration",
        "stem_type_group_name",
        "stemTypeGroupName",
        "vocalUrl",
        "vocal_url",
        "originUrl",
        "drumsUrl",
        "kazooUrl",
        "imageUrl",
        "callbackUrl",
        "successFlag",
        "status",
        "createTime",
        "completeTime",
        "errorCode",
        "errorMessage",
        "vocal_removal_info",
        "vocal_separation_info",
        "param",
        "resultUrls",
        "url",
        "msg",
        "sunoData",
        "data",
        "title",
        "prompt",
        "text",
        "lyricsData",
        "source_audio_url",
        "streamAudioUrl",
        "midiData",
        "instruments",
        "alignedWords",
        "resultObject",
        "images",
    ]
)
ANY_TEXT = st.text(st.characters(), max_size=30)
"""Lone surrogates included: JSON can spell them."""

SAFE = st.text("abcXYZ019_-. é人%\x1b\x00\u202e", max_size=12)
HOSTS = st.sampled_from(["a.test", "b.test:8080", "exämple.test", "[2001:db8::1]", "127.0.0.1"])


@st.composite
def secret_urls(draw: st.DrawFn) -> str:
    """Draw a URL with SECRET where no path is: query, fragment or userinfo."""
    userinfo, query, fragment = draw(
        st.sampled_from(
            [("", f"?sig={SECRET}", ""), ("", "", f"#{SECRET}"), (f"u:{SECRET}@", "", ""), (f"{SECRET}@", "?a=b", "#c")]
        )
    )
    scheme = draw(st.sampled_from(["https", "http", "HTTPS", "ftp", "s3"]))
    path = draw(SAFE)
    if not query:  # in free text a blank ends a URL, so that only what looks like a query is known to belong to it
        path = path.replace(" ", "-")
    return f"{scheme}://{userinfo}{draw(HOSTS)}/{path}{query}{fragment}"


@st.composite
def texts_with_urls(draw: st.DrawFn) -> str:
    return f"{draw(SAFE)} {draw(secret_urls())} {draw(SAFE)}"


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, 1753782854000, 0, 3])
    | st.floats()
    | ANY_TEXT
    | secret_urls()
    | texts_with_urls()
    | st.sampled_from(["SUCCESS", "PENDING", "CALLBACK_EXCEPTION", "GENERATE_AUDIO_FAILED", "2025-07-29 09:54:14"])
    | st.sampled_from(["Lead Vocal", "manifest", "Synth", "3d7021c9-fa8b-4eda-91d1-3b9297ddb172"])
)


def _and_as_text(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return values | values.map(lambda value: json.dumps(value) if _printable(value) else None)


def _printable(value: object) -> bool:
    try:
        json.dumps(value)
    except ValueError:
        return False
    return True


ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: _and_as_text(st.lists(inner, max_size=5) | st.dictionaries(KEYS | ANY_TEXT, inner, max_size=8)),
    max_leaves=12,
)
ENTRIES = st.dictionaries(KEYS | SAFE.map(lambda text: f"{text}Url"), LEAVES, max_size=5)
ITEMS = ENTRIES | st.fixed_dictionaries({"extract": ENTRIES, "remove": ENTRIES})
RECORDS = st.fixed_dictionaries(
    {
        "response": st.builds(
            lambda fields, items: fields | {"originData": items}, ENTRIES, st.lists(ITEMS, max_size=6)
        ),
        "successFlag": LEAVES,
        "createTime": LEAVES,
        "errorMessage": LEAVES,
        "callbackUrl": secret_urls(),
    }
)

NAME_OF_ANY_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,80}")
NAME = re.compile(r"[a-z0-9_]{1,64}")
CLEAN_URL = re.compile(r"https?://[!-~]+")


def assert_sound(record: RecordInfo) -> None:
    names = [stem.name for stem in record.stems]
    assert len(names) == len(set(names)) <= 201
    for stem in record.stems:
        assert (NAME if record.kind is KindName.SEPARATION else NAME_OF_ANY_KIND).fullmatch(stem.name)
        assert stem.name not in ("manifest", "record-info")
        assert [bool(stem.url), bool(stem.not_taken), stem.content is not None].count(True) == 1
        assert (stem.content is not None) == (stem.media is Media.TEXT) == bool(stem.written_as)
        if stem.url:
            assert CLEAN_URL.fullmatch(stem.url)
            assert len(stem.url) <= MAX_URL
            assert usable_url(stem.url) == stem.url
        elif stem.not_taken:
            assert not is_address(stem.not_taken)
            assert SECRET not in stem.not_taken
            assert stem.not_taken.isprintable()
            assert shown_url(stem.not_taken) == stem.not_taken
        assert re.fullmatch(r"[A-Za-z0-9_\[\].-]+", stem.field)
        assert stem.duration is None or 0 < stem.duration < float("inf")
        assert SECRET not in shown_url(stem.url)
        assert SECRET not in stem.name + stem.field
    for left in record.left_out:
        assert SECRET not in left.field + left.url
        assert left.url.isprintable()
    for moment in (record.created_at, record.completed_at):
        assert moment is None or datetime(2000, 1, 1, tzinfo=UTC) <= moment < datetime(2100, 1, 1, tzinfo=UTC)
    for text in (record.error_message, record.flag):
        assert len(text) <= 500
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]", text)
        assert SECRET not in text
    assert record.document.isascii()
    assert SECRET not in record.document
    if record.document:
        json.dumps(json.loads(record.document), allow_nan=False)


KINDS = st.sampled_from(KindName)


@given(ANY_JSON, KINDS)
def test_any_json_is_read_soundly_as_any_kind(data: object, kind: KindName) -> None:
    record = record_of(data, kind)
    assert_sound(record)
    assert repr(record_of(data, kind)) == repr(record)


@given(ANY_JSON, KINDS)
def test_anything_shaped_like_a_record_of_any_kind_is_read_soundly(result: object, kind: KindName) -> None:
    shaped = {"state": "success", "resultJson": result, "response": {"data": result, "sunoData": [result]}}
    assert_sound(record_of(shaped, kind))


@given(ANY_JSON)
@example(None)
@example({"response": {"originData": [{"extract": {"remove": {}}}]}})
@example({"successFlag": float("nan"), "errorCode": float("inf"), "createTime": -(10**400)})
def test_any_json_is_read_soundly(data: object) -> None:
    record = record_of(data)
    assert_sound(record)
    assert (record.phase is Phase.ABSENT) == (data is None)


@given(RECORDS)
@example({"response": {"\x1b_Url": "https://a.test/"}})  # an escape that swallows the whole key
def test_anything_shaped_like_a_record_is_read_soundly(data: dict[str, object]) -> None:
    assert_sound(record_of(data))


@given(RECORDS)
def test_reading_twice_gives_the_same(data: dict[str, object]) -> None:
    assert repr(record_of(data)) == repr(record_of(data))


@given(st.dictionaries(st.sampled_from(["vocalUrl", "drumsUrl", "kazooUrl", "vocal_url"]), HOSTS))
def test_names_survive_any_reordering(hosts: dict[str, str]) -> None:
    fields: dict[str, object] = {key: f"https://{host}/{key}" for key, host in hosts.items()}
    items = [
        {"audio_url": f"https://i.test/{number}", "stem_type_group_name": "Vocal", "id": f"{number}" * 20}
        for number in range(4)
    ]
    one = record_of({"response": fields | {"originData": items}})
    other = record_of({"response": {"originData": items[::-1]} | dict(reversed(fields.items()))})
    assert {stem.name: stem.url for stem in one.stems} == {stem.name: stem.url for stem in other.stems}
    assert len(one.stems) == len(fields) + len(items)


@given(st.binary(max_size=300) | ANY_JSON.filter(_printable).map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_called_no_answer(body: bytes) -> None:
    outcome = _read(body)
    if isinstance(outcome, RecordInfo):
        assert_sound(outcome)
    else:
        assert SECRET not in outcome
        assert outcome.isprintable()


def _read(body: bytes) -> RecordInfo | str:
    try:
        return record_of(read_envelope(body).data)
    except NotAnAnswer as fault:
        return str(fault)


@given(st.dictionaries(ANY_TEXT, LEAVES, max_size=6).filter(_printable))
def test_document_keeps_what_holds_no_url(data: dict[str, object]) -> None:
    plain = {
        key: value
        for key, value in data.items()
        if not re.search(
            r"(?i)://|%3a|url|uri|link|href|callback|webhook|message|msg|reason|bot|\?.*=", f"{key}{value}"
        )
        and value == value  # noqa: PLR0124 - NaN equals nothing
        and value not in (float("inf"), float("-inf"))
        and not (isinstance(value, str) and value.lstrip()[:1] in ("{", "["))
    }
    kept = json.loads(document_of(plain))
    assert kept == plain
    assert list(kept) == list(plain)


@given(ANY_TEXT | secret_urls() | texts_with_urls())
def test_shown_url_of_any_text_has_no_query_and_no_secret(text: str) -> None:
    shown = shown_url(text)
    assert "?" not in shown
    assert "#" not in shown
    assert SECRET not in shown


@given(secret_urls())
def test_shown_url_of_a_usable_url_is_usable_and_stable(url: str) -> None:
    usable = usable_url(url)
    if usable is not None:
        shown = shown_url(usable)
        assert CLEAN_URL.fullmatch(shown)
        assert usable_url(shown) == shown_url(shown) == shown


@given(st.lists(ANY_TEXT | secret_urls() | st.sampled_from(["\x1b[31m", "\x9b1m", "\x1b]0;", "\x07", "\u200b"])))
def test_scrub_of_any_text_is_one_printable_line_without_secrets(pieces: list[str]) -> None:
    scrubbed = scrub(" ".join(pieces))
    assert len(scrubbed) <= 500
    assert SECRET not in scrubbed
    assert scrubbed.encode().decode() == scrubbed
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", scrubbed)


@st.composite
def nested_urls(draw: st.DrawFn) -> tuple[object, set[str]]:
    """Draw any JSON around http(s) URLs, with those that stand in it."""
    found: set[str] = set()

    def url(path: str) -> str:
        found.add(f"https://cdn.test/{path}")
        return f"https://cdn.test/{path}"

    urls = st.text("abcdefghij019_", min_size=1, max_size=9).map(url)
    common = "stems vocalUrl urls a image originData audio_url extract x-y sunoData id data images sourceAudioUrl"
    rarer = "streamAudioUrl imageUrl resultUrls resultObject instruments text"
    keys = st.sampled_from([*common.split(), *rarer.split()])
    value = draw(
        st.recursive(
            urls | st.none() | st.integers(),
            lambda inner: _and_as_text(st.lists(inner, max_size=4) | st.dictionaries(keys | SAFE, inner, max_size=5)),
            max_leaves=20,
        )
    )
    return value, {each for each in found if each in json.dumps(value)}


@given(nested_urls(), KINDS, st.sampled_from(["response", "resultJson"]), st.booleans())
def test_every_url_in_a_result_is_listed_or_named(
    drawn: tuple[object, set[str]], kind: KindName, place: str, as_text: bool
) -> None:
    value, found = drawn
    result: object = {"any": value} if kind is KindName.SEPARATION else value
    if kind is KindName.SEPARATION:
        place = "response"
    record = record_of({place: json.dumps(result) if as_text else result, "successFlag": "SUCCESS"}, kind)
    named = {stem.url for stem in record.stems} | {left.url for left in record.left_out}
    assert {url for url in found if f'"{url}"' in json.dumps(value).replace("\\", "")} <= named
