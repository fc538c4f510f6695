"""WAV in the player's windows: exact to the sample, and no head is believed more than the file."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import Sound, chunk, mp3, pcm, wav
from tests.browser.test_player import WHOLE as PLAYED

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

LINEAR = """(buffer, bits) => {
  const least = 2 ** (bits - 1);
  for (let channel = 0; bits <= 16 && channel < buffer.numberOfChannels; channel += 1) {
    const plane = buffer.getChannelData(channel);
    for (const [at, value] of plane.entries()) plane[at] = Math.round(value * (value > 0 ? least - 1 : least)) / least;
  }
}"""
"""Undoes what `decodeAudioData` of Chromium does: it makes 1 of the greatest sample, and -1 of the least."""

WINDOWS = """async ({ url, size, spans, bits }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  await track.open();
  const bytes = await (await fetch(url)).arrayBuffer();
  const whole = await new OfflineAudioContext(1, 1, track.head.rate).decodeAudioData(bytes);
  (LINEAR)(whole, bits);
  const faults = [];
  for (const [from, count] of spans) {
    const planes = await track.samples(from, count);
    for (const [channel, plane] of planes.entries()) {
      const known = whole.getChannelData(channel);
      let worst = plane.length === count ? 0 : Infinity;
      for (let at = 0; at < count; at += 1) worst = Math.max(worst, Math.abs(plane[at] - (known[from + at] ?? 0)));
      if (!(worst === 0)) faults.push([from, count, channel, worst]);
    }
    const many = Math.min(2, whole.numberOfChannels);
    if (planes.length !== many) faults.push([from, count, planes.length]);
  }
  return { faults, length: track.length, whole: whole.length, head: track.head };
}""".replace("LINEAR", LINEAR)
SPANS = [(0, 5000), (5000, 30_000), (43_000, 3000), (44_100, 500), (1151, 40_000), (-700, 900), (20_000, 1)]


def against_the_whole(
    page: Page, site: Site, data: bytes, spans: Sequence[tuple[int, int]] = SPANS, bits: int = 16
) -> dict[str, Any]:
    """Return how windows differ from the whole decode."""
    asked = {"url": site.audio("one", data), "size": len(data), "spans": spans, "bits": bits}
    found: dict[str, Any] = page.evaluate(WINDOWS, asked)
    return found


KEPT = """async ({ url, size }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  await track.open();
  const kept = [];
  for (let at = 0; at < 600_000; at += 60_000) {
    await track.samples(at, 60_000);
    kept.push(track.kept.bytes.length);
  }
  return Math.max(...kept);
}"""


def test_bytes_that_were_read_are_let_go_of_with_their_window(blank: Page, site: Site) -> None:
    data = wav(bytes(4 * 600_000), channels=2)
    kept = blank.evaluate(KEPT, {"url": site.audio("kept.wav", data), "size": len(data)})
    assert kept <= 65_536


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("bits", "real"), [(8, False), (16, False), (24, False), (32, False), (32, True)])
def test_windows_in_any_order_equal_the_whole_decode_of_every_width(
    blank: Page, site: Site, bits: int, real: bool, channels: int
) -> None:
    chance = random.Random(bits)
    packed = chance.randbytes(44_100 * channels * bits // 8)
    if real:
        packed = struct.pack(f"<{44_100 * channels}f", *(chance.uniform(-1, 1) for _ in range(44_100 * channels)))
    found = against_the_whole(blank, site, wav(packed, channels=channels, bits=bits, real=real), bits=bits)
    assert found["faults"] == []
    assert found["length"] == found["whole"] == 44_100


WHOLE = PLAYED.replace("  const source =", f"  ({LINEAR})(buffer, 16);\n  const source =")


def test_windows_laid_end_to_end_cancel_with_the_whole_decode_inverted(blank: Page, site: Site) -> None:
    sound = Sound(seconds=8, channels=1)
    data = wav(pcm(sound).tobytes(), channels=1)
    stems = [{"url": site.audio("seams", data), "size": len(data)}]
    for start in (0, 100_001):
        assert blank.evaluate(WHOLE, {"stems": stems, "inverted": [], "from": start, "seconds": 5}) < 1e-6


SAMPLES = """async ({ url, size, from, count }) => {
  const { Track } = await import("/static/track.js");
  const track = new Track({ url, size });
  try {
    await track.open();
  } catch (fault) {
    return { fault: fault.constructor.name };
  }
  const planes = await track.samples(from, count);
  const { length, head, damaged } = track;
  return { planes: planes.map((plane) => [...plane]), length, head, damaged };
}"""


def samples(page: Page, site: Site, data: bytes, start: int = 0, count: int = 8) -> dict[str, Any]:
    asked = {"url": site.audio("two", data), "size": len(data), "from": start, "count": count}
    found: dict[str, Any] = page.evaluate(SAMPLES, asked)
    return found


def test_samples_are_those_of_the_file_and_only_their_bytes_are_asked_for(blank: Page, site: Site) -> None:
    sound = Sound(seconds=20, channels=2)
    del site.asked[:]
    found = samples(blank, site, wav(pcm(sound).tobytes()), 700_000, 1000)
    left, right = ([round(value * 32_768) for value in plane] for plane in found["planes"])
    assert (left, right) == (pcm(sound)[1_400_000:1_402_000:2].tolist(), pcm(sound)[1_400_001:1_402_000:2].tolist())
    assert [asked for _, asked in site.asked] == ["bytes=0-49151", "bytes=2800044-2804043"]


def test_64_bits_are_read_and_what_is_no_number_is_silent(blank: Page, site: Site) -> None:
    values = [0.5, float("nan"), -1.25, float("inf"), 1e300, float("-inf"), 0.25, 0.0]
    found = samples(blank, site, wav(struct.pack("<8d", *values), channels=1, bits=64, real=True))
    assert found["planes"] == [[0.5, 0, -1.25, 0, 0, 0, 0.25, 0]]


PACKED = struct.pack("<8h", *([-32_768, 32_767] * 4))
EXPECTED = [[-1, 32_767 / 32_768] * 4]
FMT = struct.pack("<HHIIHH", 0xFFFE, 1, 44_100, 88_200, 2, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
RF64 = (
    b"RF64\xff\xff\xff\xffWAVE"
    + chunk(b"ds64", struct.pack("<QQQI", 108, 16, 8, 0))
    + chunk(b"fmt ", FMT)
    + b"data\xff\xff\xff\xff"
    + PACKED
)
ODD = chunk(b"LIST", b"odd") + chunk(b"JUNK", bytes(200_000))


@pytest.mark.parametrize(
    "data",
    [
        wav(PACKED, channels=1, before=ODD),
        wav(PACKED, channels=1) + chunk(b"LIST", b"behind the samples"),
        chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", FMT) + chunk(b"data", PACKED)),
        RF64 + b"behind the samples",
        wav(PACKED, channels=1).replace(b"data\x10\0\0\0", b"data\0\0\0\0"),
        wav(PACKED, channels=1).replace(b"data\x10\0\0\0", b"data\xff\xff\xff\xff"),
        wav(PACKED, channels=1).replace(b"data\x10\0\0\0", b"data\x40\0\0\0") + b"!",
    ],
    ids=["chunks-before", "chunk-behind", "extensible", "rf64", "length-0", "length-unknown", "length-beyond"],
)
def test_samples_are_found_among_chunks_and_counted_by_what_there_is(blank: Page, site: Site, data: bytes) -> None:
    found = samples(blank, site, data)
    assert (found["planes"], found["length"]) == (EXPECTED, 8)
    assert found["damaged"] == (b"data\x40" in data)


def head(**changed: int) -> bytes:
    facts = {"kind": 1, "channels": 1, "rate": 44_100, "second": 88_200, "each": 2, "bits": 16, **changed}
    return chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", *facts.values())) + chunk(b"data", PACKED))


@pytest.mark.parametrize(
    "data",
    [
        head(kind=2),
        head(kind=85),
        head(channels=0),
        head(channels=9, each=18),
        head(each=4),
        head(each=0),
        head(bits=12),
        head(bits=0, each=0),
        head(rate=0),
        head(rate=4_000_000_000),
        wav(b""),
        wav(PACKED)[:43],
        wav(PACKED)[:20],
        wav(PACKED)[:12],
        b"RIFF\0\0\0\0WAVE" + chunk(b"data", PACKED),
        b"RIFF\0\0\0\0WAVE" + chunk(b"data", PACKED) + chunk(b"fmt ", FMT),
        b"RIFF\0\0\0\0WAVE" + bytes(8) * 30_000,
        b"RIFF\0\0\0\0WAVE" + b"data\x10\0\0",
        b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\xff" + chunk(b"fmt ", FMT) + chunk(b"data", PACKED),
    ],
)
def test_what_is_not_understood_is_left_to_the_browser(blank: Page, site: Site, data: bytes) -> None:
    del site.asked[:]
    assert samples(blank, site, data) == {"fault": "NoFrames"}
    assert len(site.asked) <= 2


OPENED = """async (stems) => {
  const { open } = await import("/static/opening.js");
  const { mode, rate, faults, stems: found } = await open(stems);
  return { mode, rate, faults, names: Object.keys(found).sort() };
}"""


def test_stems_of_wav_and_mp3_play_together_by_windows_and_one_of_another_kind_lets_all_be_decoded_whole(
    blank: Page, site: Site
) -> None:
    sound = Sound(seconds=1)
    files = {"a": wav(pcm(sound).tobytes()), "b": mp3(sound)}
    stems = [{"name": name, "url": site.audio(name, data), "size": len(data)} for name, data in files.items()]
    assert blank.evaluate(OPENED, stems) == {"mode": "windows", "rate": 44_100, "faults": {}, "names": ["a", "b"]}
    strange = b"\0\0\0\x20ftypM4A " + mp3(sound)
    stems.append({"name": "c", "url": site.audio("c", strange), "size": len(strange)})
    assert blank.evaluate(OPENED, stems)["mode"] == "whole"
