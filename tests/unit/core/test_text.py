"""Text and URLs from outside, as they may be shown and requested."""

from __future__ import annotations

import time
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.text import (
    header_safe,
    host_of,
    printable,
    scrub,
    shown_url,
    usable_url,
    visible,
    without_queries,
)


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("https://a.test/Lead Vocal.mp3", "https://a.test/Lead%20Vocal.mp3"),
        ("https://a.test/Lead%20Vocal.mp3", "https://a.test/Lead%20Vocal.mp3"),
        ("https://a.test/100%.mp3", "https://a.test/100%25.mp3"),
        ("https://a.test/%zz%4", "https://a.test/%25zz%254"),
        ("https://a.test/ä/人.mp3", "https://a.test/%C3%A4/%E4%BA%BA.mp3"),
        ("https://a.test/\ud800", "https://a.test/%ED%A0%80"),
        ("https://a.test/a\r\nHost: b.test", "https://a.test/a%0D%0AHost:%20b.test"),
        ("https://a.test/\x00\x7f", "https://a.test/%00%7F"),
        ("\r\n\t https://a.test/x \n", "https://a.test/x"),
        ("https://a.test/x?sig=a+b%2Bc&e=1#frag", "https://a.test/x?sig=a+b%2Bc&e=1"),
        ("HTTPS://A.test/X", "https://A.test/X"),
        ("http://a.test:8080", "http://a.test:8080"),
        ("https://a.test:/x", "https://a.test/x"),
        ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443/x"),
        ("https://u:p@a.test/x", "https://u:p@a.test/x"),
        ("https://exämple.test/x", "https://xn--exmple-cua.test/x"),
        ("https://127\u30020\u30020\u30021/x", "https://127.0.0.1/x"),
    ],
)
def test_url_is_encoded_exactly_once(raw: str, url: str) -> None:
    assert usable_url(raw) == url
    assert usable_url(url) == url


def test_url_of_exactly_the_cap_is_usable() -> None:
    base = "https://a.test/"
    longest = base + "x" * (16384 - len(base))
    assert usable_url(longest) == longest
    assert usable_url(longest + "x") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/x.mp3?sig=SECRET#SECRET", "https://a.test/x.mp3"),
        ("https://SECRET:SECRET@a.test:8443/x", "https://a.test:8443/x"),
        ("https://a.test/Lead Vocal.mp3?x=SECRET ok", "https://a.test/Lead%20Vocal.mp3"),
        ("https://a.test#SECRET", "https://a.test"),
        ("https://a.test/file/bot123456:AA-SECRET_x/f.mp3", "https://a.test/file/bot/f.mp3"),
        ("https://a.test/bot123456%3ASECRET/f.mp3", "https://a.test/bot/f.mp3"),
        ("https://a.test/p/https://u:SECRET@b.test/y", "https://a.test/p/https://b.test/y"),
        ("https://exämple.test/x", "https://xn--exmple-cua.test/x"),
        ("ftp://u:SECRET@a.test/x?SECRET", "ftp://a.test/x"),
        ("a.test/x?sig=SECRET", "a.test/x"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://CDN.example.com/a.mp3?x=1", "cdn.example.com"),
        ("https://user:pw@cdn.example.com:8443/a.mp3", "cdn.example.com:8443"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]:80"),
        ("not a url", ""),
        ("", ""),
    ],
)
def test_host_of_a_url_is_in_lower_case_with_its_port_and_no_password(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Internal Error - Please try again later.", "Internal Error - Please try again later."),
        ("音频生成失败", "音频生成失败"),
        ("fetch https://api.telegram.org/file/bot1:SECRET/a.oga failed", "fetch https://api.telegram.org failed"),
        ("at https://u:SECRET@a.test:8080/p?q=SECRET, then", "at https://a.test:8080 then"),
        (r"at https:\/\/a.test\/SECRET?x", "at https://a.test"),
        ("at https%3A%2F%2Fa.test%2FSECRET", "at https://a.test"),
        ("at s3://a-bucket/SECRET", "at s3://a-bucket"),
        ("call a.test/cb?token=SECRET failed", "call a.test/cb failed"),
        ("call api.telegram.org/bot123:SECRET-x/y", "call api.telegram.org/bot/y"),
        ("ht\u200btps://a.test/SECRET", "https://a.test"),
        ("https://a.test/?x=\x1b[31mSECRET", "https://a.test"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07and\x9b1mbold\x1bc", "red andbold"),
        ("\x1b]8;;mailto:a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]8;;https://a.test/SECRET\x1b\\link\x1b]8;;\x1b\\ seen", ""),
        ("see \x1b s3://a.test/SECRET", "see 3://a.test"),
        ("see https\x1b://a.test/SECRET", "see https//a.test"),
        ("a\r\nb\tc\x00d\x08\x7f", "a b cd"),
        ("\u202egpj.exe\u2066\ufeff\ud800", "gpj.exe"),
        ("  ", ""),
    ],
)
def test_scrub(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


def test_scrub_caps_the_length() -> None:
    assert scrub("x" * 500) == "x" * 500
    assert scrub("x" * 10_000) == "x" * 500


@pytest.mark.parametrize("piece", ["a", "?", "?=", "\x1b[", "\x1b]", "\x9d", "a://", "bot1", "@", "\\", " ", "%3A"])
def test_scrub_takes_linear_time(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * count
        began = time.process_time()
        scrub(text)
        return time.process_time() - began

    once, four_times = (min(seconds(count) for _ in range(3)) for count in (1 << 14, 1 << 16))
    assert four_times <= 10 * once + 0.02, "quadratic would be sixteen times"


def test_unprintable_character_is_replaced_or_shown_as_its_escape() -> None:
    text = "a\n\u202eb\x1b ü"
    assert printable(text) == "a  b  ü"
    assert printable(text, "\N{REPLACEMENT CHARACTER}") == "a��b� ü"
    assert visible(text) == "a\\n\\u202eb\\x1b ü"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\U000e0100b", "a\\U000e0100b"),
        ("a\u2800b", "a\\u2800b"),
        ("a\u3164b\uffa0\u115f", "a\\u3164b\\uffa0\\u115f"),
        ("a\ufe0f\u034f\u180b", "a\\ufe0f\\u034f\\u180b"),
        ("a" + "\u0300" * 4, "a\u0300\u0300\\u0300\\u0300"),
        ("abc \u0645\u0644 123", "abc \\u0645\\u0644 123"),
        ("\u05e9 7 \u0667", "\\u05e9 7 \\u0667"),
        ("任务失败 Zoë é e\u0301 ñ Ж ไม่ नमस्ते", "任务失败 Zoë é e\u0301 ñ Ж ไม่ नमस्ते"),
    ],
)
def test_letter_that_a_terminal_would_hide_pile_up_or_reorder_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_visible_text_holds_nothing_that_hides_or_reorders(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert all(unicodedata.bidirectional(letter) not in {"R", "AL", "AN", "RLE", "RLO", "RLI"} for letter in shown)
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("(https://u:SECRET@a.test/p?x=SECRET).", "(https://a.test/p)."),
        ("GET /p?key=SECRET&x=SECRET done", "GET /p done"),
        ("https://a.test/p#SECRET end", "https://a.test/p end"),
        ("why? because", "why? because"),
    ],
)
def test_url_in_a_log_keeps_its_path_and_nothing_behind_it(text: str, shown: str) -> None:
    assert without_queries(text) == shown


@pytest.mark.parametrize(
    ("title", "header"),
    [
        ("Harbour Lights (live)", "Harbour Lights (live)"),
        ("100 % Größe", "100 %25 Gr%C3%B6%C3%9Fe"),
        ("line\nend", "line%0Aend"),
        ("港" * 200, "%E6%B8%AF" * 55),
        ("", ""),
    ],
)
def test_text_for_a_header_is_printable_ascii_and_cut_between_letters(title: str, header: str) -> None:
    assert header_safe(title) == header


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50))
def test_text_for_a_header_can_be_read_back(text: str) -> None:
    found = header_safe(text, most=10_000)
    assert (found.isascii(), found.isprintable()) == (True, True)
    assert unquote(found) == text.strip(" ")


def test_host_that_is_not_ascii_is_read_up_to_255_characters() -> None:
    assert host_of(f"https://{'ä.' * 130}example/x") == "xn--4ca." * 127 + "xn--4ca"
