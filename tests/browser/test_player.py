"""The player's windows: exact to the sample, however they are cut, sought and laid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import Sound, frames_of, id3, mp3
from tests.browser.test_frames import tagged

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

SECONDS = 8.0
KINDS = [
    Sound(seconds=SECONDS, rate=22_050, channels=1, kbits=64),
    Sound(seconds=SECONDS, rate=22_050, channels=1, variable=5),
    Sound(seconds=SECONDS, rate=22_050, channels=1, kbits=16),
]

WINDOWS = """async ({ url, size, spans }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  await track.open();
  const { rate } = track.head;
  const bytes = await (await fetch(url)).arrayBuffer();
  const whole = (await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes)).getChannelData(0);
  const faults = [];
  for (const [from, count] of spans) {
    const [plane] = await track.samples(from, count);
    let worst = 0;
    for (let at = 0; at < count; at += 1) worst = Math.max(worst, Math.abs(plane[at] - (whole[from + at] ?? 0)));
    if (plane.length !== count || worst > 0) faults.push([from, count, plane.length, worst]);
  }
  return { faults, leapt: track.leapt !== null, length: track.length, whole: whole.length };
}"""


def served(site: Site, name: str, sound: Sound) -> tuple[str, int]:
    data = mp3(sound)
    return site.audio(name, data), len(data)


@pytest.mark.parametrize("sound", KINDS, ids=["constant", "variable", "narrow"])
def test_windows_in_any_order_equal_the_whole_decode_bit_for_bit(blank: Page, site: Site, sound: Sound) -> None:
    url, size = served(site, "one.mp3", sound)
    end = int(SECONDS * sound.rate)
    spans = [
        (0, 5000),
        (5000, 40_000),
        (45_000, 1),
        (end - 3000, 9000),
        (1151, 60_000),
        (100_000, 30_000),
        (160_000, 9000),
        (700, 700),
    ]
    found: dict[str, Any] = blank.evaluate(WINDOWS, {"url": url, "size": size, "spans": spans})
    assert found["faults"] == []
    assert found["length"] == found["whole"]


@pytest.mark.parametrize(
    ("padless", "garbage", "kbits", "tag"),
    [
        (False, False, 96, 0),
        (True, False, 96, 0),
        (False, True, 96, 0),
        (True, False, 320, 0),
        (True, False, 320, 47_000),
    ],
)
def test_a_seek_far_beyond_the_index_reads_little_and_is_exact(
    blank: Page, site: Site, padless: bool, garbage: bool, kbits: int, tag: int
) -> None:
    data = mp3(Sound(seconds=110, rate=44_100, channels=1, kbits=kbits))
    frames = frames_of(data)
    if padless:
        data = b"".join(_padless(data[at : at + length]) for at, length in frames)
    if garbage:
        data = bytes(4000) + data
    if tag:
        data = id3(tag) + data
    url = site.audio("far.mp3", data)
    spans = [[4000 * 1152, 20_000], [4000 * 1152 + 20_000, 5000], [3200 * 1152 + 7, 3000]]
    del site.asked[:]
    found: dict[str, Any] = blank.evaluate(WINDOWS, {"url": url, "size": len(data), "spans": spans})
    assert found["faults"] == []
    assert found["leapt"]
    assert sum(_size(asked) for _, asked in site.asked if asked) < len(data) / 4


@pytest.mark.parametrize("kbits", [64, 320])
def test_each_seek_is_one_request_wherever_it_leads(blank: Page, site: Site, kbits: int) -> None:
    data = mp3(Sound(seconds=60, channels=1, kbits=kbits))
    url = site.audio(f"once{kbits}.mp3", data)
    del site.asked[:]
    spans = [[second * 44_100 + 123, 32 * 1152] for second in (50, 20, 35, 8, 50, 0)]
    found: dict[str, Any] = blank.evaluate(WINDOWS, {"url": url, "size": len(data), "spans": spans})
    assert found["faults"] == []
    assert len([asked for _, asked in site.asked if asked]) == 1 + len(spans), site.asked


IN_TURN = """async ({ url, size, seconds }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  await track.open();
  const count = 64 * 1152;
  const listen = async (from) => {
    for (let at = from * 44_100; at < (from + seconds) * 44_100; at += count) await track.samples(at, count);
  };
  await listen(0);
  await listen(0);
  return track.run.done;
}"""


def test_short_windows_ask_for_no_more_pieces_than_long_ones_on_the_first_way_through_and_on_the_next(
    blank: Page, site: Site
) -> None:
    data = mp3(Sound(seconds=60, channels=1, kbits=128))
    url = site.audio("turn.mp3", data)
    del site.asked[:]
    assert blank.evaluate(IN_TURN, {"url": url, "size": len(data), "seconds": 60})
    assert len(site.asked) <= 2 * (len(data) // 65_536 + 2), site.asked


def _size(asked: str) -> int:
    first, last = asked.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1


def _padless(frame: bytes) -> bytes:
    """Return a frame without its padding byte, where it has one."""
    if not frame[2] & 2:
        return frame
    return frame[:2] + bytes([frame[2] & ~2]) + frame[3:-1]


PLAYED = """async ({ stems, inverted, from, seconds }) => {
  const [{ Track }, { laid }, { Buffers }, { SHALLOW }] = await Promise.all(
    ["track", "player", "buffers", "depth"].map((name) => import(`/static/${name}.js`)));
  const { frames } = SHALLOW;
  const tracks = await Promise.all(stems.map(async (stem) => {
    const track = new Track(stem);
    await track.open();
    return track;
  }));
  const { rate, samples } = tracks[0].head;
  const buffers = new Buffers(frames * samples, rate);
  const context = new OfflineAudioContext(1, seconds * rate, rate);
  const minus = new GainNode(context, { gain: -1 });
  minus.connect(context.destination);
  for (const [at, track] of tracks.entries()) {
    const into = inverted.includes(at) ? minus : context.destination;
    for (let when = 0; when < seconds * rate; ) {
      const count = frames * samples - (when === 0 ? from % samples : 0);
      const buffer = await buffers.filled(track, from + when + track.delay, count);
      laid(context, buffer, { when, count, into });
      when += count;
    }
  }
  const plane = (await context.startRendering()).getChannelData(0);
  return plane.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}"""


def test_a_stem_and_the_same_inverted_cancel_also_where_windows_meet(blank: Page, site: Site) -> None:
    url, size = served(site, "null.mp3", replace(KINDS[0], rate=44_100))
    stem = {"url": url, "size": size}
    asked = {"stems": [stem, stem], "from": 1000, "seconds": 10}
    assert blank.evaluate(PLAYED, {**asked, "inverted": [1]}) == 0
    assert blank.evaluate(PLAYED, {**asked, "inverted": []}) > 0.1


WHOLE = PLAYED.replace(
    "  const plane =",
    """  const bytes = await (await fetch(stems[0].url)).arrayBuffer();
  const buffer = await context.decodeAudioData(bytes);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(minus);
  source.start(0, from / rate);
  const plane =""",
)


def test_windows_laid_end_to_end_cancel_with_the_whole_decode_inverted(blank: Page, site: Site) -> None:
    url, size = served(site, "seams.mp3", replace(KINDS[0], rate=44_100))
    asked = {"stems": [{"url": url, "size": size}], "inverted": [], "from": 0, "seconds": 10}
    assert blank.evaluate(WHOLE, asked) < 1e-6


def test_stems_whose_encoders_delay_differs_are_laid_as_their_tags_say(blank: Page, site: Site) -> None:
    sound = replace(KINDS[0], rate=44_100, seconds=4)
    data = mp3(sound)
    late = tagged(data, b"Info", frames=len(frames_of(data)), delay=1152)
    silent = tagged(mp3(replace(sound, level=0.0)), b"Info", frames=1, delay=0)
    frame = silent[frames_of(silent)[3][0] :][: frames_of(silent)[3][1]]
    first = frames_of(late)[1][0]
    shifted = late[:first] + frame + late[first:]
    stems = [
        {"url": site.audio("early.mp3", data), "size": len(data)},
        {"url": site.audio("late.mp3", shifted), "size": len(shifted)},
    ]
    assert blank.evaluate(PLAYED, {"stems": stems, "inverted": [1], "from": 5000, "seconds": 3}) < 1e-6


MIXER = """async ({ level, mix }) => {
  const { Mixer } = await import("/static/mixer.js");
  const context = new OfflineAudioContext(2, 44100, 44100);
  const mixer = new Mixer(context, mix);
  for (const name of Object.keys(mix.stems)) {
    const tone = new OscillatorNode(context, { frequency: 441 });
    const gain = new GainNode(context, { gain: level });
    tone.connect(gain).connect(mixer.inputs[name].gain);
    tone.start();
  }
  const buffer = await context.startRendering();
  return [0, 1].map((channel) => Math.max(...buffer.getChannelData(channel).slice(22050)));
}"""


def stem(**changed: object) -> dict[str, object]:
    return {"volume": 0, "pan": 0, "muted": False, "solo": False, **changed}


@pytest.mark.parametrize(
    ("level", "stems", "left", "right"),
    [
        (0.1, {"a": stem()}, 0.0707, 0.0707),
        (0.1, {"a": stem(pan=-1)}, 0.1, 0.0),
        (0.1, {"a": stem(), "b": stem(muted=True)}, 0.0707, 0.0707),
        (0.1, {"a": stem(), "b": stem(solo=True, pan=1, muted=True)}, 0.0, 0.1),
        (0.1, {"a": stem(volume=-60)}, 0.0, 0.0),
        (0.1, {"a": stem(volume=-6)}, 0.0354, 0.0354),
    ],
)
def test_volume_pan_mute_and_solo_are_heard_and_the_limiter_is_not(
    blank: Page, level: float, stems: dict[str, object], left: float, right: float
) -> None:
    heard = blank.evaluate(MIXER, {"level": level, "mix": {"master": 0, "stems": stems}})
    assert heard == pytest.approx([left, right], rel=0.01, abs=1e-4)


def test_what_is_too_loud_together_is_limited(blank: Page) -> None:
    mix = {"master": 6, "stems": {name: stem() for name in "abcdef"}}
    heard = blank.evaluate(MIXER, {"level": 0.9, "mix": mix})
    assert max(heard) < 1.2
