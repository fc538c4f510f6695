"""Cuts, stalls, garbage and resumption: what a bad line or a bad origin can do to a body."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from itertools import count, repeat

import pytest

from archiver.adapters.downloader import HttpDownloader
from archiver.adapters.downloader.address import SockAddr
from archiver.adapters.downloader.answer import ClientBlocked
from archiver.core.errors import (
    ArchiverError,
    BodyChanged,
    BodyLong,
    BodyShort,
    BodySlow,
    BodyTooLarge,
    LinkSpent,
    OriginBusy,
    OriginFaulty,
    Verdict,
)
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin, RangedFile, partial
from tests.fakes.scripted import DROP, Headers, Reply, Request
from tests.fakes.time import Seconds
from tests.fixtures.fetching import drain, fetch
from tests.house import downloader

SONG = mp3(300_000)
OLD: Headers = (("Last-Modified", "Mon, 23 Nov 2026 09:00:00 GMT"), ("Date", "Mon, 23 Nov 2026 10:00:00 GMT"))
YOUNG: Headers = (("Last-Modified", "Mon, 23 Nov 2026 09:59:30 GMT"), ("Date", "Mon, 23 Nov 2026 10:00:00 GMT"))
TAG: Headers = (("ETag", '"v1"'),)


def ranges(cdn: Origin) -> list[str | None]:
    return [seen.headers.get("range") for seen in cdn.requests]


# --- resume


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("headers", [TAG, OLD], ids=["strong ETag", "old Last-Modified"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_cut_body_goes_on_where_it_was_cut(
    cdn: Origin, client: HttpDownloader, headers: Headers, framing: str, reset: bool
) -> None:
    file = RangedFile(SONG, headers, framing="length" if framing == "length" else "chunked")

    def cut_once(request: Request) -> Reply:
        reply = file(request)
        return (
            reply if file.served > 1 else Reply(SONG, headers=headers, framing=file.framing, cut=123_456, reset=reset)
        )

    assert fetch(client, cdn.script(cut_once)) == SONG
    assert len(cdn.requests) == 2
    wanted = cdn.requests[1].headers
    # A reset throws away what is still under way, so only a clean cut tells the exact position.
    at = int(str(wanted["range"]).removeprefix("bytes=").removesuffix("-"))
    assert at <= 123_456
    if not reset and framing == "length":
        assert at == 123_456
    assert wanted["if-range"] == dict(headers).get("ETag", dict(headers).get("Last-Modified"))


def test_cut_after_cut_goes_on_as_long_as_there_is_progress(cdn: Origin, client: HttpDownloader) -> None:
    song = mp3(700_000)
    assert fetch(client, cdn.script(RangedFile(song, cuts=[70_000] * 9))) == song
    assert ranges(cdn) == [None, *(f"bytes={at}-" for at in range(70_000, 700_000, 70_000))]


def test_cuts_without_progress_end_as_a_short_body(cdn: Origin) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep) as client, pytest.raises(BodyShort, match=r"1500\d of 300000"):
        fetch(client, cdn.script(RangedFile(SONG, cuts=[15_000, *repeat(1, 50)])))
    assert naps.waits == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert len(cdn.requests) == 6


def test_resume_outlasts_a_busy_origin(cdn: Origin, client: HttpDownloader) -> None:
    file = RangedFile(SONG, cuts=[100_000])
    busy = Reply(status=503)
    assert fetch(client, cdn.script(file, busy, busy, DROP, file)) == SONG


def test_failed_body_stays_failed(cdn: Origin, client: HttpDownloader) -> None:
    with client.open(cdn.script(Reply(SONG, cut=100_000))) as body:
        with pytest.raises(BodyShort):
            drain(body)
        with pytest.raises(BodyShort):
            body.readinto(memoryview(bytearray(10)))


def test_body_that_failed_otherwise_than_by_a_cut_stays_failed_too(cdn: Origin) -> None:
    ticks = count()
    with (
        downloader(min_rate=1_000_000, rate_window=3.0, clock=lambda: float(next(ticks) // 8)) as client,
        client.open(cdn.script(Reply(SONG, framing="chunked"))) as body,
    ):
        for _ in range(2):
            with pytest.raises(BodySlow):
                drain(body)
        with pytest.raises(BodySlow):
            body.readinto(memoryview(bytearray(0)))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("ETag", 'W/"v1"'),),
        (("ETag", 'W/"v1"'), *OLD),
        YOUNG,
        OLD[:1],
        (*TAG, ("Accept-Ranges", "none")),
    ],
    ids=["none", "weak", "weak beside a date", "young", "undated", "ranges refused"],
)
def test_cut_body_without_a_strong_validator_starts_again(
    cdn: Origin, client: HttpDownloader, headers: Headers
) -> None:
    with pytest.raises(BodyShort, match="100000 of 300000"):
        fetch(client, cdn.script(RangedFile(SONG, headers, cuts=[100_000])))
    assert len(cdn.requests) == 1


def resumed(reply: Reply | Sequence[Reply]) -> list[Reply]:
    replies = [reply] if isinstance(reply, Reply) else list(reply)
    return [Reply(SONG, headers=TAG, cut=100_000), *replies]


REST = SONG[100_000:]
SPAN = ("Content-Range", "bytes 100000-299999/300000")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(SONG, headers=TAG), BodyChanged),
        (Reply(SONG, headers=(("ETag", '"v2"'),)), BodyChanged),
        (Reply(REST, status=206, headers=(("ETag", '"v2"'), SPAN)), BodyChanged),
        (Reply(REST, status=206, headers=(SPAN,)), BodyChanged),
        (Reply(REST, status=206, headers=TAG), BodyChanged),
        (Reply(REST, status=206, headers=(*TAG, ("Content-Range", "bytes 100001-299999/300000"))), BodyChanged),
        (Reply(REST, status=206, headers=(*TAG, ("Content-Range", "bytes 0-299999/300000"))), BodyChanged),
        (Reply(REST, status=206, headers=(*TAG, ("Content-Range", "bytes 100000-299998/300000"))), BodyChanged),
        (Reply(REST, status=206, headers=(*TAG, ("Content-Range", "bytes 100000-299999/*"))), BodyChanged),
        (Reply(REST + b"x", status=206, headers=(*TAG, ("Content-Range", "bytes 100000-300000/300001"))), BodyChanged),
        (Reply(REST, status=206, headers=(*TAG, SPAN, ("Content-Encoding", "gzip"))), BodyChanged),
        (Reply(REST[:-1], status=206, headers=(*TAG, SPAN)), BodyChanged),
        (Reply(REST[:-1], status=206, framing="chunked", headers=(*TAG, SPAN)), BodyShort),
        (Reply(REST + b"x", status=206, framing="chunked", headers=(*TAG, SPAN)), BodyLong),
        (Reply(REST[:-1], status=206, framing="close", headers=(*TAG, SPAN)), BodyShort),
        (Reply(status=416, headers=(("Content-Range", "bytes */100000"),)), BodyChanged),
        (Reply(status=403), BodyShort),
        (Reply(status=404), BodyShort),
        (Reply(status=400), OriginFaulty),
        (Reply(status=302, headers=(("Location", "ftp://elsewhere/"),)), BodyShort),
        (Reply(status=503), BodyShort),
    ],
)
def test_resume_that_offers_anything_but_the_rest_is_refused(
    cdn: Origin, client: HttpDownloader, reply: Reply, error: type[ArchiverError]
) -> None:
    with pytest.raises(error) as caught:
        fetch(client, cdn.script(*resumed(reply)))
    assert type(caught.value) is error
    assert caught.value.verdict is Verdict.RETRY


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_resume_that_offers_the_rest_is_taken_in_any_framing(cdn: Origin, client: HttpDownloader, framing: str) -> None:
    replies = {
        "length": Reply(REST, status=206, headers=(*TAG, SPAN)),
        "chunked": Reply(REST, status=206, framing="chunked", headers=(*TAG, SPAN)),
        "close": Reply(REST, status=206, framing="close", headers=(*TAG, SPAN)),
    }
    assert fetch(client, cdn.script(*resumed(replies[framing]))) == SONG


def test_resume_follows_the_redirect_again_but_not_to_another_place(cdn: Origin, client: HttpDownloader) -> None:
    cdn.script(RangedFile(SONG, cuts=[100_000]), path="/edge1")
    cdn.script(RangedFile(SONG), path="/edge2")

    def to(place: str) -> Reply:
        return Reply(status=302, headers=(("Location", place),))

    assert fetch(client, cdn.script(to("/edge1?sig=1"), to("/edge1?sig=2"), path="/same")) == SONG
    cdn.script(RangedFile(SONG, cuts=[100_000]), path="/edge1")
    with pytest.raises(BodyChanged, match="elsewhere"):
        fetch(client, cdn.script(to("/edge1"), to("/edge2"), path="/other"))


def test_chunked_body_of_unknown_length_resumes_and_ends_at_the_length_it_learnt(
    cdn: Origin, client: HttpDownloader
) -> None:
    first = Reply(SONG, headers=TAG, framing="chunked", cut=150_000)

    def rest(request: Request) -> Reply:
        return partial(Reply(SONG, headers=TAG), int(request.headers["range"][6:-1]))

    with client.open(cdn.script(first, rest)) as body:
        assert body.length is None
        assert drain(body) == SONG


# --- short, before anything was handed out


def test_cut_among_the_first_bytes_is_tried_again_from_the_start(cdn: Origin, client: HttpDownloader) -> None:
    assert fetch(client, cdn.script(Reply(SONG, cut=1000), Reply(SONG, cut=0), Reply(SONG))) == SONG
    assert ranges(cdn) == [None, None, None]


def test_refusal_whose_page_is_cut_is_judged_by_what_came(cdn: Origin, client: HttpDownloader) -> None:
    page = b"<html>error code: 1010</html>" + bytes(1000)
    with pytest.raises(ClientBlocked, match="1010"):
        fetch(client, cdn.script(Reply(page, status=403, cut=100)))
    with pytest.raises(LinkSpent):
        fetch(client, cdn.script(Reply(page, status=403, cut=10)))


def test_body_always_shorter_than_announced_is_short(cdn: Origin, client: HttpDownloader) -> None:
    for size in (0, 500, 4096, 100_000):
        with pytest.raises(BodyShort):
            fetch(client, cdn.script(Reply(SONG[:size], announced=size + 1, hang_up=True)))


def test_chunked_body_cut_at_any_byte_is_never_taken_for_whole(cdn: Origin, client: HttpDownloader) -> None:
    # A chunk size with leading zeros, cut after them, reads as the last chunk to a careless parser.
    body = b"fLaC" + bytes(40)
    wire = b"0002c\r\n" + body + b"\r\n00000\r\nTrailer: x\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    last_chunk_line = wire.index(b"00000\r\n") + 7
    for cut in range(len(wire) + 1):
        url = cdn.script(Reply(raw=head + wire[:cut], hang_up=True))
        if cut < last_chunk_line:
            with pytest.raises(BodyShort):
                fetch(client, url)
        elif cut in {last_chunk_line, last_chunk_line + 12, len(wire)}:
            assert fetch(client, url) == body


@pytest.mark.parametrize(
    "wire",
    [
        b"-5\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b"5_0\r\n",
        b"\r\n",
        b"zz\r\n",
        b"fffffffffffffffff\r\n",
        b"4\r\nfLaC12\r\n",
        b"4" + b" " * 70_000 + b"\r\n",
        b"4\r\nfLaC\r\n0\r\n" + b"t: x\r\n" * 300,
    ],
)
def test_malformed_chunks_are_refused(cdn: Origin, client: HttpDownloader, wire: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(OriginBusy):
        fetch(client, cdn.script(Reply(raw=head + wire, hang_up=True)))


def test_garbage_between_chunks_is_not_resumed(cdn: Origin, client: HttpDownloader) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nTransfer-Encoding: chunked\r\n\r\n'
    wire = head + b"2710\r\n" + SONG[:10_000] + b"??"
    with pytest.raises(OriginBusy) as caught:
        fetch(client, cdn.script(Reply(raw=wire + b"\r\n", hang_up=True)))
    assert type(caught.value) is OriginFaulty
    assert len(cdn.requests) == 1


# --- heads that cannot be understood


@pytest.mark.parametrize(
    "head",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
    ],
)
def test_head_that_cannot_be_trusted_is_busy(cdn: Origin, client: HttpDownloader, head: bytes) -> None:
    with pytest.raises(OriginBusy), client.open(cdn.script(Reply(raw=head + b"fLaC", hang_up=True))):
        pass


@pytest.mark.parametrize("lengths", [b"4\r\nContent-Length: 5", b"4, 5", b"-1", b"+4", b"4_0", b"", b"4" * 19, b"0x4"])
def test_length_that_is_none_is_not_guessed(cdn: Origin, client: HttpDownloader, lengths: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: " + lengths + b"\r\n\r\nfLaC1"
    with pytest.raises(OriginBusy, match="a Content-Length that is no length"):
        fetch(client, cdn.script(Reply(raw=raw, hang_up=True)))


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 4, 4\r\n\r\n",
        b"HTTP/1.0 200 OK\ncontent-length:4\n\n",
        b"HTTP/1.1 200 OK\r\nX: folded\r\n  twice\r\nContent-Length:  4  \r\nX:\r\n\r\n",
    ],
    ids=["interim answers", "no reason", "bare newlines", "folded"],
)
def test_head_that_is_merely_odd_is_understood(cdn: Origin, client: HttpDownloader, head: bytes) -> None:
    assert fetch(client, cdn.script(Reply(raw=head + b"fLaC", hang_up=True))) == b"fLaC"


# --- slow


@pytest.mark.parametrize("at", [0, 1000, 100_000])
def test_stall_is_slow(cdn: Origin, at: int) -> None:
    with downloader(read_timeout=0.2) as client, pytest.raises(BodySlow, match=r"nothing came"):
        fetch(client, cdn.script(Reply(SONG, stall=at)))


def test_stall_goes_on_from_there_when_it_can_be_resumed(cdn: Origin) -> None:
    with downloader(read_timeout=0.2) as client:
        assert fetch(client, cdn.script(Reply(SONG, headers=TAG, stall=100_000), RangedFile(SONG))) == SONG
    assert ranges(cdn) == [None, "bytes=100000-"]


def test_silence_instead_of_a_head_is_busy(cdn: Origin) -> None:
    with downloader(read_timeout=0.1) as client, pytest.raises(OriginBusy):
        fetch(client, cdn.script(Reply(raw=b"HTTP/1.1", stall=4)))


def test_dripping_head_ends_however_steadily_it_drips(cdn: Origin) -> None:
    raw = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000
    with downloader(read_timeout=0.2) as client, pytest.raises(OriginBusy, match="slowly"):
        fetch(client, cdn.script(Reply(raw=raw, drip=0.02)))


def test_dripping_chunk_size_ends_however_steadily_it_drips(cdn: Origin) -> None:
    reply = Reply(b"0" * 1000, framing="none", headers=(("Transfer-Encoding", "chunked"),), drip=0.02)
    with downloader(read_timeout=0.2) as client, pytest.raises(BodySlow, match="slowly"):
        fetch(client, cdn.script(reply))


def test_dripping_page_of_a_refusal_ends_and_is_judged_by_what_came(cdn: Origin, client: HttpDownloader) -> None:
    page = b"error code: 1010" + b" " * 4080
    began = time.monotonic()
    with pytest.raises(LinkSpent), client.open(cdn.script(Reply(page, status=403, drip=0.4))):
        pass
    assert time.monotonic() - began < 5
    with pytest.raises(ClientBlocked), client.open(cdn.script(Reply(page, status=403, drip=0.05))):
        pass
    assert time.monotonic() - began < 10


def test_framing_counts_for_the_cap(cdn: Origin) -> None:
    song = mp3(100_000)
    with downloader(max_bytes=150_000) as client:
        assert fetch(client, cdn.script(Reply(song, framing="chunked", chunk=10))) == song
        with pytest.raises(BodyTooLarge):
            fetch(client, cdn.script(Reply(song, framing="chunked", chunk=1)))


def test_endless_chunk_extensions_are_no_body(cdn: Origin, client: HttpDownloader) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"e" * 60_000 + b"\r\n\0\r\n") * 50
    with pytest.raises(OriginBusy, match="endless"):
        fetch(client, cdn.script(Reply(raw=raw, hang_up=True)))


@pytest.mark.parametrize("size", [1000, 20_000])
def test_one_byte_at_a_time_is_slow(cdn: Origin, size: int) -> None:
    reply = Reply(SONG[:size], drip=0.005)
    with downloader(min_rate=1000, rate_window=0.3) as client, pytest.raises(BodySlow, match="bytes/s"):
        fetch(client, cdn.script(reply))


def test_slow_caller_is_not_the_origins_fault(cdn: Origin) -> None:
    now = [0.0]
    with downloader(min_rate=1_000_000, rate_window=1.0, clock=lambda: now[0]) as client:
        with client.open(cdn.script(Reply(SONG))) as body:
            buffer, data = memoryview(bytearray(10_000)), bytearray()
            while size := body.readinto(buffer):
                data += buffer[:size]
                now[0] += 1000.0
        assert data == SONG


def test_slow_origin_is_noticed_over_many_small_reads(cdn: Origin) -> None:
    ticks = count()
    with (
        downloader(min_rate=1_000_000, rate_window=1.0, clock=lambda: next(ticks) * 0.1) as client,
        pytest.raises(BodySlow),
    ):
        fetch(client, cdn.script(Reply(SONG)), buffer_size=100)


# --- nobody there


def test_refused_connection_is_busy_after_three_tries() -> None:
    naps = Seconds()
    with Origin() as gone:
        url = gone.url_of()
    with (
        downloader(sleep=naps.sleep) as client,
        pytest.raises(OriginBusy, match="Connection refused"),
        client.open(url),
    ):
        pass
    assert naps.waits == [0.5, 1.0]


def test_unresolvable_name_is_busy() -> None:
    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        raise OSError(-2, "Name or service not known")

    with downloader(resolve=resolve) as client, pytest.raises(OriginBusy, match=r"cannot resolve cdn\.test: Name"):
        fetch(client, "http://cdn.test/x")


def test_proxy_whose_name_cannot_be_resolved_is_busy() -> None:
    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        raise OSError(-2, "Name or service not known")

    proxied = downloader(resolve=resolve, proxy="http://user:secret@way.test:1")
    with proxied as client, pytest.raises(OriginBusy, match="the proxy's name cannot be resolved") as caught:
        fetch(client, "http://cdn.test/x")
    assert "secret" not in str(caught.value)


def test_name_without_addresses_is_busy() -> None:
    with downloader(resolve=lambda host, port: []) as client, pytest.raises(OriginBusy, match="no address"):
        fetch(client, "http://cdn.test/x")


def test_second_address_is_tried_when_the_first_is_dead(cdn: Origin) -> None:
    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        return [("127.0.0.2", 1), ("127.0.0.1", cdn.port)]

    with downloader(resolve=resolve) as client:
        assert fetch(client, cdn.script(Reply(SONG), host="cdn.test")) == SONG


def test_32_addresses_of_a_name_are_tried_at_a_time_and_others_the_next_time() -> None:
    tried: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    addresses = [(f"127.0.0.{number}", 1) for number in range(1, 101)]
    with downloader(resolve=lambda *_: addresses, connect=connect) as client, pytest.raises(OriginBusy):
        fetch(client, "http://cdn.test/x")
    assert set(tried[:32]) == {f"127.0.0.{number}" for number in range(1, 33)}
    assert set(tried[32:64]) == {f"127.0.0.{number}" for number in range(33, 65)}
    assert len(tried) == 3 * 32


def test_dead_ipv6_addresses_delay_a_fetch_by_less_than_a_second(cdn: Origin) -> None:
    cdn.script(Reply(SONG))
    over, begun = threading.Event(), []

    def connect(address: SockAddr, timeout: float) -> socket.socket:
        begun.append(address[0])
        if ":" in address[0]:
            over.wait(timeout)
            raise TimeoutError("timed out")
        return socket.create_connection(("127.0.0.1", cdn.port), timeout)

    def resolve(host: str, port: int) -> list[SockAddr]:
        return [*((f"2606:4700::{n:x}", port, 0, 0) for n in range(8)), *((f"8.8.8.{n}", port) for n in range(4))]

    began = time.monotonic()
    with downloader(connect=connect, resolve=resolve, allow_private_addresses=False) as client:
        assert fetch(client, f"http://cdn.example:{cdn.port}/stem.mp3") == SONG
    over.set()
    assert time.monotonic() - began < 1.5
    assert begun == ["2606:4700::0", "8.8.8.0"]
