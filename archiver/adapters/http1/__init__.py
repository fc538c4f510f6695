"""HTTP/1.1 as a client speaks it: request heads out, answer heads and bodies in, connections kept for the next.

Parsed here and not by http.client, which reads a chunk size that was cut short as a smaller one ("0"
for "0a00", say, and so an end where there is none), takes the first of two Content-Lengths, and fills a
whole buffer before it lets anyone look at the clock. Bodies are received into the caller's buffer.
Failures are httpx's exceptions.
"""

from archiver.adapters.http1.body import LengthReader, Reader
from archiver.adapters.http1.connection import RECEIVE, Connection, reason_of
from archiver.adapters.http1.dial import connect, open_tunnel, secure, tcp_connect
from archiver.adapters.http1.head import Head, Headers, HeadLimits, request_head
from archiver.adapters.http1.pool import Origin, Pool
from archiver.adapters.http1.race import Racer

__all__ = [
    "RECEIVE",
    "Connection",
    "Head",
    "HeadLimits",
    "Headers",
    "LengthReader",
    "Origin",
    "Pool",
    "Racer",
    "Reader",
    "connect",
    "open_tunnel",
    "reason_of",
    "request_head",
    "secure",
    "tcp_connect",
]
