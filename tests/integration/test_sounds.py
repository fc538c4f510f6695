"""Sound of audio files, by a real process: right figures, and nothing but words for what is hostile."""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import time
import wave
from array import array
from collections.abc import Callable
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import pytest

from archiver.adapters.sounds import SoundFiles, SoundsApart
from archiver.core.sound import PAIRS, Sound
from archiver.ports.sound import SoundUnknown
from tests.browser.sounds import Sound as Made
from tests.browser.sounds import mp3, pcm
from tests.fixtures.corpus import corpus_in
from tests.fixtures.flac import flac

SHA = "ab" * 32
MADE = Made(seconds=3.2, rate=44_100, kbits=192)
KNOWN = Sound(1.0, 44_100, 1, 0.5, 0, -20.0, bytes(2 * PAIRS))


def shelf_in(folder: Path, most: int = 1 << 20, apart: SoundsApart | None = None) -> SoundFiles:
    return SoundFiles(folder / "page", most, apart)


def measured(folder: Path, data: bytes, apart: SoundsApart | None = None) -> Sound:
    with closing(shelf_in(folder, apart=apart)) as shelf, shelf.file() as file:
        file.write(data)
        return shelf.measured(file)


def wav(samples: array[int], rate: int = 44_100, channels: int = 1) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def signed(pairs: bytes) -> list[int]:
    return [each - 256 * (each > 127) for each in pairs]


def test_mp3_is_as_long_as_it_was_made_and_looks_as_it_sounds(tmp_path: Path) -> None:
    sound = measured(tmp_path, mp3(MADE))
    assert (sound.rate, sound.channels, sound.clips) == (44_100, 2, 0)
    assert sound.seconds == pytest.approx(3.2, abs=0.06)
    assert sound.marks(3.2) == ()
    high = signed(sound.pairs)[1::2]
    quarters = [max(high[at * PAIRS // 32 : (at + 1) * PAIRS // 32]) for at in range(4)]
    assert quarters[0] > quarters[2] > quarters[3] >= 0, "loud, quiet and silent tenths in turn"


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_has_exactly_the_peak_and_the_waveform_of_its_samples(tmp_path: Path, channels: int) -> None:
    samples = array("h", [0] * (44_100 * channels))
    samples[22_050 * channels] = -16_384
    sound = measured(tmp_path, wav(samples, channels=channels))
    assert (sound.seconds, sound.channels, sound.peak) == (1.0, channels, 0.5)
    low = signed(sound.pairs)[0::2]
    assert [at for at, value in enumerate(low) if value] in ([499], [500], [499, 500])
    assert min(low) == -64


@pytest.mark.parametrize(("channels", "blocks"), [(1, (4096,)), (2, (4096,)), (2, (1152, 4608, 576))])
def test_flac_sounds_exactly_as_the_wav_of_its_samples(tmp_path: Path, channels: int, blocks: tuple[int, ...]) -> None:
    samples = pcm(Made(seconds=1.5, channels=channels, level=0.8))
    planes = [samples[channel::channels].tolist() for channel in range(channels)]
    sound = measured(tmp_path, flac(planes, blocks=blocks))
    assert sound == measured(tmp_path, wav(samples, channels=channels))
    assert (sound.seconds, sound.channels) == (1.5, channels)
    assert sound.loudness is not None
    assert sound.peak > 0.5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ogg_vorbis_of_others_is_as_long_and_as_loud_as_others_find_it(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    sound = measured(tmp_path, corpus_in(folder)["multipage-setup.ogg"])
    assert (sound.seconds, sound.rate, sound.channels, sound.clips) == (4.129, 44_100, 2, 0)
    assert sound.peak == pytest.approx(0.48833, abs=1e-4), "as Chromium decodes it"
    assert sound.loudness == pytest.approx(-16.53, abs=0.1), "of pyloudnorm, on what Chromium decodes"


def test_silence_has_no_loudness_and_is_marked(tmp_path: Path) -> None:
    sound = measured(tmp_path, wav(array("h", [0] * 44_100)))
    assert (sound.loudness, sound.peak, sound.marks(None)) == (None, 0.0, ("silent",))


@pytest.mark.parametrize(("row", "clips"), [(2, 0), (3, 1), (500, 1)])
def test_clipping_is_three_samples_in_a_row_at_full_scale(tmp_path: Path, row: int, clips: int) -> None:
    samples = array("h", [1000] * 4_408 + [32_767] * row + [1000] * 44_100)
    assert measured(tmp_path, wav(samples)).clips == clips


def test_square_of_full_scale_has_the_loudness_of_its_power(tmp_path: Path) -> None:
    samples = array("h", islice(cycle([32_767] * 24 + [-32_767] * 24), 48_000 * 2))
    assert measured(tmp_path, wav(samples, rate=48_000)).loudness == pytest.approx(0.6, abs=0.6)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def spoilt(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.randrange(1, 40)):
        out[chance.randrange(len(out))] = chance.randrange(256)
    return bytes(out)


def headed(data: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"fLaC", b"OggS", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"ID3\x04\0\0\x7f\x7f\x7f\x7f")) + data


HOSTILE: list[Callable[[bytes, random.Random], bytes]] = [cut, spoilt, headed]


@pytest.mark.parametrize("seed", range(6))
def test_hostile_audio_gives_a_sound_or_words_and_never_more(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    samples = array("h", (chance.randrange(-9000, 9000) for _ in range(9000)))
    good = wav(samples, channels=2) if seed % 2 else mp3(Made(seconds=0.4, seed=seed))
    for spoil in HOSTILE:
        try:
            assert measured(tmp_path, spoil(good, chance)).seconds < 60
        except SoundUnknown:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not here</html>" * 50,
        random.Random(1).randbytes(40_000),
        wav(array("h", [0] * 100))[:22] + struct.pack("<HI", 60_000, 4_000_000_000) + bytes(4000),
    ],
)
def test_what_is_no_audio_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SoundUnknown):
        measured(tmp_path, data)


PROGRAMS = {
    "crashes": "import os; os.abort()",
    "says too much": "print('x' * 100_000)",
    "says nothing": "pass",
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_decoder_that_goes_wrong_is_words_too(tmp_path: Path, what: str) -> None:
    with pytest.raises(SoundUnknown, match="its decoder ended with code"):
        measured(tmp_path, b"", SoundsApart(python_that(tmp_path, PROGRAMS[what])))


def python_that(folder: Path, does: str) -> str:
    script = folder / "python"
    script.write_text(f"#!{sys.executable}\n{does}\n")
    script.chmod(0o755)
    return str(script)


def test_decoder_that_hangs_is_ended_and_gone(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    python = python_that(
        tmp_path, f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    with pytest.raises(SoundUnknown, match="took more than 2 s"):
        measured(tmp_path, b"", SoundsApart(python, within=2.0))
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_decoder_sees_no_variable_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    out = tmp_path / "seen"
    with pytest.raises(SoundUnknown):
        measured(
            tmp_path,
            b"",
            SoundsApart(python_that(tmp_path, f"import os; open({str(out)!r}, 'w').write(repr(dict(os.environ)))")),
        )
    assert "planted" not in out.read_text()


def test_decoder_is_not_loaded_by_who_asks_for_it(tmp_path: Path) -> None:
    measured(tmp_path, wav(array("h", [0] * 4410)))
    assert "miniaudio" not in sys.modules


def test_after_close_nothing_is_decoded_any_more(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    shelf.close()
    with shelf.file() as file, pytest.raises(SoundUnknown, match="the page ends"):
        shelf.measured(file)


def test_what_is_kept_is_had_again_from_a_folder_for_its_owner_alone(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    assert shelf.kept(SHA) is None
    shelf.keep(SHA, KNOWN)
    assert shelf_in(tmp_path).kept(SHA) == KNOWN
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o700
    assert [each.name for each in (tmp_path / "page").iterdir()] == [f"{SHA}.sound"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "AB" * 32, SHA + "0"])
def test_what_is_no_hash_names_no_file(tmp_path: Path, name: str) -> None:
    shelf = shelf_in(tmp_path)
    shelf.keep(name, KNOWN)
    assert shelf.kept(name) is None
    assert list(tmp_path.iterdir()) == []


def test_file_that_was_damaged_counts_as_none(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    shelf.keep(SHA, KNOWN)
    (tmp_path / "page" / f"{SHA}.sound").write_bytes(b"[1, 2")
    assert shelf.kept(SHA) is None


def test_what_was_asked_for_longest_ago_goes_where_there_are_too_many(tmp_path: Path) -> None:
    shelf, folder = shelf_in(tmp_path, most=10 * 8192), tmp_path / "page"
    names = [f"{at:064x}" for at in range(30)]
    for at, name in enumerate(names[:8]):
        shelf.keep(name, KNOWN)
        os.utime(folder / f"{name}.sound", (0, at - 1_000_000 + time.time()))
    assert shelf.kept(names[0]) == KNOWN, "and is among the newest now"
    for name in names[8:]:
        shelf.keep(name, KNOWN)
        taken = sum(each.stat().st_blocks * 512 for each in folder.iterdir())
        assert taken <= 10 * 8192
    left = [name for name in names if shelf.kept(name) is not None]
    assert names[1] not in left
    assert left[-3:] == names[-3:]
