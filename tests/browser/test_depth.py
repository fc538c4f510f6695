"""How far ahead the player decodes: little where that is enough, more for good before anything is late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SHALLOW = {"frames": 64, "ahead": 5}
DEEP = {"frames": 190, "ahead": 10}

DEPTHS = """async (all) => {
  const { SHALLOW, depth } = await import("/static/depth.js");
  return all.map((seen) => seen.reduce((now, each) => depth(now, each), SHALLOW));
}"""


@pytest.mark.parametrize(
    ("seen", "depth"),
    [
        ([], SHALLOW),
        ([{"took": 0.8, "sounds": 1.67}, {"left": 2.6}], SHALLOW),
        ([{"took": 0.9, "sounds": 1.67}], DEEP),
        ([{"left": 2.4}], DEEP),
        ([{"took": 0.9, "sounds": 1.67}, {"took": 0.1, "sounds": 1.67}, {"left": 9}], DEEP),
        ([{"took": 0.9, "sounds": 1.67}, {"took": 9, "sounds": 5}, {"left": 0}], DEEP),
    ],
    ids=["nothing", "in time", "slow decoder", "little left", "quick again", "slower still"],
)
def test_depth_is_small_until_time_runs_short_and_great_from_then_on(
    blank: Page, seen: list[dict[str, float]], depth: dict[str, int]
) -> None:
    assert blank.evaluate(DEPTHS, [seen]) == [depth]


PLAYED = """async ({ share = 0, after = 0, each = 0, loop = null, seconds }) => {
  const [{ Player }, { flat }] = await Promise.all(["player", "mixer"].map((name) => import(`/static/${name}.js`)));
  const rate = 44_100;
  const context = new AudioContext({ sampleRate: rate });
  const samples = async (from, count, _, planes) => {
    const takes = each + (from >= after * rate ? (share * 1000 * count) / rate : 0);
    await new Promise((go) => setTimeout(go, takes));
    return planes.map((plane) => plane.subarray(0, count).fill(0));
  };
  const stems = { one: { channels: 1, delay: 0, length: 60 * rate, samples } };
  const player = new Player({ stems, rate, mix: flat(["one"]), context });
  const found = () => {
    const { depth, buffers, late, ahead } = player;
    return { frames: depth.frames, length: buffers.length, late, ahead };
  };
  player.repeat(loop);
  await player.play();
  while (!player.filled) await new Promise((go) => setTimeout(go, 20));
  const before = found();
  await new Promise((go) => setTimeout(go, 1000 * seconds));
  const behind = found();
  player.close();
  await context.close();
  return { before, behind };
}"""


def test_player_deepens_when_a_decoder_becomes_slow_and_no_window_is_late(blank: Page) -> None:
    found: dict[str, Any] = blank.evaluate(PLAYED, {"share": 0.9, "after": 8, "seconds": 7})
    assert (found["before"]["frames"], found["before"]["late"]) == (64, 0)
    assert found["before"]["ahead"] <= 5 + 64 * 1152 / 44_100
    assert (found["behind"]["frames"], found["behind"]["late"]) == (190, 0)
    assert found["behind"]["length"] == 190 * 1152 + 1


def test_window_that_a_loop_cuts_short_is_no_slow_one(blank: Page) -> None:
    cut = (32 * 1152 + 100) / 44_100  # of which the second window has 100 samples
    found: dict[str, Any] = blank.evaluate(PLAYED, {"each": 30, "loop": [0, cut], "seconds": 1})
    assert found["behind"]["frames"] == 64


LENGTHENED = """async () => {
  const { Buffers } = await import("/static/buffers.js");
  const buffers = new Buffers(100, 44_100);
  const stem = { channels: 1, samples: (_, count, __, planes) => planes };
  const short = [await buffers.filled(stem, 0, 100), await buffers.filled(stem, 0, 100)];
  buffers.back(short.slice(0, 1));
  buffers.lengthen(300);
  buffers.back(short.slice(1));
  const long = [await buffers.filled(stem, 0, 300)];
  buffers.back(long);
  long.push(await buffers.filled(stem, 0, 300));
  return { made: buffers.made, lengths: long.map((each) => each.length) };
}"""


def test_buffers_that_became_too_short_are_not_used_again_and_the_longer_ones_are(blank: Page) -> None:
    assert blank.evaluate(LENGTHENED) == {"made": 3, "lengths": [300, 300]}


ENDED = """async () => {
  const { laid } = await import("/static/player.js");
  const context = new AudioContext({ sampleRate: 44_100 });
  const buffer = new AudioBuffer({ numberOfChannels: 1, length: 60 * 44_100, sampleRate: 44_100 });
  const when = Math.ceil((context.currentTime + 0.1) * 44_100);
  const source = laid(context, buffer, { when, count: 4410, into: context.destination });
  const given = await new Promise((done) => {
    source.onended = () => done(true);
    setTimeout(() => done(false), 10_000);
  });
  await context.close();
  return given;
}"""


def test_buffer_is_given_back_when_its_window_ends_however_long_it_is(blank: Page) -> None:
    assert blank.evaluate(ENDED)
