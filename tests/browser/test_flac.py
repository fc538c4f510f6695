"""FLAC in the player's windows: exact to the sample, and nothing that looks like a frame is taken for one."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.sounds import Sound, fed_in_pieces, id3, pcm
from tests.browser.test_wav import OPENED, SAMPLES, WHOLE, against_the_whole
from tests.fixtures.flac import Form, flac, frame, frames, head

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.sites import Site

pytestmark = pytest.mark.browser

SECONDS = 2
COUNT = SECONDS * 44_100
SPANS = [(0, 5000), (5000, 40_000), (COUNT - 1500, 4000), (4095, 2), (1151, 60_000), (-700, 900), (60_000, 20_000)]
LEFT = pcm(Sound(seconds=SECONDS, channels=1)).tolist()
RIGHT = pcm(Sound(seconds=SECONDS, channels=1, seed=2)).tolist()


FORMS = {
    "usual": Form(),
    "constant-and-verbatim": Form(order=None, blocks=(1152,)),
    "highest-order": Form(order=4, blocks=(4608,)),
    "short-blocks": Form(blocks=(192,)),
    "varying-blocks": Form(blocks=(4096, 192, 1000, 16, 2304)),
    "told-by-the-head-alone": Form(rated=False),
    "odd-rate": Form(rate=44_056),
    "48-kHz": Form(rate=48_000),
    "metadata": Form(metadata=((2, b"test" + bytes(300_000)), (1, b""), (1, bytes(50)))),
    "length-unknown": Form(total=0),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("channels", [1, 2])
def test_windows_in_any_order_equal_the_whole_decode_bit_for_bit(
    blank: Page, site: Site, form: Form, channels: int
) -> None:
    found = against_the_whole(blank, site, flac([LEFT, RIGHT][:channels], form), SPANS)
    assert found["faults"] == []
    assert found["length"] == found["whole"] == COUNT
    assert (found["head"]["rate"], found["head"]["channels"]) == (form.rate, channels)


def test_24_bits_equal_the_whole_decode_bit_for_bit(blank: Page, site: Site) -> None:
    wide = [sample * 256 + at % 251 for at, sample in enumerate(LEFT)]
    assert against_the_whole(blank, site, flac([wide], bits=24), SPANS, 24)["faults"] == []


@pytest.mark.parametrize("size", [0, 5000, 300_000])
def test_tags_before_and_behind_are_passed_over(blank: Page, site: Site, size: int) -> None:
    data = id3(size) + flac([LEFT]) + b"TAG" + bytes(125)
    found = samples_of(blank, site, data, COUNT - 4, 8)
    assert (found["length"], found["planes"][0][4:]) == (COUNT, [0] * 4)
    assert found["planes"][0][:4] == [sample / 32_768 for sample in LEFT[-4:]]
    assert not found["damaged"]


def samples_of(page: Page, site: Site, data: bytes, start: int = 0, count: int = 8) -> dict[str, Any]:
    asked = {"url": site.audio("two", data), "size": len(data), "from": start, "count": count}
    found: dict[str, Any] = page.evaluate(SAMPLES, asked)
    return found


@pytest.mark.parametrize("blocks", [(4096,), (4096, 576)], ids=["fixed", "varying"])
def test_a_seek_far_beyond_the_index_reads_little_and_is_exact(
    blank: Page, site: Site, blocks: tuple[int, ...]
) -> None:
    loud, still = LEFT, [0] * (30 * 44_100)
    samples = loud + still + loud * 20 + still + loud * 5
    data = flac([samples], order=None, blocks=blocks)
    end = len(samples)
    spans = [(end - 300_000, 20_000), (end - 280_000, 5000), (33 * 44_100 + 7, 3000), (1_500_000, 9)]
    del site.asked[:]
    assert against_the_whole(blank, site, data, spans)["faults"] == []
    read = [asked.removeprefix("bytes=").split("-") for _, asked in site.asked if asked]
    assert sum(int(last) + 1 - int(first) for first, last in read) < len(data) / 3


def test_windows_laid_end_to_end_cancel_with_the_whole_decode_inverted(blank: Page, site: Site) -> None:
    data = flac([LEFT * 4])
    stems = [{"url": site.audio("seams", data), "size": len(data)}]
    for start in (0, 100_001):
        assert blank.evaluate(WHOLE, {"stems": stems, "inverted": [], "from": start, "seconds": 5}) < 1e-6


INDEX = fed_in_pieces(
    '{ Flac } = await import("/static/flac.js")',
    "Flac.begun(bytes, 0, bytes.length)",
    "starts: run.starts, ends: run.ends, ats: run.ats, length: run.length, hopeless: run.hopeless,"
    " damaged: run.damaged",
)


def indexed(page: Page, files: list[bytes], cuts: tuple[int, ...] = (1 << 30,)) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(INDEX, [[base64.b64encode(each).decode() for each in files], cuts])
    return found


def places(parts: list[bytes], begin: int) -> list[int]:
    found, at = [], begin
    for part in parts:
        found.append(at)
        at += len(part)
    return found


@pytest.mark.parametrize("cuts", [(1, 7, 4096), (100,), (30_000, 3), (100_000, 1)])
def test_bytes_that_come_in_pieces_of_any_size_give_the_same_index(blank: Page, cuts: tuple[int, ...]) -> None:
    form = Form(blocks=(4096, 1024, 192), order=None)
    short = [LEFT[:20_000], RIGHT[:20_000]]
    [found] = indexed(blank, [flac(short, form)], cuts)
    assert found["starts"] == places(frames(short, form), len(head(short, form)))
    assert (found["length"], found["damaged"]) == (20_000, False)


def test_whole_frames_within_the_audio_are_no_frames(blank: Page, site: Site) -> None:
    form = Form(order=None, bits=8, blocks=(4096,))
    quiet = [sample >> 8 for sample in LEFT[:12_288]]
    inner = frame([[0] * 4096], 1, form) + frame([[1] * 4096], 2, form) + frame([[1] * 4096], 1, form)
    hidden = quiet[:1000] + [byte - 256 * (byte > 127) for byte in inner] + quiet[1000 + len(inner) :]
    data = flac([hidden], form)
    [found] = indexed(blank, [data])
    assert inner in data
    assert found["ats"] == [0, 4096, 8192]
    assert (found["starts"], found["damaged"]) == (places(frames([hidden], form), len(head([hidden], form))), False)
    assert samples_of(blank, site, data, 0, 12_288)["planes"] == [[sample / 128 for sample in hidden]]


def test_a_file_that_is_cut_anywhere_has_every_whole_frame_before_the_cut_and_says_so(blank: Page) -> None:
    form, short = Form(order=None, blocks=(1024,)), [LEFT[:20_480]]
    data, begin, parts = flac(short, form), len(head(short, form)), frames(short, form)
    ends = [at + len(part) for at, part in zip(places(parts, begin), parts, strict=True)]
    cuts = [*random.Random(3).sample(range(begin + 3000, len(data)), 30), ends[4], ends[5] - 1]
    for cut, found in zip(cuts, indexed(blank, [data[:cut] for cut in cuts]), strict=True):
        assert found["ends"] == [end for end in ends if end <= cut]
        assert (found["damaged"], found["length"]) == (True, 1024 * len(found["ends"]))


def broken(parts: list[bytes], numbers: set[int]) -> bytes:
    flips = {at: bytes([parts[at][len(parts[at]) // 2] ^ 1]) for at in numbers}
    return b"".join(
        part[: len(part) // 2] + flips[at] + part[len(part) // 2 + 1 :] if at in flips else part
        for at, part in enumerate(parts)
    )


def test_a_broken_frame_is_silent_and_what_follows_keeps_its_place(blank: Page, site: Site) -> None:
    form = Form(order=None)
    parts, begin = frames([LEFT], form), head([LEFT], form)
    data = begin + broken(parts, {3, 4, 9})
    found = samples_of(blank, site, data, 2 * 4096, 9 * 4096)
    for number in range(9):
        plane = found["planes"][0][4096 * number : 4096 * (number + 1)]
        if number + 2 in {3, 4, 9}:
            assert set(plane) == {0}
        else:
            known = [sample / 32_768 for sample in LEFT[4096 * (number + 2) : 4096 * (number + 3)]]
            assert plane == known
    assert (found["damaged"], found["length"]) == (True, COUNT)
    assert indexed(blank, [data])[0]["hopeless"] is False
    assert indexed(blank, [begin + broken(parts, set(range(18)))])[0]["hopeless"] is True


@pytest.mark.parametrize("total", [0, COUNT - 50_000, COUNT + 50_000])
@pytest.mark.parametrize("hurt", [set[int](), {5}])
def test_a_length_that_the_head_lies_about_is_never_believed_to_the_end(
    blank: Page, total: int, hurt: set[int]
) -> None:
    form = Form(order=None, total=total)
    [found] = indexed(blank, [head([LEFT], form) + broken(frames([LEFT], form), hurt)])
    assert found["length"] == COUNT or found["damaged"]
    assert found["length"] == COUNT or hurt


def test_frames_that_are_not_of_the_size_that_the_head_tells_are_given_up(blank: Page, site: Site) -> None:
    lying = Form(order=None, blocks=(1024,), told_blocks=(4096, 4096))
    [found] = indexed(blank, [flac([LEFT], lying)])
    assert found["hopeless"]
    assert samples_of(blank, site, flac([LEFT], lying)) == {"fault": "NoFrames"}
    small = replace(lying, told_blocks=(16, 1000))
    assert samples_of(blank, site, flac([LEFT], small)) == {"fault": "NoFrames"}


def test_hostile_bytes_are_read_in_time_that_grows_with_their_number_alone(blank: Page) -> None:
    chance = random.Random(11)
    form = Form(order=None)
    begin = head([LEFT], form)
    heads = [frame([[0] * 4096], number, form)[:9] for number in range(8)]
    size = 400_000
    files = [
        begin + b"".join(chance.choice(heads) for _ in range(size // 9)),
        begin + b"".join(frame([[0] * 4096], number, form) for number in (0, 1, 0, 1, 5, 2, 9, 3, 2**31 - 1) * 3000),
        begin + b"\xff\xf8" * (size // 2),
        begin + b"\xff" * size,
        begin + bytes(size),
        begin + chance.randbytes(size),
        begin,
        begin[:30],
        begin[:4] + bytes([0x80, 0xFF, 0xFF, 0xFF]) + begin[8:],
        b"fLaC" + bytes([1, 0, 0, 0]) * 2000,
        begin[:4] + bytes([0]) + begin[5:] + bytes([1, 0, 0, 0]) * 2000,
    ]
    for found in indexed(blank, files):
        if found is not None:
            assert found["took"] < 5000  # it takes some 30 ms
            assert found["length"] <= COUNT + 9 * 4096
            assert all(one < other for one, other in zip(found["ats"], found["ats"][1:], strict=False))


def test_stems_of_flac_play_by_windows_and_a_hopeless_one_lets_all_be_decoded_whole(blank: Page, site: Site) -> None:
    files = {"a": flac([LEFT]), "b": flac([RIGHT, LEFT])}
    stems = [{"name": name, "url": site.audio(name, data), "size": len(data)} for name, data in files.items()]
    assert blank.evaluate(OPENED, stems) == {"mode": "windows", "rate": 44_100, "faults": {}, "names": ["a", "b"]}
    lying = flac([LEFT], order=None, blocks=(1024,), told_blocks=(4096, 4096))
    stems.append({"name": "c", "url": site.audio("c", lying), "size": len(lying)})
    assert blank.evaluate(OPENED, stems)["mode"] == "whole"
