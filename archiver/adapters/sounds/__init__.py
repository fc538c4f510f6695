"""Sound of audio files: decoded by miniaudio in a process of its own, and kept in files."""

from archiver.adapters.sounds.apart import SoundsApart
from archiver.adapters.sounds.shelf import SoundFiles

__all__ = ["SoundFiles", "SoundsApart"]
