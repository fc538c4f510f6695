from __future__ import annotations

import base64
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.core.redaction import MASK, Cleaner
from archiver.logs import Format, configure

SECRETS = [
    "sk-live-0123456789abcdef",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "IQoJb3JpZ2luX2VjEPT+/wEaCXVzLWVhc3QtMSJH",
    "p@ss:w/rd?&=#%",
    "quo\"te\\and'tick",
    "zwölf Böxer",
    "12345678901",
    "callback~token.value",
    "with space and +plus",
    "line\none\x1bend",
]

SPELLINGS: list[Callable[[str], str]] = [
    str,
    quote,
    quote_plus,
    lambda secret: quote(secret, safe=""),
    lambda secret: base64.b64encode(secret.encode()).decode(),
    lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    lambda secret: base64.b64encode(f"me:{secret}:more".encode()).decode(),
    json.dumps,
    repr,
    lambda secret: f"https://user:{secret}@host/path",
    lambda secret: f"https://host/a b.mp3?signature={quote(secret)}&x={secret}#{secret}",
    lambda secret: f"Authorization: Bearer {secret}",
]


class Odd:
    """An object that shows what it is given."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no face")


planted = st.builds(
    lambda before, secret, spelling, after: f"{before}{spelling(secret)}{after}",
    st.text(max_size=20),
    st.sampled_from(SECRETS),
    st.sampled_from(SPELLINGS),
    st.text(max_size=20),
)
leaves = st.one_of(
    planted,
    st.text(),
    planted.map(lambda text: text.encode("utf-8", "surrogatepass")),
    planted.map(ValueError),
    planted.map(Odd),
    planted.map(lambda text: Path(text.replace("\0", ""))),
    st.just(12345678901),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.datetimes(),
    st.timedeltas(),
    st.just(Broken()),
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(st.one_of(planted, st.text()), inner, max_size=3)
    ),
    max_leaves=12,
)
field_names = st.text(alphabet="abcdefgh_", min_size=1, max_size=8).map("f_".__add__)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


def holds_a_secret(text: str) -> bool:
    return any(spelling(secret) in text for secret in SECRETS for spelling in SPELLINGS[:6])


def strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield from strings(key)
                yield from strings(inner)
        case list():
            for inner in value:
                yield from strings(inner)


@pytest.mark.parametrize("style", ["json", "console"])
@given(data=st.data())
def test_no_planted_secret_and_no_control_character_reaches_the_output(style: Format, data: st.DataObject) -> None:
    stream = io.StringIO()
    log = configure("debug", style, stream, secrets=SECRETS)
    fields = data.draw(st.dictionaries(field_names, nested, max_size=4))
    error = data.draw(planted)
    log.error("task.failed", **fields, exc_info=ValueError(error))
    logging.getLogger("httpx").warning(error.replace("%", "%%"))

    output = stream.getvalue()
    assert not holds_a_secret(output)
    assert all(line.isprintable() for line in output.split("\n"))
    if style == "json":
        events = [json.loads(line) for line in output.splitlines()]
        assert len(events) == 2
        assert all(not holds_a_secret(text) and len(text) <= 2_000 for event in events for text in strings(event))
    else:
        assert sum(not line.startswith("    ") for line in output.splitlines()) == 2


@given(
    st.text(), st.text(alphabet=st.characters(exclude_characters='<>" ', exclude_categories=["Cc", "Z"]), min_size=1)
)
@example("https://host", "x=1)")
def test_query_of_a_url_is_dropped(before: str, query: str) -> None:
    marked = f"QUERY{query}QUERY"
    cleaned = Cleaner([]).text(f"{before} https://host/path?{marked} after")
    assert "QUERY" not in cleaned
    assert "https://host/path" in cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("https://h/p", "https://h/p"),
        ("https://u:p@h:1/p?q#f", "https://h:1/p"),
        ("https://u:p@ss@h/p", "https://h/p"),
        ("(see https://h/p?q=1).", "(see https://h/p)."),
        ("'https://h/p?q=1'", "'https://h/p'"),
        ('{"url": "https://h/p?q=1", "n": 2}', '{"url": "https://h/p", "n": 2}'),
        ("https://h/a_Lead Vocal.mp3?sig=1&e=2 and on", "https://h/a_Lead Vocal.mp3 and on"),
        ("GET /api/v1/x?taskId=1 HTTP/1.1", "GET /api/v1/x HTTP/1.1"),
        ("socks5://u:p@h", "socks5://h"),
        ("Bearer abc.def", "Bearer ***"),
        ("really? yes & no", "really? yes & no"),
        ("a\nb\tc\x1b[31m\x7f\x9b", "a\\nb\\tc\\x1b[31m\\x7f\\x9b"),
        ("\u202egnp.exe\u2066 \u2028", "\\u202egnp.exe\\u2066 \\u2028"),
        ("\ud800", "\\ud800"),
        ("Ünïcode 日本語", "Ünïcode 日本語"),
    ],
)
def test_text_is_cleaned_to_one_readable_line(text: str, cleaned: str) -> None:
    assert Cleaner([]).text(text) == cleaned


def test_long_text_is_cut_and_its_length_told() -> None:
    cut = Cleaner([]).text("x" * 5_000)
    assert len(cut) <= 2_000
    assert cut.endswith("... (5000 characters)")
    assert Cleaner([]).text("x" * 2_000) == "x" * 2_000


def test_secret_is_masked_before_a_long_text_is_cut() -> None:
    assert "secret" not in Cleaner(["secret-value"]).text("x" * 1_954 + "secret-value" + "x" * 100)


def test_secret_that_another_contains_leaves_no_rest() -> None:
    assert Cleaner(["abcd", "abcdefgh"]).text("abcdefgh abcd") == f"{MASK} {MASK}"


def test_secret_that_appears_only_after_a_control_character_was_made_visible_is_masked() -> None:
    assert Cleaner(["pass\\x00word"]).text("pass\x00word") == MASK


@given(st.binary(max_size=9), st.sampled_from(SECRETS), st.binary(max_size=9))
def test_secret_inside_longer_base64_leaves_nothing_but_its_neighbours(
    before: bytes, secret: str, after: bytes
) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        cleaned = Cleaner([secret]).text(encode(before + secret.encode() + after).decode())
        assert MASK in cleaned
        assert len(cleaned.replace(MASK, "").rstrip("=")) <= (len(before) + len(after)) * 4 / 3 + 4


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("spelling", [json.dumps, lambda secret: json.dumps(secret, ensure_ascii=False), repr, quote])
def test_secret_in_another_spelling_is_masked_whole(secret: str, spelling: Callable[[str], str]) -> None:
    assert Cleaner([secret]).text(spelling(secret)).strip("\"'") == MASK


def test_short_secret_in_base64_is_masked() -> None:
    assert Cleaner(["pass"]).text(base64.b64encode(b"pass").decode().rstrip("=")) == MASK


def test_secret_with_a_question_mark_leaves_no_half_behind_when_the_url_is_cut() -> None:
    assert Cleaner(["half?rest"]).text("http://user:half?rest@host/path") == "http://host/path"


def test_secret_too_short_to_be_one_leaves_ordinary_words_alone() -> None:
    assert Cleaner(["aaa", ""]).text("aaaa") == "aaaa"
    assert Cleaner(["aaaa"]).text("aaaa") == MASK


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (datetime(2026, 11, 23, tzinfo=UTC), "2026-11-23T00:00:00+00:00"),
        (date(2026, 11, 23), "2026-11-23"),
        (timedelta(seconds=1.5), "1.5s"),
        (Path("/a/b"), "/a/b"),
        (b"a\xff", "a\\xff"),
        (ValueError("x"), "ValueError: x"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (True, True),
        (None, None),
        (1.5, 1.5),
        ((1, "a\n"), [1, "a\\n"]),
        ({1: {"b"}}, {"1": ["b"]}),
        (Broken(), "<unprintable Broken>"),
    ],
)
def test_value_becomes_plain_json(value: object, cleaned: object) -> None:
    assert Cleaner([]).value(value) == cleaned


def test_value_too_long_to_be_told_costs_no_line() -> None:
    assert Cleaner([]).value({"n": 10**5_000}) == {"n": "<unprintable int>"}


def test_value_that_holds_itself_comes_to_an_end() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert "..." in json.dumps(Cleaner([]).value(ring))


def test_text_of_megabytes_is_cleaned_in_good_time() -> None:
    hostile = "a" * 1_000_000 + "https://" + "?" * 100_000 + "&x" * 100_000
    assert len(Cleaner(SECRETS).text(hostile)) <= 2_000


def test_value_is_shown_eight_levels_deep_and_no_further() -> None:
    def nested(levels: int) -> object:
        return [nested(levels - 1)] if levels else "end"

    assert json.dumps(Cleaner(()).value(nested(8))) == '[[[[[[[["end"]]]]]]]]'
    assert json.dumps(Cleaner(()).value(nested(9))) == '[[[[[[[["..."]]]]]]]]'
