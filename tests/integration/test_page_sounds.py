"""Sound of what people look at: asked for by a view, measured beside it, kept, and marked in task and list."""

from __future__ import annotations

import time
from array import array
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from archiver.core.errors import StorePaused
from tests.browser.archives import lay
from tests.browser.sounds import Sound, mp3
from tests.fakes.waiting import until
from tests.integration.test_page_audio import Site, at_work

TASK = "5e63b4cc88d52611159371f6af5571e7"
WRONG = "6e63b4cc88d52611159371f6af5571e7"
SILENT = mp3(Sound(seconds=0.6), array("h", bytes(4 * 26_460)))
GOOD = mp3(Sound(seconds=0.6, seed=7))
JUNK = b"\xff\xfb" + bytes(5000)
CACHE = 1 << 20


@contextmanager
def listened_to(folder: Path, cache: int = CACHE) -> Iterator[Site]:
    with at_work(folder, cache=cache) as site:
        lay(site.ledger, site.bucket, TASK, {"vocal": GOOD, "fx": SILENT, "other": JUNK})
        yield site


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with listened_to(tmp_path_factory.mktemp("sounds")) as site:
        yield site


@pytest.fixture
def site(opened: Site) -> Site:
    opened.bucket.calm()
    opened.events.seen.clear()
    return opened


def answered(site: Site, task: str = TASK) -> dict[str, Any]:
    found: dict[str, Any] = site.client.get(f"/task/{task}/waveforms").json()
    return found


def all_measured(site: Site, task: str = TASK) -> dict[str, dict[str, str]]:
    until(lambda: answered(site, task)["pending"] == 0, 60)
    stems: dict[str, dict[str, str]] = answered(site, task)["stems"]
    return stems


def test_stems_are_measured_once_somebody_looks_and_what_is_no_audio_is_said_once(site: Site) -> None:
    stems = all_measured(site)
    assert set(stems) == {"vocal", "fx"}
    assert (stems["fx"]["marks"], stems["fx"]["level"]) == ("silent", "")
    assert stems["vocal"]["marks"] == ""
    assert stems["vocal"]["level"].endswith(" LUFS")
    assert len(b64decode(stems["vocal"]["pairs"])) == 2000
    assert max(b64decode(stems["vocal"]["pairs"])[1::2]) > 10
    answered(site)
    assert [str(fields["key"]).rpartition("/")[2] for fields in site.events.of("page.unmeasured")] == ["other.mp3"]


def test_marks_and_loudness_stand_in_the_view_and_the_marks_in_the_list(site: Site) -> None:
    all_measured(site)
    view, listed = site.client.get(f"/task/{TASK}").text, site.client.get("/tasks").text
    assert '<span class="marks">silent</span>' in view
    assert view.count(" LUFS</span>") == 1
    assert listed.count("(silent)") == 1


def test_next_process_has_them_from_its_folder_without_reading_an_object(tmp_path: Path) -> None:
    with listened_to(tmp_path) as site:
        before = all_measured(site)
    with at_work_again(tmp_path) as site:
        site.bucket.refusal = StorePaused("AccessDenied")
        assert answered(site)["stems"] == before


@contextmanager
def at_work_again(folder: Path) -> Iterator[Site]:
    import httpx

    from tests.browser.archives import Bucket, settings_of
    from tests.fakes.events import Events
    from tests.fixtures.ledgers import ready_ledger
    from tests.house import page_on

    bucket, events = Bucket(), Events()
    with closing(ready_ledger(folder)) as ledger, page_on(settings_of(folder, cache=CACHE), events, bucket) as served:
        base, token = served.url.rstrip("/"), served.link.partition("#")[2]
        with httpx.Client(base_url=base, timeout=30) as client:
            own = {"Origin": base, "Sec-Fetch-Site": "same-origin"}
            entered = client.post("/enter", data={"token": token}, headers=own)
            client.headers["Cookie"] = entered.headers["set-cookie"].partition(";")[0]
            yield Site(client, bucket, ledger, events)


def test_bytes_that_are_not_the_receipts_are_doubted_and_measured_never(site: Site) -> None:
    lay(site.ledger, site.bucket, WRONG, {"bass": mp3(Sound(seconds=0.3, seed=3))})
    key = next(key for key in site.bucket.store.objects if key.startswith(f"stems/{WRONG}/bass"))
    right = site.bucket.store.objects[key]
    site.bucket.lies[key] = right[:-1] + bytes([right[-1] ^ 1])
    assert all_measured(site, WRONG) == {}
    assert len(site.events.of("fixity.doubted")) == 1


def test_store_that_refuses_is_asked_again_at_the_next_look(site: Site) -> None:
    task = "7e63b4cc88d52611159371f6af5571e7"
    lay(site.ledger, site.bucket, task, {"bass": mp3(Sound(seconds=0.3, seed=4))})
    site.bucket.refusal = StorePaused("AccessDenied")
    assert answered(site, task)["pending"] == 1
    until(lambda: bool(site.events.of("page.unmeasured")), 30)
    assert answered(site, task)["pending"] == 1
    site.bucket.calm()
    assert set(all_measured(site, task)) == {"bass"}


def test_nothing_is_begun_while_somebody_listens(site: Site) -> None:
    task = "8e63b4cc88d52611159371f6af5571e7"
    lay(site.ledger, site.bucket, task, {"bass": mp3(Sound(seconds=0.3, seed=5))})
    ends = time.monotonic() + 3
    while time.monotonic() < ends:
        site.client.get(site.url("bass", task), headers={"Range": "bytes=0-9"})
        assert answered(site, task)["stems"] == {}
    assert set(all_measured(site, task)) == {"bass"}


def test_without_a_cache_nothing_is_read_or_measured(tmp_path: Path) -> None:
    with listened_to(tmp_path, cache=0) as site:
        site.client.get(f"/task/{TASK}")
        assert answered(site) == {"stems": {}, "pending": 0}
        assert site.bucket.closed == 0
        assert not (tmp_path / "page").exists()


def test_task_that_is_none_is_not_there(site: Site) -> None:
    assert site.client.get("/task/nothing/waveforms").status_code == 404


def test_page_ends_at_once_though_a_stem_is_being_measured(tmp_path: Path) -> None:
    with listened_to(tmp_path) as site:
        answered(site)
        until((tmp_path / "page").exists)
    assert not [each for each in (tmp_path / "page").iterdir() if each.suffix == ".part"]
