"""HttpDownloader against a scripted origin: what it sends, what it takes, what it calls the rest."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from archiver.adapters.downloader import BodyLimits, HttpDownloader
from archiver.core.errors import (
    AddressForbidden,
    ArchiverError,
    BodyChanged,
    BodyEmpty,
    BodyLong,
    BodyNotAudio,
    BodyShort,
    BodyTooLarge,
    LinkSpent,
    OriginBusy,
    OriginFaulty,
    Verdict,
)
from archiver.core.records.kinds.names import Media
from archiver.core.refusals import RedirectForbidden
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin
from tests.fakes.scripted import DROP, Reply
from tests.fakes.time import Seconds
from tests.fixtures.fetching import fetch
from tests.house import AGENT, downloader

SONG = mp3(300_000)


@pytest.mark.parametrize("buffer_size", [1, 4095, 4096, 4097, 100_000, 299_999, 300_000, 300_001, 8 << 20])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(SONG),
        Reply(SONG, framing="chunked"),
        Reply(SONG, framing="chunked", chunk=70_000),
        Reply(SONG, close=True),
    ],
    ids=["length", "chunked", "large chunks", "closing"],
)
def test_body_of_any_framing_read_with_any_buffer_is_the_origins(
    cdn: Origin, client: HttpDownloader, reply: Reply, buffer_size: int
) -> None:
    size = 9_000 if buffer_size == 1 else len(SONG)
    url = cdn.script(Reply(SONG[:size], framing=reply.framing, chunk=reply.chunk, close=reply.close))
    assert fetch(client, url, buffer_size) == SONG[:size]


def test_readinto_after_the_end_gives_nothing_more(cdn: Origin, client: HttpDownloader) -> None:
    with client.open(cdn.script(Reply(SONG))) as body:
        buffer = memoryview(bytearray(len(SONG)))
        assert body.readinto(buffer) == len(SONG)
        assert body.readinto(buffer) == 0
        assert body.readinto(buffer) == 0


def test_request_is_anonymous(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(SONG, headers=(("Set-Cookie", "a=b"),)))
    fetch(client, url)
    fetch(client, url)
    for seen in cdn.requests:
        assert seen.headers == {
            "host": f"127.0.0.1:{cdn.port}",
            "user-agent": AGENT,
            "accept": "*/*",
            "accept-encoding": "identity",
        }


def test_signed_query_reaches_the_origin_unchanged(cdn: Origin, client: HttpDownloader) -> None:
    query = "?Expires=1&Signature=a~b-C_d%2Fe%3D%3d&x=+'!*()"
    fetch(client, cdn.script(Reply(SONG)) + query)
    assert cdn.requests[0].target == "/stem.mp3" + query


def test_container_comes_from_the_bytes_not_from_headers_or_url(cdn: Origin, client: HttpDownloader) -> None:
    flac = b"fLaC" + bytes(100)
    url = cdn.script(Reply(flac, headers=(("Content-Type", "audio/mpeg"),)), path="/x.mp3")
    with client.open(url) as body:
        assert (body.extension, body.content_type) == ("flac", "audio/flac")


def test_a_download_at_the_most_talkative_level_logs_no_url(
    cdn: Origin, client: HttpDownloader, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in (None, "httpx"):  # a test that set up the service's logs has silenced httpx
        caplog.set_level(logging.DEBUG, logger)
    fetch(client, cdn.script(Reply(SONG)) + "?Signature=secret")
    assert [record.name for record in caplog.records if "secret" in record.getMessage()] == []


# --- connections


def test_connection_is_kept_for_the_next_request(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(SONG), Reply(SONG, framing="chunked"), Reply(SONG))
    for _ in range(3):
        fetch(client, url)
    assert cdn.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(SONG, close=True),
        Reply(SONG, version="HTTP/1.0", hang_up=True),
        Reply(SONG, framing="chunked", headers=(("Content-Length", "7"),)),
    ],
    ids=["close", "HTTP/1.0", "two framings"],
)
def test_connection_that_cannot_be_trusted_further_is_not_kept(
    cdn: Origin, client: HttpDownloader, reply: Reply
) -> None:
    url = cdn.script(reply)
    for _ in range(2):
        assert fetch_without_length_check(client, url) == SONG
    assert cdn.connections == 2


def fetch_without_length_check(client: HttpDownloader, url: str) -> bytes:
    with client.open(url) as body:
        buffer = memoryview(bytearray(2 * len(SONG)))
        return bytes(buffer[: body.readinto(buffer)])


def test_kept_connection_that_the_origin_closed_is_replaced_unnoticed(cdn: Origin) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep) as client:
        url = cdn.script(Reply(SONG, hang_up=True), Reply(SONG))
        assert fetch(client, url) == SONG
        assert fetch(client, url) == SONG
    assert cdn.connections == 2
    assert naps.waits == []


@pytest.mark.parametrize("reset", [False, True])
def test_kept_connection_that_dies_under_the_request_is_tried_once_more(cdn: Origin, reset: bool) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep) as client:
        url = cdn.script(Reply(SONG), Reply(raw=b"", hang_up=True, reset=reset), Reply(SONG))
        assert fetch(client, url) == SONG
        assert fetch(client, url) == SONG
    assert [seen.connection for seen in cdn.requests] == [1, 1, 2]
    assert naps.waits == []


def test_kept_connection_that_dies_inside_the_head_is_a_failed_try(cdn: Origin) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep) as client:
        url = cdn.script(Reply(SONG), Reply(raw=b"HTTP/1.1 200 OK\r\nContent-", hang_up=True), Reply(SONG))
        fetch(client, url)
        assert fetch(client, url) == SONG
    assert len(naps.waits) == 1


def test_fresh_connection_closed_without_an_answer_is_a_failed_try(cdn: Origin) -> None:
    naps = Seconds()
    with (
        downloader(sleep=naps.sleep) as client,
        pytest.raises(OriginBusy),
        client.open(cdn.script(DROP)),
    ):
        pass
    assert naps.waits == [0.5, 1.0]


def test_idle_connections_are_bounded(cdn: Origin) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(downloader(most_idle=2))
        url = cdn.script(Reply(SONG))
        with ExitStack() as bodies:
            for body in [bodies.enter_context(client.open(url)) for _ in range(4)]:
                body.readinto(memoryview(bytearray(len(SONG) + 1)))
        with ExitStack() as bodies:
            for _ in range(4):
                bodies.enter_context(client.open(url))
    assert cdn.connections == 6


def test_connection_idle_for_too_long_is_not_used_again(cdn: Origin) -> None:
    now = [0.0]
    with downloader(clock=lambda: now[0]) as client:
        url = cdn.script(Reply(SONG))
        for pause in (0.0, 19.0, 21.0):
            now[0] += pause
            fetch(client, url)
    assert [seen.connection for seen in cdn.requests] == [1, 1, 2]


def test_half_read_body_gives_no_connection_back(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(SONG))
    with client.open(url) as body:
        body.readinto(memoryview(bytearray(10_000)))
    assert fetch(client, url) == SONG
    assert cdn.connections == 2


def test_connection_whose_body_is_still_to_come_is_not_used_for_another(cdn: Origin) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep, read_timeout=0.5) as client:
        url = cdn.script(Reply(SONG, stall=10_000), Reply(SONG))
        with client.open(url) as body:
            body.readinto(memoryview(bytearray(10_000)))
        assert fetch(client, url) == SONG
    assert naps.waits == []


def test_body_outlives_the_clients_close(cdn: Origin) -> None:
    with downloader() as client:
        url = cdn.script(Reply(SONG))
        with client.open(url) as body:
            client.close()
            assert body.readinto(memoryview(bytearray(len(SONG)))) == len(SONG)


# --- statuses


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_spent_link_is_told_at_once(cdn: Origin, client: HttpDownloader, status: int) -> None:
    with pytest.raises(LinkSpent) as caught, client.open(cdn.script(Reply(b"gone", status=status))):
        pass
    assert caught.value.status == status
    assert len(cdn.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"error code: 1010", status=403),
        Reply(b"<html>error code: 1006</html>", status=403, framing="chunked"),
        Reply(b"", status=403, headers=(("cf-mitigated", "challenge"),)),
    ],
    ids=["user agent", "address", "challenge"],
)
def test_firewall_is_not_taken_for_a_spent_link(cdn: Origin, client: HttpDownloader, reply: Reply) -> None:
    with pytest.raises(OriginBusy) as caught, client.open(cdn.script(reply)):
        pass
    assert caught.value.code == "cdn.client_blocked"
    assert "provider.user_agent" in caught.value.hint
    assert caught.value.verdict is Verdict.RETRY


def test_403_about_a_missing_key_is_a_spent_link(cdn: Origin, client: HttpDownloader) -> None:
    page = b"<Error><Code>MissingKey</Code><Message>Missing Key-Pair-Id</Message></Error>"
    with pytest.raises(LinkSpent), client.open(cdn.script(Reply(page, status=403))):
        pass


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 530])
def test_passing_failure_is_tried_three_times(cdn: Origin, status: int) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep) as client:
        with pytest.raises(OriginBusy, match=str(status)), client.open(cdn.script(Reply(status=status))):
            pass
        assert len(cdn.requests) == 3
        assert naps.waits == [0.5, 1.0]
        url = cdn.script(Reply(status=status), Reply(status=status), Reply(SONG))
        assert fetch(client, url) == SONG


@pytest.mark.parametrize("status", [204, 300, 304, 305, 400, 405, 407, 416, 418, 451])
def test_other_status_is_busy_and_not_hammered(cdn: Origin, client: HttpDownloader, status: int) -> None:
    with pytest.raises(OriginBusy) as caught, client.open(cdn.script(Reply(status=status))):
        pass
    assert type(caught.value) is OriginFaulty
    assert len(cdn.requests) == 1


def test_206_that_nobody_asked_for_is_refused(cdn: Origin, client: HttpDownloader) -> None:
    reply = Reply(SONG, status=206, headers=(("Content-Range", "bytes 0-299999/900000"),))
    with pytest.raises(BodyChanged), client.open(cdn.script(reply)):
        pass


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("Retry-After", "120"),), 120.0),
        ((("Retry-After", "Mon, 23 Nov 2026 10:01:30 GMT"), ("Date", "Mon, 23 Nov 2026 10:00:00 GMT")), 90.0),
        ((("Retry-After", "Mon, 23 Nov 2026 09:00:00 GMT"), ("Date", "Mon, 23 Nov 2026 10:00:00 GMT")), 0.0),
        ((("Retry-After", "Mon, 23 Nov 2026 10:01:30 GMT"),), None),
        ((("Retry-After", "soon"),), None),
        ((("Retry-After", "-5"),), None),
        ((("Retry-After", "9" * 400),), 366 * 86_400),
        ((), None),
    ],
)
def test_retry_after_is_handed_on(
    cdn: Origin, client: HttpDownloader, headers: tuple[tuple[str, str], ...], seconds: float | None
) -> None:
    with pytest.raises(OriginBusy) as caught, client.open(cdn.script(Reply(status=503, headers=headers))):
        pass
    assert caught.value.retry_after == seconds
    assert len(cdn.requests) == (1 if seconds is not None and seconds > 10 else 3)


def test_short_retry_after_is_waited_out(cdn: Origin) -> None:
    naps = Seconds()
    with downloader(sleep=naps.sleep) as client:
        url = cdn.script(Reply(status=429, headers=(("Retry-After", "3"),)), Reply(SONG))
        assert fetch(client, url) == SONG
    assert naps.waits == [3.0]


# --- bodies that are none


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_empty_200_is_no_audio(cdn: Origin, client: HttpDownloader, framing: str) -> None:
    reply = Reply(b"") if framing == "length" else Reply(b"", framing="chunked")
    with pytest.raises(BodyEmpty), client.open(cdn.script(reply)):
        pass


def test_html_with_200_is_no_audio_and_shown_scrubbed(cdn: Origin, client: HttpDownloader) -> None:
    page = b"<!DOCTYPE html><title>Gone\x1b[2J</title><a href='https://x/?token=sss'>https://x/?token=sss</a> Expired"
    with pytest.raises(BodyNotAudio, match=r"HTML.*Gone.*Expired") as caught, client.open(cdn.script(Reply(page))):
        pass
    assert "sss" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
def test_coded_body_is_not_decoded_but_asked_for_later(cdn: Origin, client: HttpDownloader, coding: str) -> None:
    with (
        pytest.raises(OriginBusy, match="identity"),
        client.open(cdn.script(Reply(SONG, headers=(("Content-Encoding", coding),)))),
    ):
        pass


@pytest.mark.parametrize(
    ("media", "head", "extension", "content_type"),
    [
        (Media.IMAGE, b"\xff\xd8\xff\xe0\x00\x10JFIF", "jpg", "image/jpeg"),
        (Media.VIDEO, b"\x00\x00\x00\x20ftypisom", "mp4", "video/mp4"),
    ],
)
def test_image_and_video_are_verified_by_their_own_first_bytes(
    cdn: Origin, client: HttpDownloader, media: Media, head: bytes, extension: str, content_type: str
) -> None:
    url = cdn.script(Reply(head + bytes(5000), headers=(("Content-Type", "text/plain"),)))
    with client.open(url, media=media) as body:
        assert (body.extension, body.content_type) == (extension, content_type)
    url = cdn.script(Reply(SONG, headers=(("Content-Type", content_type),)))
    with pytest.raises(BodyNotAudio, match=f"not {media} but"), client.open(url, media=media):
        pass


def test_identity_coding_is_no_coding(cdn: Origin, client: HttpDownloader) -> None:
    assert fetch(client, cdn.script(Reply(SONG, headers=(("Content-Encoding", "Identity"),)))) == SONG


def test_announced_size_over_the_cap_is_refused_before_the_body(cdn: Origin) -> None:
    with (
        downloader(max_bytes=len(SONG) - 1) as client,
        pytest.raises(BodyTooLarge),
        client.open(cdn.script(Reply(SONG))),
    ):
        pass


def test_size_at_the_cap_is_taken(cdn: Origin) -> None:
    with downloader(max_bytes=len(SONG)) as client:
        assert fetch(client, cdn.script(Reply(SONG))) == SONG
        assert fetch(client, cdn.script(Reply(SONG, framing="chunked"))) == SONG


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_unannounced_size_over_the_cap_is_refused_when_it_is_reached(cdn: Origin, framing: str) -> None:
    reply = Reply(SONG, framing="chunked") if framing == "chunked" else Reply(SONG, framing="close")
    with downloader(max_bytes=len(SONG) - 1) as client, pytest.raises(BodyTooLarge):
        fetch(client, cdn.script(reply))


def test_small_unannounced_body_over_the_cap_is_refused(cdn: Origin) -> None:
    with downloader(max_bytes=99) as client, pytest.raises(BodyTooLarge):
        fetch(client, cdn.script(Reply(b"fLaC" + bytes(96), framing="chunked")))


def test_bytes_after_the_announced_length_are_noticed(cdn: Origin, client: HttpDownloader) -> None:
    for reply in (Reply(SONG, announced=9_000, hang_up=True), Reply(SONG[:20_000], announced=19_999, close=True)):
        with pytest.raises(BodyLong):
            fetch(client, cdn.script(reply))


# --- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed(cdn: Origin, client: HttpDownloader, status: int) -> None:
    cdn.script(Reply(SONG), path="/new/b.mp3")
    url = cdn.script(Reply(status=status, headers=(("Location", "../new/b.mp3?x=1"),)), path="/old/a.mp3")
    assert fetch(client, url) == SONG
    assert cdn.requests[-1].target == "/new/b.mp3?x=1"


def chain(cdn: Origin, length: int) -> str:
    cdn.script(Reply(SONG), path=f"/{length}")
    for hop in range(length):
        cdn.script(Reply(status=302, headers=(("Location", f"/{hop + 1}"),)), path=f"/{hop}")
    return cdn.url_of("/0")


def test_five_redirects_are_followed_six_are_not(cdn: Origin, client: HttpDownloader) -> None:
    assert fetch(client, chain(cdn, 5)) == SONG
    with pytest.raises(OriginBusy, match="redirects"), client.open(chain(cdn, 6)):
        pass


def test_redirect_loop_ends(cdn: Origin, client: HttpDownloader) -> None:
    url = cdn.script(Reply(status=302, headers=(("Location", "/stem.mp3"),)))
    with pytest.raises(OriginBusy, match="redirects"), client.open(url):
        pass
    assert len(cdn.requests) == 6


def test_redirect_without_a_location_is_busy(cdn: Origin, client: HttpDownloader) -> None:
    with pytest.raises(OriginBusy, match="302"), client.open(cdn.script(Reply(status=302))):
        pass


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "//u:p@127.0.0.1/"])
def test_redirect_to_a_place_we_do_not_go_is_refused(cdn: Origin, client: HttpDownloader, location: str) -> None:
    url = cdn.script(Reply(status=302, headers=(("Location", location),)))
    with pytest.raises(RedirectForbidden), client.open(url):
        pass


@pytest.mark.parametrize("location", ["http://", "http://[::", "http://\uff11\uff12\uff17.0.0.1/", "/" + "a" * 16384])
def test_redirect_to_what_is_no_url_is_the_origins_fault(cdn: Origin, client: HttpDownloader, location: str) -> None:
    url = cdn.script(Reply(status=302, headers=(("Location", location.encode().decode("latin-1")),)))
    with pytest.raises(OriginBusy), client.open(url):
        pass


@pytest.mark.parametrize(
    "url", ["", "x", "http://", "http://[::", "https://h:port/", "http://a\x00b/", "http://h:99999/"]
)
def test_what_is_no_url_is_refused(client: HttpDownloader, url: str) -> None:
    with pytest.raises(AddressForbidden), client.open(url):
        pass


def test_redirect_leaves_the_allowed_hosts_only_to_be_refused(cdn: Origin) -> None:
    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        return [("127.0.0.1", port)]

    with downloader(allowed_hosts=["cdn.test"], resolve=resolve) as client:
        cdn.script(Reply(SONG), path="/b")
        url = cdn.script(Reply(status=302, headers=(("Location", cdn.url_of("/b", "x.cdn.test")),)), host="cdn.test")
        assert fetch(client, url) == SONG
        url = cdn.script(Reply(status=302, headers=(("Location", cdn.url_of("/b", "notcdn.test")),)), host="cdn.test")
        with pytest.raises(AddressForbidden, match="allowed_hosts"), client.open(url):
            pass


# --- the close-delimited body, whose end looks like a cut


def close_delimited(body: bytes = SONG, cut: int | None = None) -> Reply:
    return Reply(body, framing="close", version="HTTP/1.0", cut=cut)


def ranged(status: int, content_range: str, body: bytes = b"") -> Reply:
    return Reply(body, status=status, headers=(("Content-Range", content_range),))


@pytest.mark.parametrize(
    "second_look",
    [
        [ranged(416, f"bytes */{len(SONG)}")],
        [Reply(SONG)],
        [close_delimited()],
        [Reply(SONG, framing="chunked")],
        [Reply(status=416), Reply(SONG)],
    ],
    ids=["416", "length", "same bytes", "same bytes chunked", "mute 416"],
)
def test_body_without_length_is_believed_after_a_second_look(
    cdn: Origin, client: HttpDownloader, second_look: list[Reply]
) -> None:
    assert fetch(client, cdn.script(close_delimited(), *second_look)) == SONG
    assert cdn.requests[1].headers["range"] == f"bytes={len(SONG)}-"


CUT = 200_000


@pytest.mark.parametrize(
    ("second_look", "error"),
    [
        ([ranged(206, f"bytes {CUT}-299999/300000", SONG[CUT:])], BodyShort),
        ([ranged(416, "bytes */300000")], BodyShort),
        ([ranged(416, "bytes */100")], BodyLong),
        ([Reply(SONG)], BodyShort),
        ([close_delimited()], BodyShort),
        ([close_delimited(mp3(CUT, seed=9))], BodyShort),
        ([Reply(SONG, framing="chunked", cut=CUT // 2)], BodyShort),
        ([Reply(status=416)], BodyShort),
        ([Reply(status=404)], BodyShort),
        ([Reply(status=500)], OriginBusy),
        ([Reply(SONG[:CUT], headers=(("ETag", '"other"'),))], BodyChanged),
        ([Reply(status=302, headers=(("Location", "ftp://x/"),))], BodyShort),
    ],
)
def test_cut_body_without_length_is_found_out(
    cdn: Origin, client: HttpDownloader, second_look: list[Reply], error: type[ArchiverError]
) -> None:
    first = Reply(SONG, framing="close", headers=(("ETag", '"one"'),), cut=CUT)
    with pytest.raises(error) as caught:
        fetch(client, cdn.script(first, *second_look))
    assert caught.value.verdict is Verdict.RETRY


def test_body_without_length_closed_too_early_to_tell_is_short(cdn: Origin, client: HttpDownloader) -> None:
    for cut in (0, 1, 4, 300):
        with pytest.raises(BodyShort), client.open(cdn.script(close_delimited(cut=cut))):
            pass


def test_page_without_length_is_no_audio(cdn: Origin, client: HttpDownloader) -> None:
    for page in (b"<html>no</html>", b' {"code":404}'):
        with pytest.raises(BodyNotAudio), client.open(cdn.script(close_delimited(page))):
            pass


# --- checkpoints


def test_checkpoints_are_passed_in_order(cdn: Origin) -> None:
    passed: list[str] = []
    with downloader(checkpoint=passed.append) as client:
        fetch(client, cdn.script(Reply(SONG)))
    assert passed == ["download.opened", "download.first_byte", "download.mid_body", "download.body_done"]


@pytest.mark.parametrize("point", ["download.opened", "download.first_byte", "download.mid_body", "download.body_done"])
def test_stop_at_a_checkpoint_leaves_no_socket_open(cdn: Origin, point: str) -> None:
    class StoppedError(BaseException):
        pass

    def stop(step: str) -> None:
        if step == point:
            raise StoppedError

    with downloader(checkpoint=stop) as client, pytest.raises(StoppedError):
        fetch(client, cdn.script(Reply(SONG)))


@pytest.mark.parametrize("agent", ["", "a\r\nX: y", "naïve"])
def test_user_agent_that_cannot_be_a_header_is_refused(agent: str) -> None:
    with pytest.raises(ValueError, match="user_agent"):
        HttpDownloader(user_agent=agent, limits=BodyLimits(1, 0))


def test_strong_last_modified_needs_a_date_a_minute_later() -> None:
    from archiver.adapters.downloader.answer import validator

    now = datetime(2026, 11, 23, tzinfo=UTC)

    def head(age: float, **more: str) -> dict[str, str]:
        modified = format_datetime(now - timedelta(seconds=age), usegmt=True)
        return {"last-modified": modified, "date": format_datetime(now, usegmt=True), **more}

    assert validator(head(60)) == head(60)["last-modified"]
    assert validator(head(59)) is None
    assert validator(head(60, etag='W/"weak"')) is None
    assert validator(head(60, etag='"strong"')) == '"strong"'
    assert validator({"etag": '"strong"', "accept-ranges": "none"}) is None
    assert validator({"etag": "unquoted"}) is None
    assert validator({"last-modified": "junk", "date": "junk"}) is None
    assert validator({}) is None


# --- too busy


@pytest.mark.parametrize(
    ("replies", "times"),
    [
        ([Reply(SONG)], 0),
        ([Reply(status=503), Reply(status=429), Reply(SONG)], 2),
        ([Reply(status=503)], 3),
        ([Reply(SONG, cut=100_000)], 1),
        ([Reply(status=404)], 0),
    ],
    ids=["well", "at the third try", "never", "cut", "gone"],
)
def test_failure_of_a_host_is_noted_each_time_that_it_did_not_answer_as_it_should(
    cdn: Origin, replies: list[Reply], times: int
) -> None:
    failed: list[str] = []
    with downloader(on_failure=failed.append) as client, suppress(ArchiverError):
        fetch(client, cdn.script(*replies))
    assert failed == [f"127.0.0.1:{cdn.port}"] * times
