"""The formats of files, as object keys and headers name them, and the first bytes that each is known by."""

from __future__ import annotations

from dataclasses import dataclass

from archiver.adapters.downloader.first_bytes import FirstBytes
from archiver.core.records.kinds.names import Media


@dataclass(frozen=True, slots=True)
class Container:
    """A file format, as object keys and headers name it."""

    extension: str
    content_type: str
    media: Media = Media.AUDIO


MP3 = Container("mp3", "audio/mpeg")
AAC = Container("aac", "audio/aac")
LATM = Container("latm", "audio/mp4a-latm")
AC3 = Container("ac3", "audio/ac3")
EAC3 = Container("eac3", "audio/eac3")
WAV = Container("wav", "audio/wav")
FLAC = Container("flac", "audio/flac")
OGG = Container("ogg", "audio/ogg")
OPUS = Container("opus", "audio/ogg")
SPEEX = Container("spx", "audio/ogg")
M4A = Container("m4a", "audio/mp4")
M4B = Container("m4b", "audio/mp4")
AIFF = Container("aiff", "audio/aiff")
AIFC = Container("aifc", "audio/aiff")
CAF = Container("caf", "audio/x-caf")
WMA = Container("wma", "audio/x-ms-wma")
MIDI = Container("mid", "audio/midi")
MP4 = Container("mp4", "video/mp4", Media.VIDEO)
MOV = Container("mov", "video/quicktime", Media.VIDEO)
WEBM = Container("webm", "audio/webm")
WEBM_VIDEO = Container("webm", "video/webm", Media.VIDEO)
MKV = Container("mkv", "video/x-matroska", Media.VIDEO)
THREE_GP = Container("3gp", "video/3gpp", Media.VIDEO)
THREE_G2 = Container("3g2", "video/3gpp2", Media.VIDEO)
TS = Container("ts", "video/mp2t", Media.VIDEO)
UNKNOWN = Container("bin", "application/octet-stream")
"""A format that has no name here: what the origin calls audio is kept all the same."""

_AUDIO = FirstBytes(
    {
        rb"(?:RIFF|RF64|BW64|RIFX)....WAVE": WAV,
        rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00": Container("w64", "audio/x-w64"),
        rb"FORM....AIFF": AIFF,
        rb"FORM....AIFC": AIFC,
        rb"FORM....(?:8SVX|16SV)": Container("8svx", "audio/x-8svx"),
        rb"OggS.{0,123}?OpusHead": OPUS,
        rb"OggS.{0,123}?Speex   ": SPEEX,
        rb"OggS.": OGG,
        rb"fLaC": FLAC,
        rb"caff\x00\x01": CAF,
        rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c": WMA,
        rb"ADIF": AAC,
        rb"#!AMR-WB(?:_MC1\.0)?\n": Container("awb", "audio/amr-wb"),
        rb"#!AMR(?:_MC1\.0)?\n": Container("amr", "audio/amr"),
        rb"wvpk": Container("wv", "audio/x-wavpack"),
        rb"MAC[ F]": Container("ape", "audio/x-ape"),
        rb"TTA[12]": Container("tta", "audio/x-tta"),
        rb"tBaK": Container("tak", "audio/x-tak"),
        rb"OFR ": Container("ofr", "audio/x-optimfrog"),
        rb"MP\+[\x07\x17]|MPCK": Container("mpc", "audio/x-musepack"),
        rb"DSD \x1c\x00": Container("dsf", "audio/x-dsf"),
        rb"FRM8.{8}DSD ": Container("dff", "audio/x-dff"),
        rb"\.snd\x00|dns\.": Container("au", "audio/basic"),
        rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80": Container("dts", "audio/vnd.dts"),
        rb"ajkg": Container("shn", "audio/x-shn"),
        rb"Creative Voice File\x1a": Container("voc", "audio/x-voc"),
        rb"\.ra\xfd|\.RMF\x00": Container("ra", "audio/x-pn-realaudio"),
        rb"qoaf\x00": Container("qoa", "audio/x-qoa"),
        rb"MThd\x00\x00\x00\x06": MIDI,
        rb"\x1a\x45\xdf\xa3.{0,60}webm": WEBM,
        rb"\x1a\x45\xdf\xa3.{0,60}matroska": MKV,
        rb"RIFF....AVI ": Container("avi", "video/x-msvideo", Media.VIDEO),
        rb"FLV\x01": Container("flv", "video/x-flv", Media.VIDEO),
    }
)
_IMAGES = FirstBytes(
    {
        rb"\x89PNG\r\n\x1a\n": Container("png", "image/png", Media.IMAGE),
        rb"\xff\xd8\xff": Container("jpg", "image/jpeg", Media.IMAGE),
        rb"GIF8[79]a": Container("gif", "image/gif", Media.IMAGE),
        rb"RIFF....WEBP": Container("webp", "image/webp", Media.IMAGE),
        rb"....ftypavi[fs]": Container("avif", "image/avif", Media.IMAGE),
        rb"....ftyp(?:hei[cxms]|hev[cx]|m[is]f1)": Container("heic", "image/heic", Media.IMAGE),
        rb"....ftypcrx ": Container("cr3", "image/x-canon-cr3", Media.IMAGE),
    }
)


def by_magic(head: bytes) -> Container | None:
    """Return the container of audio or video that `head` begins by its name."""
    return _AUDIO.kind_of(head)


def image_in(head: bytes) -> Container | None:
    """Return the image that `head` begins."""
    return _IMAGES.kind_of(head)
