import hashlib
import io
import subprocess
import sys
from typing import Any

import pytest
from mutagen.mp3 import MP3

from archiver.demo import song

pytestmark = pytest.mark.long

NAMES = {*song.INSTRUMENTS, "instrumental", "origin"}


@pytest.fixture(scope="module")
def stems() -> dict[str, bytes]:
    return song.stems()


def test_song_has_every_stem_of_both_kinds_of_task(stems: dict[str, bytes]) -> None:
    assert set(stems) == NAMES
    assert len(song.INSTRUMENTS) == 12


@pytest.mark.parametrize("name", sorted(NAMES))
def test_stem_parses_as_mp3_of_the_songs_length_and_bit_rate(stems: dict[str, bytes], name: str) -> None:
    info: Any = MP3(io.BytesIO(stems[name])).info  # type: ignore[no-untyped-call]  # mutagen has no types here

    assert info.length == pytest.approx(song.DURATION, abs=0.2)
    assert info.bitrate == song.BIT_RATE * 1000
    assert info.sample_rate == song.RATE
    assert info.layer == 3
    assert not info.sketchy


def test_stems_all_sound_different(stems: dict[str, bytes]) -> None:
    assert len({hashlib.sha256(mp3).digest() for mp3 in stems.values()}) == len(NAMES)


def test_stems_are_the_same_bytes_in_another_process(stems: dict[str, bytes]) -> None:
    digest = (
        "import hashlib; from archiver.demo import song; "
        "print(hashlib.sha256(b''.join(song.stems().values())).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", digest], check=True, capture_output=True, text=True)

    assert other.stdout.strip() == hashlib.sha256(b"".join(stems.values())).hexdigest()


@pytest.mark.parametrize("name", song.INSTRUMENTS)
def test_instrument_plays_in_every_bar_and_never_clips(name: str) -> None:
    # White-box: silence and clipping cannot be seen in a constant-rate MP3.
    track = song._track(name)
    bar = 4 * int(song.BEAT * song.RATE)

    assert len(track) == int(song.DURATION * song.RATE)
    assert max(map(abs, track)) <= 0.9 + 1e-9
    for first in range(0, 4 * bar, bar):
        assert max(map(abs, track[first : first + bar])) > 0.01 or name in {"vocal", "woodwinds"}
