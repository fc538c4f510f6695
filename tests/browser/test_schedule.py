"""The schedule of the player: stems begin together, in the future, and in memory that is used again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import Sound, mp3

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

STEMS = 4

PLAYER = """async (stems) => {
  const [{ Track }, { Player }, { flat }] = await Promise.all(
    ["track", "player", "mixer"].map((name) => import(`/static/${name}.js`)));
  const tracks = {};
  for (const stem of stems) await (tracks[stem.name] = new Track(stem)).open();
  const { rate, samples } = tracks[stems[0].name].head;
  const context = new AudioContext({ sampleRate: rate });
  return new Player({ stems: tracks, rate, samples, mix: flat(Object.keys(tracks)), context });
}"""

SLOWLY = """async ({ stems, slow, calls, busy }) => {
  const player = await (PLAYER)(stems);
  const { context } = player;
  const sources = AudioBufferSourceNode.prototype;
  const { start } = sources;
  const begun = new Map();
  let called = 0;
  const slowly = (name) => {
    if (name === slow && called++ < calls) for (const end = performance.now() + busy; performance.now() < end; );
  };
  sources.connect = function (into) {
    slowly("connect");
    return AudioNode.prototype.connect.call(this, into);
  };
  sources.start = function (when) {
    slowly("start");
    start.call(this, when);
    begun.set(this, { when, now: context.currentTime });
  };
  sources.stop = function (...when) {
    AudioScheduledSourceNode.prototype.stop.apply(this, when);
    if (when.length === 0) begun.delete(this);
  };
  await player.play();
  await new Promise((go) => setTimeout(go, 300));
  const found = { begun: [...begun.values()], called, late: player.late, state: player.state };
  Object.assign(sources, { start });
  delete sources.connect;
  delete sources.stop;
  player.close();
  await context.close();
  return found;
}""".replace("PLAYER", PLAYER)


def stems_at(site: Site, seconds: float) -> list[dict[str, object]]:
    files = [mp3(Sound(seconds=seconds, channels=1, kbits=64, seed=at)) for at in range(STEMS)]
    urls = [site.audio(f"laid{at}-{seconds}.mp3", data) for at, data in enumerate(files)]
    return [{"name": url, "url": url, "size": len(data)} for url, data in zip(urls, files, strict=True)]


@pytest.mark.parametrize("slow", ["connect", "start"])
def test_stems_begin_on_one_sample_that_lies_ahead_though_to_lay_them_takes_longer_than_the_lead(
    blank: Page, site: Site, slow: str
) -> None:
    asked = {"stems": stems_at(site, 4), "slow": slow, "calls": STEMS, "busy": 60}
    found: dict[str, Any] = blank.evaluate(SLOWLY, asked)
    assert found["called"] > STEMS
    assert (found["state"], found["late"]) == ("playing", 0)
    windows = defaultdict(list)
    for each in found["begun"]:
        windows[each["when"]].append(each["now"])
    assert {len(each) for each in windows.values()} == {STEMS}
    assert all(max(nows) < when for when, nows in windows.items()), windows


SOUGHT = """async ({ stems, seeks }) => {
  const player = await (PLAYER)(stems);
  await player.play();
  const made = [];
  for (const to of seeks) {
    await player.seek(to);
    await new Promise((go) => setTimeout(go, 400));
    made.push(player.buffers.made);
  }
  const { late } = player;
  player.close();
  await player.context.close();
  return { made, late };
}""".replace("PLAYER", PLAYER)


def test_seeks_use_the_memory_again_that_sounded_before_them(blank: Page, site: Site) -> None:
    found: dict[str, Any] = blank.evaluate(SOUGHT, {"stems": stems_at(site, 30), "seeks": [3, 11, 0, 7, 2, 9, 1, 5]})
    made = found["made"]
    assert made[0] >= 2 * STEMS
    assert made[-1] <= 2 * made[0], made


AGAIN = """async () => {
  const [{ Buffers }, { laid }] = await Promise.all(["buffers", "player"].map((name) => import(`/static/${name}.js`)));
  const [buffers, rate] = [new Buffers(1000, 44_100), 44_100];
  const found = [];
  const each = [[1, 1, 0.5, 1000], [1, 1, 0.25, 400], [2, 2, 0.1, 300], [2, 1, 0.7, 600]];
  for (const [channels, used, value, count] of each) {
    const context = new OfflineAudioContext(2, 1000, rate);
    const samples = (_, count, __, into) => into.slice(0, used).map((plane) => plane.subarray(0, count).fill(value));
    const buffer = await buffers.filled({ samples, channels }, 0, count);
    laid(context, buffer, { when: 0, count, into: context.destination });
    const heard = await context.startRendering();
    buffers.back([buffer]);
    found.push([0, 1].map((at) => heard.getChannelData(at).findIndex((each) => Math.abs(each - value) > 1e-6)));
  }
  return { found, made: buffers.made };
}"""


def test_a_buffer_that_is_used_again_sounds_as_it_was_filled_last_and_is_silent_behind(blank: Page) -> None:
    assert blank.evaluate(AGAIN) == {"found": [[-1, -1], [400, 400], [300, 300], [600, 600]], "made": 2}
