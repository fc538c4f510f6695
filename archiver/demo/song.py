"""A short song, synthesized stem by stem and encoded as MP3: the audio of the demo and of the tests.

Nothing is sampled or downloaded: four chords, a few instruments made of sines, noise and plucked
strings, and LAME (by `lameenc`) for genuine MP3 frames.
"""

from __future__ import annotations

import math
import random
import wave
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from operator import add

import lameenc

RATE = 22_050
"""Samples a second; at this rate MP3 is MPEG-2 layer III."""

BIT_RATE = 96
"""Kilobits a second, constant."""

BEAT = 0.6
"""Seconds."""

BEATS = 16

DURATION = BEATS * BEAT
"""Seconds, of every stem."""

INSTRUMENTS = (
    "vocal",
    "backing_vocals",
    "drums",
    "bass",
    "guitar",
    "keyboard",
    "percussion",
    "strings",
    "synth",
    "fx",
    "brass",
    "woodwinds",
)
"""The stems of a `split_stem` task, in the provider's order."""

_CHORDS = ((57, 60, 64), (53, 57, 60), (55, 60, 64), (55, 59, 62))
"""A minor, F, C, G, as MIDI notes, one a bar."""

_ROOTS = (33, 29, 36, 31)

_TUNE = ((0, 1.5, 69), (1.5, 0.5, 71), (2, 2, 72), (4, 1, 72), (5, 1, 69), (6, 2, 65))
_TUNE_END = ((8, 1.5, 67), (9.5, 0.5, 69), (10, 2, 72), (12, 1, 71), (13, 1, 74), (14, 2, 67))

_VIBRATO_HERTZ = 5.5

Sound = Sequence[float]


@dataclass(frozen=True, slots=True)
class _Note:
    start: float
    """In beats, as is `length`."""
    length: float
    pitch: int
    """MIDI number; 69 is 440 Hz. For drums, which of them."""


@dataclass(frozen=True, slots=True)
class _Tone:
    """A pitched sound: the strength of each harmonic, and how it swells and fades, in seconds."""

    harmonics: tuple[float, ...]
    attack: float
    fade: float
    """Time constant of the decay while the note is held."""
    vibrato: float = 0.0
    """Depth, as a share of the pitch."""
    breath: float = 0.0
    """Strength of the noise in it; only sounds with vibrato have any."""

    def __call__(self, pitch: int, seconds: float) -> Sound:
        table = self._cycle()
        mask = len(table) - 1
        step = _hertz(pitch) * len(table) / RATE
        swing = self.vibrato * _hertz(pitch) * len(table) / (math.tau * _VIBRATO_HERTZ)
        shape = self._envelope(int(seconds * RATE))
        if not self.vibrato:
            return [table[int(i * step) & mask] * level for i, level in enumerate(shape)]
        return [
            (table[int(i * step + swing * sway) & mask] + self.breath * hiss) * level
            for i, (level, sway, hiss) in enumerate(zip(shape, _sway(len(shape)), _hiss(len(shape)), strict=True))
        ]

    @cache  # noqa: B019 - the instruments are the module's constants: they live as long as it does
    def _cycle(self, size: int = 1024) -> Sound:
        return [
            sum(level * math.sin(math.tau * (n + 1) * i / size) for n, level in enumerate(self.harmonics))
            for i in range(size)
        ]

    @cache  # noqa: B019 - see _cycle
    def _envelope(self, size: int) -> Sound:
        swell, release = self.attack * RATE, 0.05 * RATE
        keep = math.exp(-1 / (self.fade * RATE))
        return [keep**i * min(1.0, i / swell, (size - i) / release) for i in range(size)]


@cache
def _sway(size: int) -> Sound:
    return [math.sin(math.tau * _VIBRATO_HERTZ * i / RATE) for i in range(size)]


@cache
def _hiss(size: int) -> Sound:
    noise = random.Random(size)
    return [noise.random() - 0.5 for _ in range(size)]


def _hertz(pitch: int) -> float:
    return 440.0 * 2 ** ((pitch - 69) / 12)


def _plucked(pitch: int, seconds: float) -> Sound:
    """A string after Karplus and Strong: a burst of noise, averaged each time it comes round."""
    noise = random.Random(pitch)
    ring = [noise.random() - 0.5 for _ in range(int(RATE / _hertz(pitch)))]
    sound: list[float] = []
    while len(sound) < seconds * RATE:
        sound += ring
        ring = [0.4985 * (here + there) for here, there in zip(ring, ring[1:] + ring[:1], strict=True)]
    del sound[int(seconds * RATE) :]
    return sound


_KICK, _SNARE, _HAT, _SHAKER, _CLAVE = range(5)


def _struck(pitch: int, seconds: float) -> Sound:
    """A drum: a sine that falls, noise, or both."""
    tone, fall, tone_fade, hiss, hiss_fade = {
        _KICK: (48.0, 6.0, 0.12, 0.0, 1.0),
        _SNARE: (185.0, 0.5, 0.06, 0.8, 0.07),
        _HAT: (0.0, 0.0, 1.0, 0.4, 0.02),
        _SHAKER: (0.0, 0.0, 1.0, 0.5, 0.05),
        _CLAVE: (2500.0, 0.0, 0.02, 0.0, 1.0),
    }[pitch]
    noise = random.Random(pitch)
    sound = []
    for i in range(int(seconds * RATE)):
        t = i / RATE
        turns = tone * (t + fall * 0.02 * (1 - math.exp(-t / 0.02)))
        body = math.sin(math.tau * turns) * math.exp(-t / tone_fade) if tone else 0.0
        sound.append(body + hiss * (noise.random() - 0.5) * math.exp(-t / hiss_fade))
    return sound


def _sweep(pitch: int, seconds: float) -> Sound:
    """A riser: noise through a low-pass filter that opens."""
    noise = random.Random(pitch)
    size = int(seconds * RATE)
    sound, held = [], 0.0
    for i in range(size):
        held += (0.005 + 0.4 * (i / size) ** 3) * (noise.random() - 0.5 - held)
        sound.append(held * i / size)
    return sound


def _chords(rhythm: Iterable[tuple[float, float]], transposed: int = 0) -> list[_Note]:
    hits = list(rhythm)
    return [
        _Note(4 * bar + start, length, pitch + transposed)
        for bar, chord in enumerate(_CHORDS)
        for start, length in hits
        for pitch in chord
    ]


def _line(notes: Iterable[tuple[float, float, int]]) -> list[_Note]:
    return [_Note(*note) for note in notes]


def _arpeggio() -> list[_Note]:
    return [_Note(i / 4, 0.25, _CHORDS[i // 16][(0, 1, 2, 1)[i % 4]] + 24) for i in range(4 * BEATS)]


def _every(step: float, length: float, pitch: int, first: float = 0.0) -> list[_Note]:
    return [_Note(first + i * step, length, pitch) for i in range(int((BEATS - first) / step))]


_CHOIR = _Tone((0.5, 0.35, 0.5, 0.2, 0.1, 0.05), attack=0.06, fade=3, vibrato=0.006, breath=0.03)
_OOH = _Tone((0.8, 0.15, 0.05), attack=0.2, fade=4, vibrato=0.004, breath=0.05)
_BASS = _Tone((0.9, 0.4, 0.15, 0.05), attack=0.005, fade=0.5)
_PIANO = _Tone((0.7, 0.3, 0.05, 0.15, 0.0, 0.0, 0.06), attack=0.003, fade=0.7)
_BOWED = _Tone(tuple(0.6 / n for n in range(1, 11)), attack=0.35, fade=6, vibrato=0.005)
_SQUARE = _Tone((0.6, 0.0, 0.2, 0.0, 0.12, 0.0, 0.086), attack=0.003, fade=0.12)
_HORN = _Tone((0.4, 0.5, 0.45, 0.35, 0.25, 0.2, 0.12, 0.08), attack=0.04, fade=0.6)
_FLUTE = _Tone((0.9, 0.1, 0.08), attack=0.08, fade=5, vibrato=0.008, breath=0.12)

_Instrument = Callable[[int, float], Sound]

_SCORE: dict[str, tuple[float, _Instrument, Callable[[], list[_Note]]]] = {
    # name: (its peak in the mix, how a note sounds, what it plays)
    "vocal": (0.9, _CHOIR, lambda: _line(_TUNE + _TUNE_END)),
    "backing_vocals": (0.4, _OOH, partial(_chords, ((0, 4),), 12)),
    "drums": (0.9, _struck, lambda: _every(2, 0.5, _KICK) + _every(2, 0.5, _SNARE, 1) + _every(0.5, 0.2, _HAT)),
    "bass": (0.7, _BASS, lambda: [_Note(i / 2, 0.5, _ROOTS[i // 8]) for i in range(2 * BEATS)]),
    "guitar": (0.5, _plucked, partial(_chords, ((0, 1.5), (1.5, 1), (2.5, 1.5)))),
    "keyboard": (0.5, _PIANO, partial(_chords, ((0, 1), (1, 1), (2, 1), (3, 1)))),
    "percussion": (0.4, _struck, lambda: _every(0.5, 0.3, _SHAKER, 0.25) + _every(1.5, 0.2, _CLAVE)),
    "strings": (0.5, _BOWED, partial(_chords, ((0, 4),))),
    "synth": (0.3, _SQUARE, _arpeggio),
    "fx": (0.4, _sweep, lambda: _every(8, 8, 1)),
    "brass": (0.5, _HORN, partial(_chords, ((0.5, 0.5), (3, 0.75)))),
    "woodwinds": (0.4, _FLUTE, lambda: _line((start, length, pitch + 12) for start, length, pitch in _TUNE_END)),
}


def stems() -> dict[str, bytes]:
    """Return every stem as an MP3 by its name, the same bytes at each call.

    Beside INSTRUMENTS there are `instrumental` (all but the two vocals) and `origin` (all of them),
    as a `separate_vocal` task has. Takes a few seconds of CPU.
    """
    tracks = {name: _track(name) for name in INSTRUMENTS}
    instrumental = _mix(track for name, track in tracks.items() if name not in {"vocal", "backing_vocals"})
    mixes = {"instrumental": instrumental, "origin": _mix(tracks.values())}
    return {name: _mp3(track) for name, track in (tracks | mixes).items()}


def wav() -> bytes:
    """Return one chord of the song as WAV, the same bytes at each call."""
    chord = _mix(_plucked(pitch, 4 * BEAT) for pitch in _CHORDS[0])
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(_pcm(chord))
    return file.getvalue()


def _track(name: str) -> Sound:
    peak, instrument, score = _SCORE[name]
    track = array("d", bytes(8 * int(DURATION * RATE)))
    sounds: dict[tuple[int, float], Sound] = {}
    for note in score():
        sound = sounds.get((note.pitch, note.length))
        if sound is None:
            sound = sounds[note.pitch, note.length] = instrument(note.pitch, note.length * BEAT)
        begin = int(note.start * BEAT * RATE)
        end = min(begin + len(sound), len(track))
        track[begin:end] = array("d", map(add, track[begin:end], sound))
    return _levelled(track, peak)


def _levelled(track: Sound, peak: float) -> Sound:
    factor = peak / max(map(abs, track))
    return [sample * factor for sample in track]


def _mix(tracks: Iterable[Sound]) -> Sound:
    return _levelled([sum(samples) for samples in zip(*tracks, strict=True)], 0.95)


def _mp3(track: Sound) -> bytes:
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(1)
    encoder.set_in_sample_rate(RATE)
    encoder.set_bit_rate(BIT_RATE)
    encoder.set_quality(7)
    return bytes(encoder.encode(_pcm(track)) + encoder.flush())


def _pcm(track: Sound) -> bytes:
    return array("h", [int(32_000 * sample) for sample in track]).tobytes()
