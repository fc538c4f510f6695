"""Waveforms that the server has made: drawn before anything plays, and gone before those of the browser."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.browser.archives import Bucket, lay, settings_of
from tests.browser.judging import judged
from tests.browser.sounds import Sound, mp3
from tests.fakes.events import Events
from tests.fixtures.ledgers import ready_ledger
from tests.house import page_on

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

TASK = "9e63b4cc88d52611159371f6af5571e7"
PATIENCE = 60_000


@pytest.fixture(scope="module")
def view(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the view of a task whose stems are all measured by the server."""
    folder, bucket = tmp_path_factory.mktemp("sounds"), Bucket()
    with (
        closing(ready_ledger(folder)) as ledger,
        page_on(settings_of(folder, cache=1 << 20), Events(), bucket) as served,
    ):
        square = array("h", ([32_767] * 200 + [-32_767] * 200) * 200)
        loud = mp3(Sound(seconds=2, channels=1), square)
        lay(ledger, bucket, TASK, {"bass": loud, "vocal": mp3(Sound(seconds=2, channels=1, seed=3))})
        context = chromium.new_context()
        page = context.new_page()
        page.goto(served.link)
        page.wait_for_url(served.url)
        page.goto(f"{served.url}task/{TASK}")
        page.wait_for_selector("#player[data-measured='2']", timeout=PATIENCE)
        yield page
        context.close()


DRAWN = """(name) => {
  const canvas = document.querySelector(`li[data-name=${name}] canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let rows = 0;
  for (let y = 0; y < canvas.height; y += 1) {
    for (let x = 0; x < canvas.width; x += 1) if (data[4 * (y * canvas.width + x) + 3]) { rows += 1; break; }
  }
  return rows / canvas.height;
}"""


def test_waveforms_marks_and_loudness_are_there_before_anything_plays(view: Page) -> None:
    assert view.get_attribute("#player", "data-state") == "paused"
    assert view.evaluate(DRAWN, "bass") > 0.9
    assert 0.1 < view.evaluate(DRAWN, "vocal") < 0.9
    assert view.inner_text("li[data-name=bass] .level").endswith("LUFS")
    assert view.inner_text("li[data-name=bass] .marks") == "clipped"
    assert view.inner_text("li[data-name=vocal] .marks") == ""


def test_browser_makes_none_of_what_is_known(view: Page) -> None:
    view.click("#play")
    view.wait_for_selector("#player[data-peaks=done]", timeout=PATIENCE)
    made = view.evaluate(
        "async () => { const { read } = await import('/static/peaks.js');"
        " return Promise.all([...document.querySelectorAll('.stem')].map((row) => read(row.dataset.sha256))); }"
    )
    assert made == [None, None]
    assert view.inner_text("li[data-name=bass] .marks") == "clipped"


def test_view_with_marks_and_loudness_is_free_of_faults_on_a_phone(view: Page, chromium: Browser) -> None:
    state, url = view.context.storage_state(), view.url
    found = judged(chromium, url, state=state, scheme="dark", width=390, name="measured")
    assert (found.violations, found.complaints, found.scrolls_by, found.small_targets) == ([], [], 0, [])
