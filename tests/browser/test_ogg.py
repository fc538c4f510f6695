"""Opus in Ogg in the player's windows: exact to the sample, and no page is believed unproven."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import fed_in_pieces
from tests.browser.test_wav import OPENED, SAMPLES
from tests.fixtures.ogg import GRANULE_NONE, head, page, pages

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

SKIP = 312
FRAME = 960
ENCODED = """async ([seconds, channels, bitrate]) => {
  const packets = [];
  const output = (chunk) => {
    const bytes = new Uint8Array(chunk.byteLength);
    chunk.copyTo(bytes);
    packets.push(btoa(String.fromCharCode(...bytes)));
  };
  const encoder = new AudioEncoder({ output, error: (fault) => { throw fault; } });
  encoder.configure({ codec: "opus", sampleRate: 48000, numberOfChannels: channels, bitrate });
  const data = new Float32Array(48000 * seconds * channels);
  let seed = 1;
  for (let at = 0; at < data.length; at += 1) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    const time = at / channels / 48000;
    const noise = (Math.floor(time * 4) % 3) * 0.1 * (seed / 1073741824 - 1);
    data[at] = 0.2 * Math.sin(6.28 * (220 + 60 * Math.sin(time * 3)) * time) + noise;
  }
  const facts = { format: "f32", sampleRate: 48000, numberOfFrames: 48000 * seconds, numberOfChannels: channels };
  encoder.encode(new AudioData({ ...facts, timestamp: 0, data }));
  await encoder.flush();
  return packets;
}"""
KNOWN = dict[tuple[int, int, int], list[bytes]]()


def packets(page_: Page, seconds: int = 4, channels: int = 1, kbits: int = 64) -> list[bytes]:
    """Return the packets of a song that Chromium encodes, 20 ms each."""
    key = (seconds, channels, kbits)
    if key not in KNOWN:
        KNOWN[key] = [base64.b64decode(each) for each in page_.evaluate(ENCODED, [seconds, channels, kbits * 1000])]
    return KNOWN[key]


WINDOWS = """async ({ url, size, spans }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  await track.open();
  const bytes = await (await fetch(url)).arrayBuffer();
  const whole = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes);
  const faults = [];
  for (const [from, count] of spans) {
    for (const [channel, plane] of (await track.samples(from + track.delay, count)).entries()) {
      const known = whole.getChannelData(channel);
      let worst = plane.length === count ? 0 : Infinity;
      for (let at = 0; at < count; at += 1) worst = Math.max(worst, Math.abs(plane[at] - (known[from + at] ?? 0)));
      if (!(worst < 1e-6)) faults.push([from, count, channel, worst]);
    }
  }
  const { length, delay, damaged } = track;
  return { faults, length: length - delay, whole: whole.length, damaged, leapt: track.leapt !== null };
}"""


def against_the_whole(page_: Page, site: Site, data: bytes, spans: list[tuple[int, int]]) -> dict[str, Any]:
    found: dict[str, Any] = page_.evaluate(WINDOWS, {"url": site.audio("one", data), "size": len(data), "spans": spans})
    return found


@pytest.mark.parametrize("segments", [255, 50, 7, 1])
@pytest.mark.parametrize(("channels", "kbits"), [(1, 24), (2, 256)])
def test_windows_in_any_order_equal_the_whole_decode_however_pages_are_cut(
    blank: Page, site: Site, channels: int, kbits: int, segments: int
) -> None:
    made = packets(blank, 4, channels, kbits)
    data = head(channels=channels) + b"".join(pages(made, FRAME, segments=segments, cut=500))
    end = len(made) * FRAME - 500 - SKIP
    spans = [(0, 5000), (5000, 40_000), (end - 1500, 9000), (959, 2), (100_000, 60_000), (0, 200), (60_000, 9)]
    found = against_the_whole(blank, site, data, spans)
    assert (found["faults"], found["damaged"]) == ([], False)
    assert found["length"] == found["whole"] == end


def test_a_seek_far_beyond_the_index_reads_little_and_is_exact(blank: Page, site: Site) -> None:
    made = packets(blank, 10) * 18
    data = head(tags=bytes(150_000)) + b"".join(pages(made, FRAME, segments=50))
    spans = [(len(made) * FRAME - 300_000, 20_000), (len(made) * FRAME - 280_000, 5000), (3_000_007, 3000)]
    del site.asked[:]
    found = against_the_whole(blank, site, data, spans)
    assert (found["faults"], found["leapt"]) == ([], True)
    read = [asked.removeprefix("bytes=").split("-") for _, asked in site.asked if asked]
    assert sum(int(last) + 1 - int(first) for first, last in read) < len(data) / 2


INDEX = fed_in_pieces(
    '{ Opus } = await import("/static/ogg.js")',
    "Opus.begun(bytes, 0, bytes.length)",
    "ats: run.frames.map(({ at }) => at), hopeless: run.hopeless, length: run.length, damaged: run.damaged",
)


def indexed(page_: Page, files: list[bytes], cuts: tuple[int, ...] = (1 << 30,)) -> list[dict[str, Any]]:
    asked = [[base64.b64encode(each).decode() for each in files], cuts]
    found: list[dict[str, Any]] = page_.evaluate(INDEX, asked)
    return found


def steps(count: int, without: range = range(0)) -> list[int]:
    return [FRAME * at for at in range(count) if at not in without]


@pytest.mark.parametrize("cuts", [(1, 7, 4096), (100,), (30_000, 3)])
def test_bytes_that_come_in_pieces_of_any_size_give_the_same_index(blank: Page, cuts: tuple[int, ...]) -> None:
    made = packets(blank)
    data = head(tags=bytes(70_000)) + b"".join(pages(made, FRAME, segments=9))
    [found] = indexed(blank, [data], cuts)
    assert (found["ats"], found["length"], found["damaged"]) == (steps(len(made)), FRAME * len(made), False)


def test_a_broken_page_is_silent_and_what_follows_keeps_its_place(blank: Page, site: Site) -> None:
    made = packets(blank)
    parts = pages([each[:200] for each in made], FRAME, segments=10)
    hurt = [part[:-1] + bytes([part[-1] ^ 1]) if at in {3, 4} else part for at, part in enumerate(parts)]
    [found] = indexed(blank, [head() + b"".join(hurt)])
    assert (found["ats"], found["length"]) == (steps(len(made), range(30, 50)), FRAME * len(made))
    assert (found["damaged"], found["hopeless"]) == (True, False)
    every = [part[:-1] + bytes([part[-1] ^ 1]) for part in parts[1:]] * 2
    assert indexed(blank, [head() + parts[0] + b"".join(every)])[0]["hopeless"]


def test_a_file_that_is_cut_anywhere_has_every_whole_page_before_the_cut_and_says_so(blank: Page) -> None:
    made = [each[:200] for each in packets(blank)]
    parts, begin = pages(made, FRAME, segments=10), head()
    data = begin + b"".join(parts)
    for cut in random.Random(3).sample(range(len(begin) + 5000, len(data)), 20):
        [found] = indexed(blank, [data[:cut]])
        whole, at = 0, len(begin)
        while at + len(parts[whole]) <= cut:
            at, whole = at + len(parts[whole]), whole + 1
        assert (found["ats"], found["damaged"]) == (steps(10 * whole), True)


def lying(made: list[bytes], granule: int) -> bytes:
    """Return a file whose pages all end with the same sample, as they say."""
    return head() + b"".join(
        page(each, bytes([len(each)]), granule=granule, number=at + 2) for at, each in enumerate(made)
    )


def test_hostile_bytes_are_read_in_time_that_grows_with_their_number_alone_or_given_up(blank: Page) -> None:
    chance = random.Random(11)
    made = [each[:200] for each in packets(blank)]
    begin, size = head(), 400_000
    false = b"OggS\0" + bytes(21) + b"\xff" + b"\xff" * 255
    lies = [lying(made, granule) for granule in (0, 1, GRANULE_NONE, 2**62, 2**63)]
    files = [
        begin + false * 1500,
        begin + b"OggS" * (size // 4),
        begin + b"OggS\0" * (size // 5),
        begin + chance.randbytes(size),
        begin + bytes(size),
        begin * 300,
        begin,
        begin[:40],
        begin[:60],
        head(channels=3),
        begin.replace(b"OpusHead", b"vorbis  "),
        begin + b"".join(pages([b"\x03\x00"] * 500, FRAME)),
        begin + b"".join(pages([b""] * 500, FRAME)),
    ]
    for found in indexed(blank, lies + files):
        if found is not None:
            assert found["took"] < 5000  # it takes some 30 ms
            assert found["hopeless"] or found["ats"] == []
            assert all(one < other for one, other in zip(found["ats"], found["ats"][1:], strict=False))


def test_opus_plays_by_windows_and_another_kind_in_ogg_lets_all_be_decoded_whole(blank: Page, site: Site) -> None:
    data = head() + b"".join(pages(packets(blank), FRAME))
    stems = [{"name": name, "url": site.audio(name, data), "size": len(data)} for name in ("a", "b")]
    expected = {"mode": "windows", "rate": 48_000, "faults": {}, "names": ["a", "b"]}
    assert blank.evaluate(OPENED, stems) == expected
    other = data.replace(b"OpusHead", b"\x01vorbis ")
    asked = {"url": site.audio("c", other), "size": len(other), "from": 0, "count": 8}
    assert blank.evaluate(SAMPLES, asked) == {"fault": "NoFrames"}
