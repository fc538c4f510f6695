"""Health for supervisors: the service is alive and progressing, and nothing is paused.

Imports little: `stem-archiver health` is run every few seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.core.model import Dependency, Pause

HEALTHZ = "/healthz"
READYZ = "/readyz"

LONGEST_ANSWER = 4096
"""Bytes of an answer that `ask` reads."""


def healthz(late: Mapping[str, float], stuck: Mapping[str, float]) -> tuple[int, Mapping[str, object]]:
    """Return status and JSON of /healthz: 200, or 503 with the late loops and the seconds since each last moved.

    With 200 it names those tasks and transfers that are `stuck`: given up, and not ended yet.
    """
    if not late:
        named = {"stuck": {name: round(seconds, 1) for name, seconds in stuck.items()}} if stuck else {}
        return HTTPStatus.OK, {"status": "alive", **named}
    return HTTPStatus.SERVICE_UNAVAILABLE, {
        "status": "stalled",
        "late": {name: round(seconds, 1) for name, seconds in late.items()},
    }


def readyz(paused: Mapping[Dependency, Pause]) -> tuple[int, Mapping[str, object]]:
    """Return status and JSON of /readyz: 200, or 503 with the paused dependencies, and why.

    Of a reason it tells the code alone: what stands behind it is others' words, and whoever asks is nobody we know.
    """
    if not paused:
        return HTTPStatus.OK, {"status": "ready"}
    why = {name.value: {"error": pause.reason.partition(": ")[0], "hint": pause.hint} for name, pause in paused.items()}
    return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "paused", "paused": list(why), "why": why}


def ask(host: str, port: int, *, seconds: float) -> tuple[bool, str]:
    """Ask a running service for its /healthz; return whether it is alive, and its answer or why none came."""
    # What listens on every address is reached by loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    connection = HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", HEALTHZ)
        answer = connection.getresponse()
        said = answer.read(LONGEST_ANSWER).decode("ascii", errors="replace").strip()
    except ConnectionRefusedError:
        return False, f"no answer from {host}:{port}: nothing listens there. Is the daemon up, with this http.listen?"
    except TimeoutError:
        return False, f"no answer from {host}:{port} within {seconds:g} s"
    except (OSError, HTTPException) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        return False, f"no answer from {host}:{port}: {said}"
    finally:
        connection.close()
    try:
        ours = isinstance(json.loads(said), dict)
    except ValueError:
        ours = False
    if not ours:
        return False, f"something else listens on {host}:{port}: it answered {answer.status}"
    return answer.status == HTTPStatus.OK, said
