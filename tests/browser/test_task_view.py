"""The task's view in Chromium: looks, keys, sound, and what it says when the store gives nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

from archiver.core.errors import StorePaused
from tests.browser.archives import lay
from tests.browser.conftest import Archive
from tests.browser.judging import judged
from tests.browser.sites import STATIC
from tests.browser.sounds import Sound, mp3, pcm, wav
from tests.fixtures.flac import Form, frames, head

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

TASK = "3e63b4cc88d52611159371f6af5571e7"
HOSTILE = "0123456789abcdef0123456789abcdef"
LONG = "fedcba98765432100123456789abcdef"
NAMES = ("bass", "drums", "origin", "vocal")
PATIENCE = 60_000
SCRIPT = "text/javascript"
SHORT = 6.0


def song(number: int, seconds: float = SHORT) -> bytes:
    return mp3(Sound(seconds=seconds, channels=1, kbits=96, seed=number))


@pytest.fixture
def task(archive: Archive) -> Iterator[Page]:
    """Give the view of a task of four stems, one more of which is lost."""
    archive.bucket.calm()
    if TASK not in {key.split("/")[1] for key in archive.bucket.store.objects}:
        lay(archive.ledger, archive.bucket, TASK, {name: song(at) for at, name in enumerate(NAMES)}, lost="guitar")
    del archive.reports[:]
    archive.page.goto("about:blank")
    archive.page.goto(f"{archive.url}task/{TASK}")
    archive.page.wait_for_selector("#play:visible", timeout=PATIENCE)
    yield archive.page
    archive.page.goto("about:blank")


def is_now(page: Page, state: str) -> None:
    page.wait_for_selector(f"#player[data-state={state}]", timeout=PATIENCE)


def text_of(page: Page, selector: str) -> str:
    return page.inner_text(selector).strip()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_look_of_the_view_is_free_of_faults(
    archive: Archive, task: Page, chromium: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    del task
    state = archive.page.context.storage_state()
    url = f"{archive.url}task/{TASK}"
    found = judged(chromium, url, state=state, scheme=scheme, width=width, name="task")
    assert (found.violations, found.complaints, found.scrolls_by, found.small_targets) == ([], [], 0, [])


def test_what_others_wrote_neither_runs_nor_breaks_the_layout(archive: Archive, chromium: Browser) -> None:
    title = "<script>document.title='run'</script><img src=x onerror=alert(1)>\u202e\u2066" + "W" * 90
    lay(archive.ledger, archive.bucket, HOSTILE, {"vocal": song(1, 0.5)}, title=title)
    state, url = archive.page.context.storage_state(), f"{archive.url}task/{HOSTILE}"
    for place in (url, f"{url}/documents", f"{url}/link/vocal"):
        found = judged(chromium, place, state=state, scheme="dark", width=390, name="hostile")
        assert (found.violations, found.complaints, found.scrolls_by) == ([], [], 0), place


def test_name_of_200_characters_leaves_room_for_receipts_and_other_stems(archive: Archive, chromium: Browser) -> None:
    lay(archive.ledger, archive.bucket, LONG, {"vocal": song(1, 0.5), "s" * 200: song(2, 0.5)})
    context = chromium.new_context(
        storage_state=archive.page.context.storage_state(), viewport={"width": 1280, "height": 900}
    )
    tab = context.new_page()
    tab.goto(f"{archive.url}task/{LONG}")
    assert tab.evaluate("(of => of.scrollWidth - of.clientWidth)(document.querySelector('.table'))") == 0
    assert tab.evaluate("document.querySelector('.stem').offsetHeight") < 100
    context.close()


def test_keys_alone_lead_to_one_stem_solo_and_sound(archive: Archive, task: Page) -> None:
    keys = task.keyboard
    keys.press("Space")
    is_now(task, "playing")
    keys.press("Digit2")
    assert task.get_attribute("li[data-name=drums] .solo", "aria-pressed") == "true"
    assert {
        name for name in NAMES if "unheard" not in (task.get_attribute(f"li[data-name={name}]", "class") or "")
    } == {"drums"}
    keys.press("Digit2")
    keys.press("Shift+Digit1")
    assert task.get_attribute("li[data-name=bass] .mute", "aria-pressed") == "true"
    keys.press("ArrowRight")
    is_now(task, "playing")
    assert task.evaluate("document.querySelector('#player').desk.player.position") >= 4.9
    keys.press("Space")
    is_now(task, "paused")
    assert archive.reports == []


def test_key_that_is_held_down_acts_once_but_for_the_arrows(task: Page) -> None:
    keys = task.keyboard
    for _ in range(4):
        keys.down("Space")
    keys.up("Space")
    is_now(task, "playing")
    for _ in range(2):
        keys.down("Digit2")
    keys.up("Digit2")
    assert task.get_attribute("li[data-name=drums] .solo", "aria-pressed") == "true"
    task.keyboard.press("Space")
    is_now(task, "paused")
    at = "document.querySelector('#player').desk.player.position"
    begun = task.evaluate(at)
    task.evaluate("document.querySelector('#player').desk.seek(0)")
    for _ in range(2):
        keys.down("ArrowRight")
    keys.up("ArrowRight")
    assert task.evaluate(at) > max(begun, 5.1)


def test_solo_with_alt_is_of_one_stem_only_and_mute_solo_and_volume_touch_no_schedule(task: Page) -> None:
    task.click("#play")
    is_now(task, "playing")
    task.click("li[data-name=bass] .solo")
    task.click("li[data-name=drums] .solo")
    task.click("li[data-name=vocal] .solo", modifiers=["Alt"])
    assert task.eval_on_selector_all(".solo[aria-pressed=true]", "(all) => all.length") == 1
    assert task.get_attribute("#player", "data-state") == "playing"


def test_the_mix_is_in_the_address_and_comes_back_from_it(archive: Archive, task: Page) -> None:
    task.goto("about:blank")
    task.goto(f"{archive.url}task/{TASK}#t=2.5&m=bass&s=vocal&v.drums=-12&p.drums=0.5&g=-3&ab=1.00-2.00&x=1.25")
    task.wait_for_selector("#play:visible")
    assert task.input_value("li[data-name=drums] .volume") == "-12"
    assert task.input_value("#speed") == "1.25"
    assert task.get_attribute("#loop", "aria-pressed") == "true"
    task.click("li[data-name=origin] .mute")
    task.wait_for_url("**m=bass,origin&s=vocal&v.drums=-12&p.drums=0.5&g=-3&ab=1.00-2.00&x=1.25", timeout=PATIENCE)


def test_waveforms_are_made_while_it_plays_and_kept_by_the_stems_hash(archive: Archive, task: Page) -> None:
    task.click("#play")
    task.wait_for_selector("#player[data-peaks=done]", timeout=PATIENCE)
    spans = len(archive.bucket.spans)
    task.goto("about:blank")
    task.goto(f"{archive.url}task/{TASK}")
    task.wait_for_selector("#play:visible")
    digest = hashlib.sha256(song(3)).hexdigest()
    kept: dict[str, Any] = task.evaluate(
        "async (digest) => { const { read } = await import('/static/peaks.js'); const peaks = await read(digest);"
        " return { length: peaks.pairs.length, kind: peaks.pairs.constructor.name, seconds: peaks.seconds }; }",
        digest,
    )
    assert (kept["length"], kept["kind"]) == (2000, "Int8Array")
    assert kept["seconds"] == pytest.approx(SHORT, abs=0.1)
    assert len(archive.bucket.spans) == spans


def opened(archive: Archive, task: str, seconds: float = 2) -> Page:
    """Open the view of a fresh task: nothing of it is kept by the browser."""
    lay(archive.ledger, archive.bucket, task, {"bass": song(1, seconds), "vocal": song(2, seconds)})
    archive.bucket.calm()
    archive.page.goto(f"{archive.url}task/{task}")
    archive.page.wait_for_selector("#play:visible", timeout=PATIENCE)
    return archive.page


def test_a_store_that_refuses_is_said_and_play_works_once_it_gives_again(archive: Archive) -> None:
    page = opened(archive, "0123456789abcdef0123456789abcde1")
    archive.bucket.refusal = StorePaused("AccessDenied")
    page.click("#play")
    page.wait_for_selector("#said:has-text('the store refuses us')", timeout=PATIENCE)
    is_now(page, "paused")
    archive.bucket.refusal = None
    page.click("#play")
    is_now(page, "playing")
    assert text_of(page, "#said") == ""


def test_a_browser_that_is_let_in_no_more_is_told_what_helps(archive: Archive, chromium: Browser) -> None:
    opened(archive, "0123456789abcdef0123456789abcde9")
    context = chromium.new_context(storage_state=archive.page.context.storage_state())
    page = context.new_page()
    page.goto(archive.page.url)
    page.wait_for_selector("#play:visible", timeout=PATIENCE)
    context.clear_cookies()
    page.click("#play")
    page.wait_for_selector("#said:has-text('lets this browser in no more')", timeout=PATIENCE)
    context.close()


def test_a_store_that_cuts_is_said(archive: Archive) -> None:
    page = opened(archive, "0123456789abcdef0123456789abcde2")
    archive.bucket.cut_at = 5000
    page.click("#play")
    page.wait_for_selector("#said:has-text('the connection broke')", timeout=PATIENCE)


def test_a_store_that_is_slow_is_waited_for(archive: Archive) -> None:
    page = opened(archive, "0123456789abcdef0123456789abcde3")
    archive.bucket.wait = 0.2
    page.click("#play")
    is_now(page, "loading")
    is_now(page, "playing")


def test_without_webcodecs_stems_are_decoded_whole_and_the_page_says_so(archive: Archive, task: Page) -> None:
    other = task.context.new_page()
    other.add_init_script("delete globalThis.AudioDecoder")
    other.goto(f"{archive.url}task/{TASK}")
    other.wait_for_selector("#play:visible")
    other.click("#play")
    is_now(other, "playing")
    assert other.get_attribute("#player", "data-mode") == "whole"
    assert "lacks AudioDecoder" in text_of(other, "#said")
    other.close()


MOVED = """() => new Promise((done) => {
  const [head, canvas] = [".head", "canvas"].map((each) => document.querySelector(`.stem ${each}`));
  const pixels = [];
  const watch = new MutationObserver(() => pixels.push((parseFloat(head.style.left) / 100) * canvas.width));
  watch.observe(head, { attributes: true });
  setTimeout(() => done([watch.disconnect(), pixels][1]), 1500);
})"""


def test_playhead_is_moved_by_pixels_not_by_frames_of_the_screen(archive: Archive) -> None:
    long = "0123456789abcdef0123456789abcde5"
    song_of_a_minute = song(1, 10) * 6
    lay(archive.ledger, archive.bucket, long, {"bass": song_of_a_minute})
    archive.page.goto(f"{archive.url}task/{long}")
    archive.page.click("#play")
    is_now(archive.page, "playing")
    moved = archive.page.evaluate(MOVED)
    assert len(moved) > 5
    assert len({int(pixel + 0.01) for pixel in moved}) == len(moved), moved


def test_what_is_too_large_to_decode_together_is_played_one_stem_at_a_time(task: Page) -> None:
    mode = task.evaluate(
        "async () => { const { open } = await import('/static/opening.js');"
        " const files = [...document.querySelectorAll('.stem[data-url]')].map((row) =>"
        " ({ name: row.dataset.name, url: row.dataset.url, size: Number(row.dataset.size) }));"
        " delete globalThis.AudioDecoder;"
        " return [(await open(files)).mode, (await open(files, { most: 1e6 })).mode]; }"
    )
    assert mode == ["whole", "single"]


def one_at_a_time(page: Page) -> None:
    """Load the view anew in a browser that cannot play by windows, with stems that are too large together."""
    opening = (STATIC / "opening.js").read_text()
    page.route("**/opening.js*", lambda route: route.fulfill(body=opening.replace("400e6", "1e5"), content_type=SCRIPT))
    page.reload()
    page.wait_for_selector("#play:visible", timeout=PATIENCE)
    page.unroute("**/opening.js*")
    page.evaluate("delete globalThis.AudioDecoder")


SLOW = """(slow) => {
  const given = globalThis.fetch;
  globalThis.fetch = async (url, ...more) => {
    if (url.includes(`/audio/${slow}?`)) await new Promise((go) => setTimeout(go, 1500));
    return await given(url, ...more);
  };
}"""
HEARD = "Object.keys(document.querySelector('#player').desk.player?.stems ?? {}).join()"


def test_one_stem_at_a_time_is_the_one_that_was_chosen_last_though_another_comes_later(task: Page) -> None:
    one_at_a_time(task)
    task.evaluate(SLOW, "drums")
    task.click("#play")
    is_now(task, "playing")
    assert (task.get_attribute("#player", "data-mode"), task.evaluate(HEARD)) == ("single", "bass")
    task.click("li[data-name=drums] .solo")
    task.click("li[data-name=vocal] .solo")
    is_now(task, "playing")
    task.wait_for_timeout(2000)
    assert task.evaluate(HEARD) == "vocal"
    assert task.eval_on_selector_all(".solo[aria-pressed=true]", "(all) => all.length") == 1
    task.click("#play")
    is_now(task, "paused")


def test_one_stem_at_a_time_that_does_not_come_is_told_and_comes_once_the_store_gives_again(archive: Archive) -> None:
    task = opened(archive, "0123456789abcdef0123456789abcde7", seconds=8)
    one_at_a_time(task)
    task.click("#play")
    is_now(task, "playing")
    archive.bucket.refusal = StorePaused("AccessDenied")
    task.click("li[data-name=vocal] .solo")
    less = "the store gives less than it was asked for"  # the browser's cache has a part, and gives that
    task.wait_for_selector(f"#said:has-text('It cannot be heard just now: {less}')", timeout=PATIENCE)
    is_now(task, "paused")
    archive.bucket.refusal = None
    task.click("#play")
    is_now(task, "playing")
    assert task.evaluate(HEARD) == "vocal"


CONTEXTS = """() => {
  const open = (globalThis.contexts = []);
  globalThis.AudioContext = class extends AudioContext {
    constructor(...more) {
      super(...more);
      open.push(this);
    }
  };
}"""


def test_tries_that_fail_leave_no_audio_device_open(archive: Archive) -> None:
    task = opened(archive, "0123456789abcdef0123456789abcde8")
    task.evaluate(CONTEXTS)
    archive.bucket.refusal = StorePaused("AccessDenied")
    for _ in range(3):
        task.click("#play")
        task.wait_for_selector("#said:has-text('the store refuses us')", timeout=PATIENCE)
        task.evaluate("document.querySelector('#said').textContent = ''")
    archive.bucket.refusal = None
    task.click("#play")
    is_now(task, "playing")
    assert task.evaluate("contexts.filter((each) => each.state !== 'closed').length") == 1


def test_slider_stands_at_the_second_where_a_pixel_of_the_playhead_is_many(archive: Archive) -> None:
    long = "0123456789abcdef0123456789abcde6"
    lay(archive.ledger, archive.bucket, long, {"bass": wav(bytes(3600 * 3000), channels=1, rate=3000, bits=8)})
    archive.bucket.calm()
    archive.page.set_viewport_size({"width": 320, "height": 640})
    archive.page.goto(f"{archive.url}task/{long}")
    archive.page.click("#play")
    is_now(archive.page, "playing")
    archive.page.keyboard.press("ArrowRight")
    archive.page.wait_for_selector("#time:has-text('0:07')", timeout=PATIENCE)
    value = float(archive.page.input_value("#position"))
    archive.page.set_viewport_size({"width": 1280, "height": 720})
    assert value == pytest.approx(7, abs=1)


SILENT_CLIPPED_SHORT = """async () => {
  const { Gathering, marks } = await import("/static/peaks.js");
  const of = (planes, seconds) => {
    const into = new Gathering(planes[0].length, 1000);
    into.add(planes, 0);
    return { ...into.result, seconds };
  };
  const loud = new Float32Array(1000).fill(1, 10, 14);
  return [of([new Float32Array(1000)], 60), of([loud], 60), of([new Float32Array(1000).fill(0.2)], 50)]
    .map((each) => marks(each, 60).join());
}"""


def test_silent_clipped_and_short_stems_are_marked(task: Page) -> None:
    assert task.evaluate(SILENT_CLIPPED_SHORT) == ["silent", "clipped", "short by 10 s"]


MIXED = """async () => {
  const { rendered } = await import("/static/mixdown.js");
  const { flat } = await import("/static/mixer.js");
  const { open } = await import("/static/opening.js");
  const files = [...document.querySelectorAll(".stem[data-url]")].map((row) =>
    ({ name: row.dataset.name, url: row.dataset.url, size: Number(row.dataset.size) }));
  const { stems, rate } = await open(files);
  const mix = flat(files.map((file) => file.name));
  mix.stems.vocal.solo = true;
  mix.stems.vocal.pan = -1;
  const length = stems.vocal.length;
  const blob = await rendered({ stems, mix, rate, length });
  const words = new DataView(await blob.arrayBuffer());
  const [plane] = await stems.vocal.samples(0, length);
  let best = [9, 0];
  for (let lag = -400; lag <= 400; lag += 1) {
    let worst = 0;
    for (let at = 30000; at < 31000; at += 1) {
      worst = Math.max(worst, Math.abs(words.getInt16(44 + 4 * (at + lag), true) / 32767 - plane[at]));
    }
    if (worst < best[0]) best = [worst, lag];
  }
  return { size: blob.size, expected: 44 + 4 * length, worst: best[0], lag: best[1] };
}"""


def test_the_mix_as_a_file_is_what_is_heard_and_begins_on_the_same_sample(task: Page) -> None:
    found: dict[str, Any] = task.evaluate(MIXED)
    assert found["size"] == found["expected"]
    assert (found["lag"], found["worst"] < 0.003) == (0, True), found


SEEKS = """async () => {
  const { player } = document.querySelector("#player").desk;
  for (let seek = 0; seek < 200; seek += 1) {
    player.seek((seek * 0.37) % 5);
    await new Promise((go) => setTimeout(go, seek % 20));
  }
  let worst = 0;
  for (let seek = 0; seek < 10; seek += 1) {
    const begun = performance.now();
    await player.seek(0.5 * seek);
    worst = Math.max(worst, performance.now() - begun);
  }
  await player.seek(1.5);
  return { begun: player.position, late: player.late, worst, state: player.state };
}"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_seeks_in_a_row_end_where_the_last_one_led(archive: Archive, task: Page) -> None:
    task.click("#play")
    is_now(task, "playing")
    worst = task.evaluate(SEEKS)
    print(worst)
    assert worst["state"] == "playing"
    assert worst["begun"] == pytest.approx(1.5, abs=0.3)
    assert archive.reports == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twelve_stems_begin_soon_none_is_late_and_little_memory_is_held(archive: Archive) -> None:
    archive.bucket.calm()
    lay(archive.ledger, archive.bucket, TWELVE, {f"stem_{at:02}": song(at, 30) for at in range(12)})
    page = archive.page
    page.goto(f"{archive.url}task/{TWELVE}")
    page.wait_for_selector("#play:visible", timeout=PATIENCE)
    begun = page.evaluate("() => { performance.mark('asked'); document.querySelector('#play').click(); }")
    is_now(page, "playing")
    began = page.evaluate("performance.measure('first', 'asked').duration")
    page.wait_for_timeout(20_000)
    found: dict[str, Any] = page.evaluate(
        "({ late: document.querySelector('#player').dataset.late, heap: performance.memory.usedJSHeapSize / 1e6,"
        " position: document.querySelector('#player').desk.player.position })"
    )
    print(begun, began, found)
    assert found["late"] == "0"
    assert found["position"] > 15
    assert found["heap"] < 150


TWELVE = "0123456789abcdef0123456789abcd12"


def flac_with(broken: range) -> bytes:
    """Return a file of six seconds, in which these frames are damaged."""
    form, samples = Form(order=None), [pcm(Sound(seconds=SHORT, channels=1)).tolist()]
    parts = frames(samples, form)
    return head(samples, form) + b"".join(
        part[:-1] + bytes([part[-1] ^ 1]) if at in broken else part for at, part in enumerate(parts)
    )


@pytest.mark.parametrize(
    ("broken", "mode", "said"),
    [(range(30, 32), "windows", "Damaged: vocal."), (range(20, 50), "whole", "each is decoded whole")],
    ids=["a-little", "too-much"],
)
def test_damage_within_a_stem_is_said_and_much_of_it_lets_all_be_decoded_whole_from_there(
    archive: Archive, broken: range, mode: str, said: str
) -> None:
    task = f"0123456789abcdef0123456789abc{len(broken):03}"
    lay(archive.ledger, archive.bucket, task, {"bass": song(1), "vocal": flac_with(broken)})
    archive.bucket.calm()
    archive.page.goto(f"{archive.url}task/{task}")
    archive.page.click("#play")
    archive.page.wait_for_selector(f"#said:has-text('{said}')", timeout=PATIENCE)
    archive.page.wait_for_selector(f"#player[data-state=playing][data-mode={mode}]", timeout=PATIENCE)


def test_first_view_of_the_player_is_small_on_the_wire(archive: Archive, chromium: Browser) -> None:
    lay(
        archive.ledger,
        archive.bucket,
        "0123456789abcdef0123456789abcde4",
        {f"stem_{at:02}": song(at) for at in range(12)},
    )
    context = chromium.new_context(storage_state=archive.page.context.storage_state())
    page, sizes = context.new_page(), dict[str, int]()
    cdp = context.new_cdp_session(page)
    names: dict[str, str] = {}
    cdp.on("Network.requestWillBeSent", lambda sent: names.update({sent["requestId"]: sent["request"]["url"]}))
    cdp.on("Network.loadingFinished", lambda done: sizes.update({names[done["requestId"]]: done["encodedDataLength"]}))
    cdp.send("Network.enable")
    page.goto(f"{archive.url}task/0123456789abcdef0123456789abcde4")
    page.wait_for_selector("#play:visible", timeout=PATIENCE)
    page.wait_for_load_state("networkidle")
    context.close()
    assert {url.rpartition("/")[2].partition("?")[0] for url in sizes} >= {
        "task.js",
        "player.js",
        "track.js",
        "page.css",
    }
    assert sum(sizes.values()) <= 90_000, sizes
