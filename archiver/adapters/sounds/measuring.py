"""Decodes the audio on standard input and says what it sounds like: the program of a process of its own.

It is loaded by that process alone: miniaudio takes memory, and audio may be hostile to its decoder.
"""

from __future__ import annotations

import os
import resource
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import IO, Final

import miniaudio

from archiver.core.loudness import HOPS, Weighting, integrated
from archiver.core.sound import PAIRS, Sound, paired

CPU: Final = 300
"""Seconds of the processor that it may take: an hour of stereo takes a fifth of that."""
MEMORY: Final = 512 << 20
WRITTEN: Final = 1 << 20

_FULL: Final = 0.9995
_RUN: Final = 3
_STEREO: Final = 2
_CHANNELS: Final = range(1, 9)
_RATES: Final = range(4000, 384_001)
_SPLIT: Final = 128
"""Parts of a hop at first; half as many whenever there are too many of them."""
_PARTS: Final = 8 * PAIRS

_KINDS: Final[dict[bytes, tuple[miniaudio.FileFormat, Callable[[str], miniaudio.SoundFileInfo]]]] = {
    b"fLaC": (miniaudio.FileFormat.FLAC, miniaudio.flac_get_file_info),
    b"OggS": (miniaudio.FileFormat.VORBIS, miniaudio.vorbis_get_file_info),
    b"RIFF": (miniaudio.FileFormat.WAV, miniaudio.wav_get_file_info),
}
_MP3: Final = (miniaudio.FileFormat.MP3, miniaudio.mp3_get_file_info)


class NotDecoded(Exception):
    """It cannot be decoded; the message says why."""


def main() -> None:
    """Measure standard input within bounds, as the last of all processes; say the sound, or why there is none."""
    os.nice(19)
    for kind, most in ((resource.RLIMIT_CPU, CPU), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, WRITTEN)):
        resource.setrlimit(kind, (most, most))
    try:
        said = measured(sys.stdin.buffer).text()
    except (NotDecoded, miniaudio.MiniaudioError, MemoryError) as fault:
        said = b"!" + str(fault).encode("ascii", "replace")
    sys.stdout.buffer.write(said)


def measured(file: IO[bytes]) -> Sound:
    """Return what a file sounds like; raise NotDecoded or MiniaudioError."""
    form, look = _KINDS.get(os.pread(file.fileno(), 4, 0), _MP3)
    info = look(f"/dev/fd/{file.fileno()}")
    rate, channels = info.sample_rate, info.nchannels
    if rate not in _RATES or channels not in _CHANNELS:
        raise NotDecoded(f"{channels} channels of {rate} samples a second")
    meter = _Meter(rate, channels)
    for samples in _decoded(_Source(file), form, rate, channels):
        meter.take(samples)
    return meter.sound()


def _decoded(source: _Source, form: miniaudio.FileFormat, rate: int, channels: int) -> Iterator[array[float]]:
    """Yield samples of all channels in turn, a hop at a time; the last may be shorter."""
    wanted = rate // HOPS
    yield from miniaudio.stream_any(source, form, miniaudio.SampleFormat.FLOAT32, channels, rate, wanted)


class _Source(miniaudio.StreamableSource):  # type: ignore[misc]  # it has no types
    """The file, as the decoder reads it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)

    def read(self, num_bytes: int) -> bytes:
        """See its base."""
        return self._file.read(num_bytes)

    def seek(self, offset: int, origin: miniaudio.SeekOrigin) -> bool:
        """See its base."""
        try:
            self._file.seek(offset, origin.value)
        except (OSError, ValueError):
            return False
        return True


class _Meter:
    """Takes samples in, hop by hop. How long the whole is nobody knows: what a file says of that may be wrong."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._channels = channels
        self._frames = 0
        self._hop = rate // HOPS
        self._split = _SPLIT
        self._parts: list[tuple[float, float]] = []
        self._powers: list[float] = []
        self._weightings = [Weighting(rate) for _ in range(channels)] if channels <= _STEREO else []
        self._rows = [0] * channels
        self._clips = 0

    def take(self, samples: array[float]) -> None:
        """Take the next hop in, or what is left at the end."""
        frames = len(samples) // self._channels
        self._frames += frames
        planes = [samples[channel :: self._channels] for channel in range(self._channels)]
        if self._draw(samples, frames):
            self._count_clips(planes)
        else:
            self._rows = [0] * self._channels
        if frames == self._hop and self._weightings:
            weighed = zip(self._weightings, planes, strict=True)
            self._powers.append(sum(weighting.power(plane) for weighting, plane in weighed))

    def _draw(self, samples: array[float], frames: int) -> bool:
        """Note least and greatest of each part; return whether full scale is reached."""
        split = max(1, self._split * frames // self._hop)
        ends = [self._channels * (frames * part // split) for part in range(split + 1)]
        parts = [samples[begin:end] for begin, end in pairwise(ends) if begin < end]
        found = [(min(part), max(part)) for part in parts]
        self._parts += found
        if len(self._parts) > _PARTS and self._split > 1:
            self._split //= 2
            both = zip(self._parts[::2], self._parts[1::2], strict=False)
            self._parts = [(min(one[0], other[0]), max(one[1], other[1])) for one, other in both]
        return any(low <= -_FULL or high >= _FULL for low, high in found)

    def _count_clips(self, planes: list[array[float]]) -> None:
        for channel, plane in enumerate(planes):
            row = self._rows[channel]
            for sample in plane:
                row = 0 if -_FULL < sample < _FULL else row + 1
                self._clips += row == _RUN
            self._rows[channel] = row

    def sound(self) -> Sound:
        """Return what all of it sounds like; raise NotDecoded where there was nothing."""
        if not self._frames:
            raise NotDecoded("no sample is in it")
        return Sound(
            round(self._frames / self._rate, 3),
            self._rate,
            self._channels,
            max(max(-low, high) for low, high in self._parts),
            self._clips,
            integrated(self._powers),
            paired(self._parts),
        )
