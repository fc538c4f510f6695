"""AAC in the player's windows: no frame is missed or made up, and what the decoder makes of it is looked at first."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import aac, fed_in_pieces, id3
from tests.browser.test_wav import OPENED, SAMPLES, WHOLE, against_the_whole

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

FRAMES = 100
SPANS = [(0, 5000), (5000, 40_000), (FRAMES * 1024 - 1500, 4000), (1023, 2), (1151, 60_000), (-700, 900), (60_000, 9)]


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_windows_in_any_order_equal_the_whole_decode_bit_for_bit(
    blank: Page, site: Site, rate: int, channels: int
) -> None:
    data = b"".join(aac(FRAMES, rate=rate, channels=channels))
    found = against_the_whole(blank, site, data, SPANS, 32)
    assert found["faults"] == []
    assert found["length"] == found["whole"] == FRAMES * 1024
    assert (found["head"]["rate"], found["head"]["channels"]) == (rate, channels)


def test_windows_laid_end_to_end_cancel_with_the_whole_decode_inverted(blank: Page, site: Site) -> None:
    data = b"".join(aac(400))
    stems = [{"url": site.audio("seams", data), "size": len(data)}]
    asked = {"stems": stems, "inverted": [], "from": 50_001, "seconds": 5}
    assert blank.evaluate(WHOLE.replace("(buffer, 16)", "(buffer, 32)"), asked) < 1e-6
    assert blank.evaluate(WHOLE.replace("source.start", "0 &&"), asked) > 0.01


INDEX = fed_in_pieces(
    '{ Adts } = await import("/static/adts.js")',
    "new Adts({ size: bytes.length })",
    "starts: run.starts, ends: run.ends",
)


def indexed(page: Page, files: list[bytes], cuts: tuple[int, ...] = (1 << 30,)) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(INDEX, [[base64.b64encode(each).decode() for each in files], cuts])
    return found


def ends(frames: list[bytes], begin: int = 0) -> list[int]:
    found = [begin]
    for each in frames:
        found.append(found[-1] + len(each))
    return found[1:]


@pytest.mark.parametrize("cuts", [(1, 7, 4096), (11,), (300, 3), (100_000, 1)])
def test_bytes_that_come_in_pieces_of_any_size_give_the_same_index_also_behind_a_tag(
    blank: Page, cuts: tuple[int, ...]
) -> None:
    frames = aac(60)
    [found] = indexed(blank, [id3(3000) + b"".join(frames) + b"TAG" + bytes(125)], cuts)
    assert found["ends"] == ends(frames, 3010)


def test_sync_words_within_a_frame_are_none(blank: Page) -> None:
    frames = aac(20)
    frames[7] = aac(1, fill=frames[0] + frames[1] + b"\xff\xf1")[0]
    [found] = indexed(blank, [b"".join(frames)])
    assert found["ends"] == ends(frames)


def test_a_file_that_is_cut_anywhere_has_every_whole_frame_before_the_cut(blank: Page) -> None:
    data, known = b"".join(aac(60)), ends(aac(60))
    cuts = [*random.Random(3).sample(range(200, len(data)), 30), known[4], known[5] - 1]
    for cut, found in zip(cuts, indexed(blank, [data[:cut] for cut in cuts]), strict=True):
        assert found["ends"] == [end for end in known if end <= cut]


def test_hostile_bytes_are_read_in_time_that_grows_with_their_number_alone(blank: Page) -> None:
    chance = random.Random(11)
    size = 300_000
    [frame] = aac(1)
    heads = [frame[:7], frame[:3] + b"\x80\x01\x1f\xfc", b"\xff\xf1\x50\x43\xff\xff\xfc", b"\xff"]
    files = [b"".join(chance.choice(heads) for _ in range(size // 6)) for _ in range(4)]
    files += [b"\xff\xf1" * (size // 2), chance.randbytes(size), b"", b"\xff\xf1"]
    for found in indexed(blank, files):
        assert found["took"] < 5000  # it takes some 5 ms
        assert all(before <= after for before, after in zip(found["ends"], found["starts"][1:], strict=False))


@pytest.mark.parametrize("place", [(1, 0x02), (2, 0xC0), (2, 0x2C), (3, 0x40), (6, 0x03), (5, 0xE0)])
def test_frames_of_another_layer_profile_rate_layout_or_of_several_blocks_are_left_to_the_browser(
    blank: Page, site: Site, place: tuple[int, int]
) -> None:
    at, bits = place
    frames = [each[:at] + bytes([each[at] ^ bits]) + each[at + 1 :] for each in aac(5)]
    if at == 5:
        frames = [each[:3] + bytes([each[3] & ~3, 0, 7 << 5]) + each[6:] for each in aac(5)]
    data = b"".join(frames)
    found = blank.evaluate(SAMPLES, {"url": site.audio("odd", data), "size": len(data), "from": 0, "count": 8})
    assert found == {"fault": "NoFrames"}


def test_what_the_decoder_does_not_take_as_its_head_tells_is_decoded_whole_with_all_others(
    blank: Page, site: Site
) -> None:
    files = {"a": b"".join(aac(50)), "b": b"".join(aac(50, channels=2))}
    stems = [{"name": name, "url": site.audio(name, data), "size": len(data)} for name, data in files.items()]
    assert blank.evaluate(OPENED, stems) == {"mode": "windows", "rate": 44_100, "faults": {}, "names": ["a", "b"]}
    rubbish = [each[:7] + b"\xff" * (len(each) - 7) for each in aac(50)]
    data = b"".join(rubbish)
    stems.append({"name": "c", "url": site.audio("c", data), "size": len(data)})
    assert blank.evaluate(OPENED, stems)["mode"] == "whole"
