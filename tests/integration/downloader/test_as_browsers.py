"""HttpDownloader reads what every browser reads, and says of the rest what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archiver.adapters.downloader import HttpDownloader
from archiver.core.errors import BodyChanged, BodyNotAudio, OriginBusy, OriginFaulty
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin
from tests.fakes.scripted import Reply
from tests.fixtures.fetching import fetch
from tests.house import downloader

SONG = mp3(20_000)
ANSWERS = Path(__file__).parents[2] / "fixtures" / "answers"


@pytest.mark.parametrize("name", ["answer-blank-in-a-field-name", "answer-content-encoding-none"])
def test_answer_seen_in_the_wild_is_read(cdn: Origin, client: HttpDownloader, name: str) -> None:
    raw = (ANSWERS / f"{name}.http").read_bytes()
    assert fetch(client, cdn.script(Reply(raw=raw))) == raw.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "field",
    [
        *("Transfer-Encoding: identity", "Transfer-Encoding:", "Content-Type : audio/mpeg", "PHP Warning:  x in y"),
        *(
            f"Content-Encoding: {c}"
            for c in ("none", "", "aws-chunked", "UTF-8", "binary", "identity, identity", "NONE")
        ),
    ],
)
def test_head_that_says_nothing_else_of_the_body_is_read(cdn: Origin, client: HttpDownloader, field: str) -> None:
    head = f"HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {len(SONG)}\r\n\r\n".encode()
    assert fetch(client, cdn.script(Reply(raw=head + SONG))) == SONG


@pytest.mark.parametrize("coding", ["br", "zstd", "none, gzip", "gzip, aws-chunked", "Compress"])
def test_body_in_a_registered_coding_is_not_taken(cdn: Origin, client: HttpDownloader, coding: str) -> None:
    url = cdn.script(Reply(SONG, headers=(("Content-Encoding", coding),)))
    with pytest.raises(OriginFaulty, match="identity was asked for"), client.open(url):
        pass


def test_coding_that_is_none_does_not_hide_what_the_bytes_are(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(b"\x1f\x8b\x08\x00" + bytes(100), headers=(("Content-Encoding", "none"),)))
    with pytest.raises(BodyNotAudio, match="gzip"), client.open(url):
        pass


# --- a part that is the whole


def ranged(span: str, **more: object) -> Reply:
    return Reply(SONG, status=206, headers=(("Content-Range", span),), **more)  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_206_with_the_whole_file_is_the_file(cdn: Origin, client: HttpDownloader, framing: str) -> None:
    url = cdn.script(ranged(f"bytes 0-{len(SONG) - 1}/{len(SONG)}", framing=framing))
    with client.open(url) as body:
        assert body.length == len(SONG)
    assert fetch(client, url) == SONG
    assert not any("range" in request.headers for request in cdn.requests)


@pytest.mark.parametrize("span", ["bytes 0-19999/20001", "bytes 1-20000/20001", "bytes 0-19999/*", "bytes */20000", ""])
def test_206_with_less_or_nobody_knows_how_much_is_refused(cdn: Origin, client: HttpDownloader, span: str) -> None:
    with pytest.raises(BodyChanged, match="206"), client.open(cdn.script(ranged(span))):
        pass


def test_206_with_the_whole_file_that_is_cut_goes_on(cdn: Origin, client: HttpDownloader) -> None:
    etag = ("ETag", '"v1"')
    first = Reply(SONG, 206, (("Content-Range", "bytes 0-19999/20000"), etag), cut=9_000)
    rest = Reply(SONG[9_000:], 206, (("Content-Range", "bytes 9000-19999/20000"), etag))
    assert fetch(client, cdn.script(first, rest)) == SONG


# --- redirects


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"/caf\xc3\xa9.mp3", "/caf%C3%A9.mp3"),
        (b"/caf\xe9.mp3", "/caf%E9.mp3"),
        (b"/a b.mp3?x=\xe9", "/a%20b.mp3?x=%E9"),
        (b"/caf%C3%A9.mp3?Signature=a~b%2Fc%3d", "/caf%C3%A9.mp3?Signature=a~b%2Fc%3d"),
        (b"caf\xc3\xa9.mp3", "/caf%C3%A9.mp3"),
    ],
)
@pytest.mark.parametrize("other", ["", "X: caf\xe9\r\n", "X: caf\u00c3\u00a9\r\n"], ids=["alone", "latin-1", "utf-8"])
def test_redirect_is_asked_for_by_its_bytes(
    cdn: Origin, client: HttpDownloader, location: bytes, target: str, other: str
) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: %s\r\n%sContent-Length: 0\r\n\r\n"
    url = cdn.script(Reply(raw=head % (location, other.encode("latin-1"))))
    cdn.script(Reply(SONG), path=target.partition("?")[0])
    assert fetch(client, url) == SONG
    assert cdn.requests[-1].target == target


def test_redirect_seen_in_the_wild_is_followed(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(raw=(ANSWERS / "redirect-raw-utf8-location.http").read_bytes()))
    cdn.script(Reply(SONG), path="/caf%C3%A9.mp3")
    assert fetch(client, url) == SONG


def test_redirect_to_a_host_of_letters_beyond_ascii_is_asked_for_by_its_name(cdn: Origin) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        asked.append(host)
        return [("127.0.0.1", port)]

    place = f"http://caf\xe9.test:{cdn.port}/b".encode()
    cdn.script(Reply(SONG), path="/b")
    url = cdn.script(Reply(raw=b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n"))
    with downloader(resolve=resolve) as client:
        assert fetch(client, url) == SONG
    assert asked[-1] == "xn--caf-dma.test"


def test_redirect_to_two_places_is_the_origins_fault(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(status=302, headers=(("Location", "/a"), ("Location", "/b"))))
    with pytest.raises(OriginFaulty, match="two places"), client.open(url):
        pass


@pytest.mark.parametrize("hops", [["/a"], ["/b", "/a"], ["/b", "/c", "/b"]], ids=["itself", "back", "a circle"])
def test_circle_that_wants_a_cookie_back_says_so_at_once(cdn: Origin, client: HttpDownloader, hops: list[str]) -> None:
    for at, hop in zip(["/a", *hops], hops, strict=False):
        cdn.script(Reply(status=302, headers=(("Location", hop), ("Set-Cookie", "wall=sesame"))), path=at)
    with pytest.raises(OriginBusy, match="cookie") as caught, client.open(cdn.url_of("/a")):
        pass
    assert caught.value.code == "cdn.cookie_asked"
    assert "sesame" not in str(caught.value)
    assert len(cdn.requests) == len(hops)


def test_redirect_with_a_cookie_that_goes_on_is_followed(cdn: Origin, client: HttpDownloader) -> None:
    cdn.script(Reply(SONG), path="/b")
    url = cdn.script(Reply(status=302, headers=(("Location", "/b"), ("Set-Cookie", "a=b"))), path="/a")
    assert fetch(client, url) == SONG


# --- told as what it is


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nPHP Warning at 3\r\nContent-Length: 4\r\n\r\nfLaC", "field: 'PHP Warning at 3'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nfLaC", "length unclear: 'Content-Length : 4'"),
        (b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", "417 to an Expect that was not sent"),
    ],
)
def test_answer_that_is_not_taken_is_quoted(cdn: Origin, client: HttpDownloader, raw: bytes, said: str) -> None:
    with pytest.raises(OriginBusy, match=re.escape(said)), client.open(cdn.script(Reply(raw=raw, hang_up=True))):
        pass
