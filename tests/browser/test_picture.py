"""The picture of the documents: a task of the demo's song as the page shows it. `--update` takes it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from archiver.demo.song import INSTRUMENTS, stems
from tests import ROOT
from tests.browser.archives import lay
from tests.browser.conftest import Archive

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(180)]

PICTURE = ROOT / "deploy/page.png"
LARGEST = 200_000
"""Bytes."""
SIZE = (1240, 860)
TASK = "3e63b4cc88d52611159371f6af5571e7"
STEMS = tuple(name for name in INSTRUMENTS[:6] if name != "guitar")


def test_picture_is_small_and_as_large_as_the_one_that_is_kept(
    archive: Archive, chromium: Browser, request: pytest.FixtureRequest
) -> None:
    songs = {name: stems()[name] for name in STEMS}
    lay(archive.ledger, archive.bucket, TASK, songs, title="Harbour Lights", lost="guitar")
    context = chromium.new_context(
        storage_state=archive.page.context.storage_state(),
        viewport={"width": SIZE[0], "height": SIZE[1]},
        color_scheme="light",
        reduced_motion="reduce",
    )
    tab = context.new_page()
    tab.goto(f"{archive.url}task/{TASK}")
    tab.click("#play")
    tab.wait_for_selector("#player[data-peaks=done]", timeout=60_000)
    tab.click("#play")
    tab.click("li[data-name=bass] .solo")
    tab.click("li[data-name=drums] .solo")
    tab.evaluate("document.querySelector('#player').desk.seek(3.5)")
    tab.evaluate("document.activeElement.blur()")
    tab.wait_for_timeout(300)
    taken = tab.screenshot(type="png")
    context.close()
    if request.config.getoption("--update"):
        PICTURE.write_bytes(taken)
    for picture in (taken, PICTURE.read_bytes()):
        assert len(picture) <= LARGEST
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == SIZE
