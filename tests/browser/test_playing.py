"""What plays where links, files and servers are not as they should be, and where a song ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import Sound, frames_of, mp3, wav
from tests.browser.test_frames import tagged

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

LINKED = """async (fragment) => {
  const [{ taken }, { flat }] = await Promise.all(["mixlink", "mixer"].map((name) => import(`/static/${name}.js`)));
  const mix = flat(["drums"]);
  const { seconds, loop, speed } = taken(fragment, mix);
  const { volume, pan } = mix.stems.drums;
  return [seconds, loop, speed, volume, pan, mix.master].map(String);
}"""


@pytest.mark.parametrize(
    "strange",
    ["t=5abc", "t=1e", "v.drums=3x", "p.drums=0.5.5", "g=1 2", "x=fast", "x=", "ab=-10", "ab=1e9-1e10", "ab=1-2x"],
)
def test_what_is_strange_in_a_link_is_nothing(blank: Page, strange: str) -> None:
    assert blank.evaluate(LINKED, f"m=&{strange}") == ["0", "null", "1", "0", "0", "0"]


PLAYED = """async ({ stem, from = 0, loop = null, until }) => {
  const [{ Player }, { Track }, { flat }] = await Promise.all(
    ["player", "track", "mixer"].map((name) => import(`/static/${name}.js`)));
  const track = new Track(stem);
  await track.open();
  const { rate, samples } = track.head;
  const context = new AudioContext({ sampleRate: rate });
  const player = new Player({ stems: { one: track }, rate, samples, mix: flat(["one"]), context });
  player.seek(from);
  player.repeat(loop);
  const length = player.length;
  await player.play();
  const begun = context.currentTime;
  let [last, again] = [0, 0];
  while (player.state !== "paused" && context.currentTime - begun < until) {
    if (player.sample < last) again += 1;
    last = player.sample;
    await new Promise((go) => setTimeout(go, 10));
  }
  const found = { length, last, again, state: player.state, took: context.currentTime - begun };
  player.close();
  await context.close();
  return found;
}"""


def played(page: Page, site: Site, data: bytes, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - what PLAYED takes
    stem = {"url": site.audio("played.mp3", data), "size": len(data)}
    found: dict[str, Any] = page.evaluate(PLAYED, {"stem": stem, **asked})
    return found


def test_a_song_is_over_when_its_last_sample_was_heard(blank: Page, site: Site) -> None:
    found = played(blank, site, mp3(Sound(seconds=3, channels=1, kbits=96)), **{"from": 1}, until=4)
    assert found["state"] == "paused"
    assert found["took"] == pytest.approx(found["length"] / 44_100 - 1, abs=0.35)


@pytest.mark.parametrize("to", [3.6, 100])
def test_a_loop_that_ends_behind_the_song_ends_with_it(blank: Page, site: Site, to: float) -> None:
    found = played(blank, site, mp3(Sound(seconds=3, channels=1, kbits=96)), loop=[2, to], **{"from": 1.8}, until=4)
    assert (found["state"], found["again"] in {2, 3}) == ("playing", True), found


def test_a_loop_behind_the_song_is_none(blank: Page, site: Site) -> None:
    found = played(blank, site, mp3(Sound(seconds=2, channels=1, kbits=96)), loop=[100, 200], until=4)
    assert (found["state"], found["again"]) == ("paused", 0)


def test_fewer_frames_than_there_are_are_believed_no_longer_than_until_they_are_over(blank: Page, site: Site) -> None:
    data = mp3(Sound(seconds=5, channels=1, kbits=320))
    lying = tagged(data, b"Info", frames=len(frames_of(data)) // 2, delay=0)
    found = played(blank, site, lying, until=7)
    assert found["last"] / 44_100 == pytest.approx(5, abs=0.2)


RANGED = """async ({ url, from, to }) => {
  const { ranged } = await import("/static/track.js");
  try {
    await ranged(url, from, to);
    return null;
  } catch (fault) {
    return [fault.constructor.name, fault.message];
  }
}"""


def test_bytes_of_a_server_that_gives_no_parts_are_not_taken_for_words(blank: Page, site: Site) -> None:
    url = site.audio("parts.mp3", bytes(range(256)) * 400)
    blank.route("**/audio/parts.mp3", lambda route: route.continue_(headers=without_range(route.request.headers)))
    assert blank.evaluate(RANGED, {"url": url, "from": 50_000, "to": 60_000}) == [
        "NoFrames",
        "the server gives no parts of files",
    ]
    blank.unroute("**/audio/parts.mp3")


def without_range(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "range"}


CUT = """async ({ url, size }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  await track.open();
  try {
    await track.samples(400_000, 1000);
    return "silence";
  } catch (fault) {
    return fault.message;
  }
}"""


def test_a_file_that_ends_before_its_samples_is_told_and_not_silent(blank: Page, site: Site) -> None:
    whole = wav(bytes(4 * 600_000), channels=2)
    url = site.audio("cut.wav", whole[: 4 * 400_500])
    assert blank.evaluate(CUT, {"url": url, "size": len(whole)}) == "the store gives less than it was asked for"


LARGE = """async ([samples, rate]) => {
  const { head } = await import("/static/mixdown.js");
  try {
    return head(samples, rate).byteLength;
  } catch (fault) {
    return fault.message;
  }
}"""


def test_a_mix_that_no_wav_file_can_tell_the_length_of_is_not_made(blank: Page) -> None:
    most = (2**32 - 1 - 36) // 4
    assert blank.evaluate(LARGE, [most, 192_000]) == 44
    assert blank.evaluate(LARGE, [most + 1, 192_000]) == "it is longer than a WAV file can be"
