"""URLs: what is read without httpx is read as httpx would."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.downloader.url import _ORDINARY, Url
from archiver.core.text import MAX_URL

_TEXT = st.text("abz09AZ-._~!$&()*+,;=:@%'\"<>[]{}|^`\\ ä2Ff", max_size=12)
_HOST = st.one_of(
    st.sampled_from(["cdn.example.com", "a.b", "1.2.3.4", "127.0.0.1", "256.1.1.1", "01.2.3.4", "CDN.ex", "[::1]"]),
    st.text("abz09AZ-._", min_size=1, max_size=12),
)
_PORT = st.sampled_from(["", ":80", ":443", ":8443", ":0", ":080", ":65536", ":"])
_URLS = st.builds(
    "{}://{}{}/{}{}".format,
    st.sampled_from(["https", "http", "ftp", "HTTPS"]),
    _HOST,
    _PORT,
    st.lists(st.one_of(_TEXT, st.sampled_from([".", "..", "%2F", "%2f", "%zz"])), max_size=4).map("/".join),
    st.one_of(st.just(""), st.builds("?{}={}{}".format, _TEXT, _TEXT, st.sampled_from(["", "&b=%2F", "#here", "%"]))),
)


def by_httpx(text: str) -> Url | None:
    try:
        return Url._as_read(httpx.URL(text))
    except (httpx.InvalidURL, ValueError):
        return None


def ours(text: str) -> Url | None:
    try:
        return Url.of(text)
    except ValueError:
        return None


@given(_URLS)
def test_any_url_is_read_as_httpx_reads_it(text: str) -> None:
    assert ours(text) == by_httpx(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://tempfile.example.com/f/a-b_c.mp3",
        "https://cdn.example.com:8443/a%20b/(c)/d.wav?X-Amz-Credential=A%2F20260101%2Fus&X-Amz-Signature=0a&x=",
        "http://127.0.0.1:8080/64KiB/task/vocals.mp3?v=1/2?3",
        "http://cdn.example.com:80/",
    ],
)
def test_url_of_the_usual_form_is_read_without_httpx(text: str) -> None:
    assert _ORDINARY.fullmatch(text) is not None
    assert ours(text) == by_httpx(text) is not None


def test_redirect_is_joined_as_httpx_joins_it() -> None:
    base = "https://cdn.example.com/a/b.mp3?c=d"
    for reference in ("../x.mp3", "//other.example/y?z", "?q=1", "https://a.example:8443/", "/%20"):
        assert Url.of(base).joined(reference) == Url._as_read(httpx.URL(base).join(reference))


def test_url_that_is_too_long_is_none() -> None:
    long = "https://cdn.example.com/" + "a" * MAX_URL
    with pytest.raises(ValueError, match="too long"):
        Url.of(long)
    with pytest.raises(ValueError, match="too long"):
        Url.of("https://cdn.example.com/").joined(long)


@pytest.mark.timeout(30)
def test_time_to_read_a_url_grows_with_its_length_alone() -> None:
    for odd in ("%", "%zz", '"'):
        Url.of("https://cdn.example.com/" + "a%20" * (MAX_URL // 5) + "?b" + odd)
