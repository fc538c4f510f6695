"""Audio by the page, over HTTP: pieces, files and archives, and a store that is slow, cuts, lies and refuses."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from archiver.core.errors import StoreBusy, StorePaused
from archiver.core.manifest_read import read_manifest
from archiver.core.model import task_id
from archiver.core.reading import ObjectCold
from archiver.core.rebuilt import rebuilt
from archiver.ports.archive import BrowsedArchive
from tests.browser.archives import PREFIX, Bucket, lay, settings_of
from tests.fakes.archive import etag_of
from tests.fakes.events import Events
from tests.fakes.waiting import until
from tests.fixtures.archived import manifest, noise, stem_of
from tests.fixtures.ledgers import NOW, ready_ledger
from tests.fixtures.whole_tasks import fill
from tests.house import Ledger, page_on, trim_on

TASK = "3e63b4cc88d52611159371f6af5571e7"
STEMS = {"vocal": noise(200_001, 1), "bass": noise(150_000, 2)}


@dataclass
class Site:
    """A page with one client that was let in."""

    client: httpx.Client
    bucket: Bucket
    ledger: Ledger
    events: Events

    def piece(self, stem: str, begin: int, end: int) -> httpx.Response:
        return self.client.get(self.url(stem), headers={"Range": f"bytes={begin}-{end - 1}"})

    def url(self, stem: str, task: str = TASK) -> str:
        row = self.ledger.reports.show(task)  # type: ignore[arg-type]
        assert row is not None
        receipt = next(each.receipt for each in row.stems if each.name == stem)
        assert receipt is not None
        return f"/task/{task}/audio/{stem}?e={receipt.etag}"


@contextmanager
def at_work(
    folder: Path, audio: Literal["proxy", "presigned"] = "proxy", cache: int = 0, *, is_empty: bool = False
) -> Iterator[Site]:
    bucket, events = Bucket(), Events()
    settings = settings_of(folder, audio, cache)
    with closing(ready_ledger(folder)) as ledger, page_on(settings, events, bucket) as served:
        if not is_empty:
            lay(ledger, bucket, TASK, STEMS, title='A/B: "so\u202eng" \N{SNOWMAN}', lost="guitar")
        base, token = served.url.rstrip("/"), urlsplit(served.link).fragment
        with httpx.Client(base_url=base, timeout=30) as client:
            own = {"Origin": base, "Sec-Fetch-Site": "same-origin"}
            entered = client.post("/enter", data={"token": token}, headers=own)
            cookie = entered.headers["set-cookie"].partition(";")[0]
            client.headers["Cookie"] = cookie
            yield Site(client, bucket, ledger, events)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with at_work(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture
def site(opened: Site) -> Site:
    opened.bucket.calm()
    opened.events.seen.clear()
    return opened


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 131_072), (131_072, 200_001), (5, 77_777)])
def test_a_range_is_read_as_that_range_and_may_be_kept_by_the_browser(site: Site, begin: int, end: int) -> None:
    answer = site.piece("vocal", begin, end)
    assert (answer.status_code, answer.content) == (206, STEMS["vocal"][begin:end])
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/200001"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["cache-control"].startswith("private")
    assert site.bucket.spans == [(f"{PREFIX}{TASK}/vocal.mp3", begin, end)]
    until(lambda: site.bucket.closed == 1)


def test_a_range_behind_the_end_and_a_strange_one_are_answered_in_order(site: Site) -> None:
    assert site.client.get(site.url("vocal"), headers={"Range": "bytes=200001-"}).status_code == 416
    for strange in ("bytes=-5", "bytes=a-b", "lines=1-2", "bytes=1-2,5-6", f"bytes={'9' * 60}-"):
        answer = site.client.get(site.url("vocal"), headers={"Range": strange})
        assert (answer.status_code, answer.content) == (200, STEMS["vocal"])


def test_the_address_of_another_object_is_refused_before_the_store_is_asked(site: Site) -> None:
    answer = site.client.get(f"/task/{TASK}/audio/vocal?e=other", headers={"Range": "bytes=0-9"})
    assert (answer.status_code, site.bucket.spans) == (409, [])


def test_what_is_not_stored_or_not_known_is_not_found(site: Site) -> None:
    for path in (f"/task/{TASK}/audio/guitar?e=x", f"/task/{TASK}/file/none", "/task/0000/file/vocal", "/task/../zip"):
        assert site.client.get(path).status_code == 404, path


def test_head_tells_of_a_piece_without_asking_the_store(site: Site) -> None:
    answer = site.client.head(site.url("vocal"))
    assert (answer.status_code, answer.headers["content-length"]) == (200, "200001")
    assert site.bucket.closed == 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [(StoreBusy("a silence of 4711 s"), 503), (StorePaused("AccessDenied 4711"), 502), (ObjectCold("GLACIER"), 409)],
)
def test_a_store_that_gives_nothing_is_said_in_words_without_its_own(site: Site, fault: Exception, status: int) -> None:
    site.bucket.refusal = fault
    for path in (site.url("vocal"), f"/task/{TASK}/file/vocal"):
        answer = site.client.get(path, headers={"Range": "bytes=0-9"})
        assert answer.status_code == status
        assert str(fault) not in answer.text
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["audio", "file", "zip"])
def test_a_body_that_the_store_cuts_ends_broken_and_not_short(site: Site, path: str) -> None:
    site.bucket.cut_at = 70_000
    url = site.url("vocal") if path == "audio" else f"/task/{TASK}/{path}{'' if path == 'zip' else '/vocal'}"
    fields = {"Range": "bytes=0-199999"} if path == "audio" else {}
    if path == "audio":
        with pytest.raises(httpx.RemoteProtocolError):
            site.client.get(url, headers=fields)
        assert len(site.events.of("page.broke_off")) == 1
    else:  # goes on where it broke off, as downloads do
        assert site.client.get(url, headers=fields).status_code == 200
    until(lambda: site.bucket.closed >= 1)


def test_a_stem_to_keep_is_whole_proven_and_safely_named(site: Site) -> None:
    answer = site.client.get(f"/task/{TASK}/file/vocal")
    assert answer.content == STEMS["vocal"]
    disposition = answer.headers["content-disposition"]
    name = unquote(disposition.partition("''")[2])
    assert disposition.startswith("attachment; ")
    assert name == "A_B_ _so ng_ \N{SNOWMAN} - vocal.mp3"


def lying(site: Site, task: str) -> None:
    """Lay a task whose second stem has other bytes than its receipt tells, under the ETag that it tells."""
    lay(site.ledger, site.bucket, task, STEMS)
    key = f"{PREFIX}{task}/vocal.mp3"
    other = bytearray(STEMS["vocal"])
    other[150_000] ^= 1
    site.bucket.lies[key] = bytes(other)


def test_other_bytes_than_were_stored_break_a_whole_read_off_and_are_an_event(site: Site) -> None:
    task = "0123456789abcdef0123456789abcdef"
    lying(site, task)
    for path in (f"/task/{task}/file/vocal", site.url("vocal", task)):
        with site.client.stream("GET", path) as answer, pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    assert len(site.events.of("fixity.doubted")) == 2


def test_other_bytes_break_an_archive_off_before_it_has_an_end(site: Site) -> None:
    task = "0123456789abcdef0123456789abcdee"
    lying(site, task)
    got = bytearray()
    with site.client.stream("GET", f"/task/{task}/zip") as answer, pytest.raises(httpx.RemoteProtocolError):
        got += b"".join(_each(answer, got))
    assert got
    assert not zipfile.is_zipfile(io.BytesIO(bytes(got)))
    assert len(site.events.of("fixity.doubted")) == 1
    for path in (f"/task/{task}", f"/task/{task}/live"):
        assert said(site, path) == ["The zip of all: the store gives other bytes than were stored"]


def said(site: Site, path: str) -> list[str]:
    """What the view says of downloads that broke off."""
    found = re.findall(r"<bdi>([^<]+)</bdi> was not given whole \(.*?\): ([^.]+)\.", site.client.get(path).text)
    return [f"{what}: {why}" for what, why in found]


def test_file_that_does_not_begin_is_said_in_the_view_and_of_its_task_alone(site: Site) -> None:
    site.bucket.refusal = StorePaused("AccessDenied 4711")
    assert site.client.get(f"/task/{TASK}/file/bass").status_code == 502
    assert said(site, f"/task/{TASK}/live")[0] == "bass: the store refuses us"
    assert said(site, "/task/0123456789abcdef0123456789abcd99/live") == []


def _each(answer: httpx.Response, into: bytearray) -> Iterator[bytes]:
    """Yield nothing, and keep what comes until it breaks off."""
    for piece in answer.iter_bytes():
        into += piece
        yield b""


def test_an_archive_holds_every_stem_its_documents_and_sums_that_are_right(site: Site) -> None:
    answer = site.client.get(f"/task/{TASK}/zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert all(each.compress_type == zipfile.ZIP_STORED for each in archive.infolist())
        found = {name.removeprefix(f"{TASK}/"): archive.read(name) for name in archive.namelist()}
    sums = dict(line.split("  ")[::-1] for line in found.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    assert {name: found[name] for name in ("vocal.mp3", "bass.mp3")} == {
        f"{name}.mp3": data for name, data in STEMS.items()
    }
    assert set(found) == {"vocal.mp3", "bass.mp3", "manifest.json", "record-info.json"}


def test_an_archive_names_its_files_as_get_does_also_where_their_names_collide(tmp_path: Path) -> None:
    task, datas = "f" * 32, {"bbb.mp3": noise(50, 3), "VOCAL.mp3": noise(60, 4), "vocal.mp3": noise(70, 5)}
    paths = {"aaa": "bbb.mp3", "bbb": "bbb.mp3", "loud": "VOCAL.mp3", "vocal": "vocal.mp3", "words": "MANIFEST.json"}
    datas["MANIFEST.json"] = noise(80, 6)
    folder = f"{PREFIX}{task}/"
    told = [
        stem_of(name, data, path=path, key=folder + path, etag=etag_of(data), alias_of="bbb" if name == "aaa" else None)
        for name, path in paths.items()
        for data in [datas[path]]
    ]
    sealed = manifest(told, task=task, accepted_at="2026-03-01T12:00:00+00:00")
    with at_work(tmp_path, is_empty=True) as site:
        site.bucket.store.objects |= {folder + path: data for path, data in datas.items()}
        site.bucket.store.objects[f"{folder}manifest.json"] = sealed
        fill(site.ledger, rebuilt(read_manifest(sealed), folder))
        answer = site.client.get(f"/task/{task}/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = {name.removeprefix(f"{task}/"): archive.read(name) for name in archive.namelist()}
    called = ("aaa.mp3", "bbb.mp3", "VOCAL.mp3", "vocal (2).mp3", "MANIFEST (2).json")
    expected = {name: datas[path] for name, path in zip(called, paths.values(), strict=True)}
    assert {name: found[name] for name in expected} == expected
    assert set(found) - set(expected) == {"manifest.json", "SHA256SUMS"}
    assert found["SHA256SUMS"].count(b"\n") == len(found) - 1


def test_a_listener_who_goes_away_leaves_no_thread_and_no_connection_behind(site: Site) -> None:
    site.bucket.wait = 0.05
    with site.client.stream("GET", site.url("vocal"), headers={"Range": "bytes=0-199999"}) as answer:
        next(answer.iter_raw())
    until(lambda: site.bucket.closed == 1)


def test_the_view_tells_all_in_words_and_escapes_what_others_wrote(site: Site) -> None:
    text = site.client.get(f"/task/{TASK}").text
    for words in (
        "lost: 1 of 3 stems",
        "gone (410), three times past the deadline",
        "listed after 41 s",
        "2 stems: stored",
    ):
        assert words in text, words
    assert "\u202e" not in text
    assert f'data-size="{len(STEMS["vocal"])}"' in text


def test_a_lost_task_may_be_retried_and_verified_from_its_view(site: Site) -> None:
    text = site.client.get(f"/task/{TASK}").text
    safe = "0123456789abcdef0123456789abcdea"
    lay(site.ledger, site.bucket, safe, STEMS)
    other = site.client.get(f"/task/{safe}").text
    assert [f'action="/operations/{name}"' in text for name in ("retry", "verify")] == [True, True]
    assert [f'action="/operations/{name}"' in other for name in ("retry", "verify")] == [False, True]


def test_documents_are_shown_with_the_seal_judged(site: Site) -> None:
    path = f"/task/{TASK}/documents"
    assert "</span> sealed" in site.client.get(path).text
    task = "0123456789abcdef0123456789abcdec"
    lay(site.ledger, site.bucket, task, STEMS)
    key = f"{PREFIX}{task}/manifest.json"
    site.bucket.store.objects[key] = site.bucket.store.objects[key].replace(b'"archived"', b'"lost"', 1)
    text = site.client.get(f"/task/{task}/documents").text
    assert "seal broken" in text
    assert "&#34;taskId&#34;" in text


def test_a_link_is_made_for_the_click_alone(site: Site) -> None:
    answer = site.client.get(f"/task/{TASK}/link/vocal")
    assert "X-Amz-Signature" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "X-Amz-Signature" not in site.client.get(f"/task/{TASK}").text


def test_presigned_audio_is_given_by_the_store_itself_by_a_link_for_each_piece(tmp_path: Path) -> None:
    with at_work(tmp_path, "presigned") as site:
        answer = site.client.get(site.url("vocal"), headers={"Range": "bytes=0-9"})
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
        assert answer.headers["location"].startswith("https://store.example/stems/")
        assert "X-Amz-Expires=600" in answer.headers["location"]
        policy = answer.headers["content-security-policy"]
        assert "connect-src 'self' https://store.example;" in policy
        assert "media-src 'self' blob: https://store.example;" in policy
        assert site.bucket.spans == []


def trimmed(site: Site, task: str) -> None:
    """Archive a task in the bucket and in the ledger, and trim it there."""
    folder, mine = f"{PREFIX}{task}/", task_id(task)
    told = [stem_of(name, data, key=f"{folder}{name}.mp3", etag=etag_of(data)) for name, data in STEMS.items()]
    sealed = manifest(told, task=task, accepted_at="2026-03-01T12:00:00+00:00")
    site.bucket.store.objects |= {f"{folder}{name}.mp3": data for name, data in STEMS.items()}
    site.bucket.store.objects[f"{folder}manifest.json"] = sealed
    fill(site.ledger, rebuilt(read_manifest(sealed), folder))
    assert trim_on(site.ledger, site.bucket.store, lambda: NOW, PREFIX).run(NOW).left == 0
    row = site.ledger.reports.show(mine)
    assert row is not None
    assert (row.trimmed is not None, row.stems) == (True, ())


def test_trimmed_task_is_shown_and_heard_by_its_manifest_and_said_to_be_unread_without(tmp_path: Path) -> None:
    with at_work(tmp_path, is_empty=True) as site:
        trimmed(site, TASK)
        view = site.client.get(f"/task/{TASK}").text
        assert "safe: all 2 stems" in view
        heard = re.findall(r'data-url="([^"]+)"', view)
        assert len(heard) == len(STEMS)
        answer = site.client.get(unescape(heard[0]), headers={"Range": "bytes=5-99"})
        assert (answer.status_code, answer.content in {data[5:100] for data in STEMS.values()}) == (206, True)
        assert site.client.get(f"/task/{TASK}/file/vocal").content == STEMS["vocal"]
        site.bucket.store.objects[f"{PREFIX}{TASK}/manifest.json"] = b"{}"
        broken = site.client.get(f"/task/{TASK}")
        assert broken.status_code == 200
        assert "which cannot be read: its manifest is missing or broken" in broken.text


def test_an_unknown_task_is_not_found(site: Site) -> None:
    assert site.client.get("/task/ffffffffffffffffffffffffffffffff").status_code == 404
    assert site.client.get("/task/%20").status_code == 404


def satisfies(bucket: Bucket) -> BrowsedArchive:
    """Hold the fake to the port, by types alone."""
    return bucket
