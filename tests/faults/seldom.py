"""Rows of the fault matrix that the slow run alone carries out, each with the one that stands for it in every run.

Both come to the same point and end there alike; only the answer differs, and that each answer is understood so the
tests of the adapter hold, for every one. A row that is alone at its point is never here.
"""

from __future__ import annotations

from collections.abc import Mapping

_BY_HOP: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "API": {
        "402 in the body: no credit": ("402 in both layers: no credit",),
        "403 in the body: the key's IP list": ("403 JSON: the key's IP list",),
        "455 in the body: maintenance": ("455 in both layers: maintenance",),
        "500 in the body of a 200": (
            "408 in the body of a 200",
            "451 in the body of a 200",
            "501 in the body of a 200",
            "531 in the body of a 200",
        ),
        "503 in both layers": ("408 in both layers", "500 in both layers", "501 in both layers"),
        "502 with an HTML page": ("503 with an HTML page", "not HTTP"),
        "405 in the body: slow down": (
            "429 in the body: slow down",
            "430 in the body: slow down",
            "433 in the body: slow down",
        ),
        "429 in both layers, Retry-After: 20": ("429 in both layers, without Retry-After",),
        "JSON cut short": ("JSON, but a list", "empty 200", "gzip cut short"),
        "reset in mid-answer": (
            "connection closed before the announced end",
            "connection closed without an answer",
            "reset without an answer",
        ),
        "silence": ("one byte at a time",),
        "certificate of another host": ("certificate that has expired",),
        "404 in both layers: no such record": ("422 in the body: no such record",),
        "a flag nobody has heard of": ("data is a text",),
    },
    "CDN": {
        "HTTP/1.0 without Content-Length": ("body without any framing, whole",),
        "cut in mid-body, strong ETag": ("reset in mid-body, strong ETag",),
        "resume: another ETag": ("resume: no ETag any more",),
        "resume: another range than asked for": ("resume: the range of a longer whole",),
        "resume: 200 with the whole": ("resume: 416",),
        "500": ("204", "400", "503"),
        "429, Retry-After: 30": ("429",),
        "403, no fresh link and no rescue": ("401, no fresh link and no rescue", "410, no fresh link and no rescue"),
        "404, and download-url answers 500": ("404, and download-url answers HTML",),
        "HTML with 200, again and again": ("JSON with 200", "XML with 200"),
        "connection closed without an answer": ("not HTTP",),
        "redirects in a circle": ("redirect without a Location",),
        "certificate of another host": ("certificate that has expired",),
    },
    "S3": {
        "put: 500 InternalError": ("put: 503 SlowDown, Retry-After: 2",),
        "put: 409 ConditionalRequestConflict": ("put: 409 OperationAborted",),
        "put: connection dropped after the object was made": ("put: 500 after the object was made",),
        "put: 200 that names no checksum": ("put: 200 without any header",),
        "everything: an HTML page of a gateway": ("everything: connection dropped",),
        "complete: connection dropped before, once": ("complete: 500 before, once",),
        "complete: connection dropped after the object was made": ("complete: 500 after the object was made",),
        "403 SignatureDoesNotMatch: a wrong secret": ("403 InvalidAccessKeyId: an unknown key", "400 ExpiredToken"),
        "507 InsufficientStorage": ("403 QuotaExceeded",),
    },
    "host": {
        "the clock jumps a month ahead between tries": ("the clock jumps an hour ahead between tries",),
        "the clock jumps an hour back between tries": ("the clock jumps a month back between tries",),
        "the clock jumps an hour ahead while the provider is paused": (
            "the clock jumps a month ahead while the provider is paused",
        ),
        "the clock jumps a month back while the provider is paused": (
            "the clock jumps an hour back while the provider is paused",
        ),
    },
}

SELDOM = {
    f"{hop}: {row}": f"{hop}: {instead}"
    for hop, alike in _BY_HOP.items()
    for instead, rows in alike.items()
    for row in rows
}
"""The title of the row that every run carries out, by that of the one it leaves out."""
