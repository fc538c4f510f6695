"""Audio that the store gives by itself: its links are followed, under a policy that names the store, and are heard."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.archives import Bucket, lay, settings_of
from tests.browser.sites import Site
from tests.browser.sounds import Sound, mp3
from tests.fakes.events import Events
from tests.fixtures.ledgers import ready_ledger
from tests.house import page_on

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

TASK = "3e63b4cc88d52611159371f6af5571e7"


def test_stems_are_played_by_presigned_links_of_another_origin(chromium: Browser, site: Site, tmp_path: Path) -> None:
    bucket = Bucket(gives_by=lambda key: f"{site.address}/audio/{key.rpartition('/')[2]}?X-Amz-Signature=secret")
    songs = {name: mp3(Sound(seconds=6, channels=1, kbits=96, seed=at)) for at, name in enumerate(("bass", "vocal"))}
    for name, song in songs.items():
        site.audio(f"{name}.mp3", song)
    settings, reports = settings_of(tmp_path, "presigned"), list[str]()
    with closing(ready_ledger(tmp_path)) as ledger, page_on(settings, Events(), bucket) as served:
        lay(ledger, bucket, TASK, songs)
        context = chromium.new_context()
        tab = context.new_page()
        tab.on("console", lambda said: reports.append(said.text) if said.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: reports.append(str(error)))
        tab.goto(served.link)
        tab.wait_for_url(served.url)
        tab.goto(f"{served.url}task/{TASK}")
        tab.click("#play")
        tab.wait_for_selector("#player[data-state=playing]", timeout=60_000)
        assert tab.inner_text("#said").strip() == ""
        context.close()
    assert {path for path, _ in site.asked} == {"/audio/bass.mp3", "/audio/vocal.mp3"}
    assert all(asked.startswith("bytes=") for _, asked in site.asked)
    assert (bucket.spans, reports) == ([], [])
