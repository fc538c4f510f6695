"""Waveforms and loudness of a task's stems, as far as they are known; asking for them has the rest measured."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from archiver.core.model import StemRow
from archiver.core.sound import Sound
from archiver.web.page.parts import Parts
from archiver.web.page.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Waveforms:
    """The endpoint."""

    parts: Parts
    shelf: Shelf

    def routes(self) -> Sequence[Route]:
        """Return its route."""
        return [Route("/task/{task}/waveforms", self.known)]

    def known(self, request: Request) -> Response:
        """Answer with what is known of each stem, and how many are still to be measured."""
        row = self.shelf.found(request)
        if isinstance(row, Response):
            return row
        soundings = self.parts.soundings
        if soundings is None:
            return JSONResponse({"stems": {}, "pending": 0})
        pending = soundings.ask(row)
        known = {stem.name: _said(stem, sound) for stem in row.stems if (sound := soundings.whole(stem)) is not None}
        return JSONResponse({"stems": known, "pending": pending})


def _said(stem: StemRow, sound: Sound) -> dict[str, object]:
    return {
        "pairs": b64encode(sound.pairs).decode("ascii"),
        "seconds": sound.seconds,
        "marks": " · ".join(sound.marks(stem.duration)),
        "level": level(sound),
    }


def level(sound: Sound | None) -> str:
    """Return the loudness in words; empty where there is none."""
    return (
        "" if sound is None or sound.loudness is None else f"{sound.loudness:.1f} LUFS".replace("-", "\N{MINUS SIGN}")
    )
