"""The providers that speak this API, and what each means by its codes.

Source: the docs of each (the list of codes); kinds that a provider's docs do not have are not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from archiver.core.errors import (
    ApiThrottled,
    ArchiverError,
    FeatureDisabled,
    KeyRefused,
    Maintenance,
    NoCredit,
)
from archiver.core.records.kinds.names import KindName

_BOTH: Final[Mapping[int, type[ArchiverError]]] = {401: KeyRefused, 402: NoCredit, 455: Maintenance}
_FORBIDDEN: Final = 403

CREDIT: Final = "/api/v1/chat/credit"
CREDIT_OF_SIBLINGS: Final = "/api/v1/generate/credit"


@dataclass(frozen=True, slots=True)
class Flavour:
    """A provider's own way with the API that all share."""

    by_status: Mapping[int, type[ArchiverError]]
    """Errors by the status of HTTP."""
    by_code: Mapping[int, type[ArchiverError]]
    """Errors by the code in the envelope."""
    kinds: frozenset[KindName]
    """The kinds that it has records of."""
    credit: tuple[str, str]
    """The paths at which the credit may be told, the likelier first."""


# 405 and 505 have other meanings as an HTTP status: a wrong path, a proxy's complaint.
KIE: Final = Flavour(
    by_status=MappingProxyType({**_BOTH, 429: ApiThrottled}),
    by_code=MappingProxyType(
        {
            **_BOTH,
            _FORBIDDEN: KeyRefused,
            405: ApiThrottled,
            429: ApiThrottled,
            430: ApiThrottled,
            433: ApiThrottled,
            505: FeatureDisabled,
        }
    ),
    kinds=frozenset(KindName),
    credit=(CREDIT, CREDIT_OF_SIBLINGS),
)
SUNOAPI: Final = Flavour(
    by_status=MappingProxyType({**_BOTH, 405: ApiThrottled, 429: NoCredit, 430: ApiThrottled}),
    by_code=MappingProxyType({**KIE.by_code, 429: NoCredit}),
    kinds=frozenset(
        (
            KindName.SEPARATION,
            KindName.MUSIC,
            KindName.WAV,
            KindName.MP4,
            KindName.MIDI,
            KindName.COVER,
            KindName.LYRICS,
        )
    ),
    credit=(CREDIT_OF_SIBLINGS, CREDIT),
)
FLAVOURS: Final[Mapping[str, Flavour]] = MappingProxyType({"kie": KIE, "sunoapi": SUNOAPI})
"""By the values of `provider.flavour`."""


def flavour_of(base_url: str) -> str:
    """Return the flavour of the provider at this origin, by its host."""
    host = urlsplit(base_url).hostname or ""
    is_sibling = any(host == each or host.endswith(f".{each}") for each in ("sunoapi.org", "api.box"))
    return "sunoapi" if is_sibling else "kie"
