"""Audio of every kind that a player meets: MP3 by LAME, with a reference reader of its frames; WAV and AAC by hand."""

from __future__ import annotations

import math
import random
import struct
from array import array
from dataclasses import dataclass
from functools import cache

import lameenc

KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True, slots=True)
class Sound:
    """How an MP3 is made."""

    seconds: float = 3.0
    rate: int = 44_100
    channels: int = 2
    kbits: int = 128
    variable: int | None = None
    """LAME's quality of a variable bit rate, 0 to 9."""
    seed: int = 1
    level: float = 0.3


@cache
def pcm(sound: Sound) -> array[int]:
    """Return 16-bit samples, interleaved: noise, in tenths of a second that are loud, quiet and silent in turn."""
    chance = random.Random(sound.seed)
    block = sound.rate // 10
    data = bytearray()
    for at in range(math.ceil(sound.seconds * 10)):
        noise = bytearray(chance.randbytes(2 * block * sound.channels))
        noise[1::2] = noise[1::2].translate(_levels(sound.level / (1, 8, 2, 64)[at % 4]))
        data += noise
    samples = array("h")
    samples.frombytes(bytes(data[: 2 * sound.channels * int(sound.seconds * sound.rate)]))
    return samples


def _levels(level: float) -> bytes:
    """Return what the upper byte of a sample becomes, so that noise is as loud as this."""
    return bytes(round((byte - 256 * (byte > 127)) * level) & 255 for byte in range(256))


def mp3(sound: Sound, samples: array[int] | None = None) -> bytes:
    """Encode; without `samples` those of `pcm`."""
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(sound.channels)
    encoder.set_in_sample_rate(sound.rate)
    encoder.set_quality(7)
    if sound.variable is None:
        encoder.set_bit_rate(sound.kbits)
    else:
        encoder.set_vbr(4)
        encoder.set_vbr_quality(sound.variable)
    encoded = encoder.encode((pcm(sound) if samples is None else samples).tobytes())
    return bytes(encoded + encoder.flush())


def wav(
    packed: bytes, *, rate: int = 44_100, channels: int = 2, bits: int = 16, real: bool = False, before: bytes = b""
) -> bytes:
    """Return a WAV file of samples that are packed already; `before`: chunks that stand before them."""
    each = channels * bits // 8
    head = struct.pack("<HHIIHH", 3 if real else 1, channels, rate, rate * each, each, bits)
    body = b"WAVE" + chunk(b"fmt ", head) + before + chunk(b"data", packed)
    return chunk(b"RIFF", body)


def aac(count: int, *, rate: int = 44_100, channels: int = 1, seed: int = 1, fill: bytes = b"") -> list[bytes]:
    """Return frames of AAC-LC in ADTS, with noise of the lowest bands; `fill`: bytes that hold no sound."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        bits = "001" if channels == 2 else "000"  # a pair of channels, or a single one
        bits += "0000" + "0" * (channels == 2)
        bits += "".join(_channel(chance) for _ in range(channels))
        if fill:
            bits += "1101111" + f"{len(fill) - 14:08b}" + "".join(f"{byte:08b}" for byte in fill)
        bits += "111"
        bits += "0" * (-len(bits) % 8)
        body = int(bits, 2).to_bytes(len(bits) // 8, "big")
        made.append(_adts(len(body) + 7, rate, channels) + body)
    return made


def _channel(chance: random.Random) -> str:
    """Return the bits of one channel: a long window, ten bands of four lines in codebook 1, each -1, 0 or 1."""
    lines = "".join(chance.choice(["0", f"10{chance.randrange(8):03b}"]) for _ in range(10))
    return f"{chance.randrange(160, 180):08b}000000101000001010100000000000000{lines}"


def _adts(length: int, rate: int, channels: int) -> bytes:
    rated = {48_000: 3, 44_100: 4, 24_000: 6}[rate]
    value = 0xFFF1 << 40 | 1 << 38 | rated << 34 | channels << 30 | length << 13 | 0x7FF << 2
    return value.to_bytes(7, "big")


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a RIFF file."""
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def id3(size: int) -> bytes:
    """Return an ID3v2 tag with a body of so many bytes."""
    parts = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + parts + bytes(size)


def frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return version, sample rate and length of the layer III frame whose header stands at `at`."""
    if at + 4 > len(data):
        return None
    (word,) = struct.unpack_from(">I", data, at)
    version, layer, bits, rated = (word >> 19) & 3, (word >> 17) & 3, (word >> 12) & 15, (word >> 10) & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or bits in {0, 15} or rated == 3:
        return None
    rate = (44_100, 48_000, 32_000)[rated] // {3: 1, 2: 2, 0: 4}[version]
    kbits = KBITS[3 if version == 3 else 2][bits]
    return version, rate, (144_000 if version == 3 else 72_000) * kbits // rate + ((word >> 9) & 1)


def frames_of(data: bytes) -> list[tuple[int, int]]:
    """Return offset and length of every frame of an undamaged MP3, also of one that holds no audio."""
    at = 0
    while data[at : at + 3] == b"ID3":
        one, two, three, four = data[at + 6 : at + 10]
        at += 10 + (one << 21 | two << 14 | three << 7 | four)
    found = []
    while (frame := frame_at(data, at)) and at + frame[2] <= len(data):
        found.append((at, frame[2]))
        at += frame[2]
    return found


def fed_in_pieces(imported: str, begun: str, told: str) -> str:
    """Return a script that feeds files in pieces to a run of a format, and returns what is told of each.

    `imported` are the class and its script, `begun` makes a run of `bytes`, or null, and `told` are an object's fields.
    """
    return f"""async ([files, cuts]) => {{
  const {imported};
  return files.map((file) => {{
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    const run = {begun};
    if (run === null) return null;
    const begun = performance.now();
    let [turn, more] = [0, 0];
    while (!run.done) {{
      const from = run.at;
      more += cuts[turn++ % cuts.length];
      const to = Math.min(bytes.length, from + more);
      run.feed(bytes.slice(from, to), from, to >= bytes.length);
      if (run.at !== from) more = 0;
    }}
    return {{ {told}, took: performance.now() - begun }};
  }});
}}"""
