"""Non-public addresses in every spelling, met directly, by redirect and by a name server that changes its mind.

Every connection the client opens is counted, by the function it opens them with and by a real socket
that listens on all loopback addresses.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address

import httpx
import pytest

from archiver.core.errors import AddressForbidden, ArchiverError, OriginBusy
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin
from tests.fakes.scripted import Reply
from tests.fakes.serving import port_of
from tests.fixtures.fetching import fetch
from tests.house import SockAddr, downloader, tcp_connect

SONG = mp3(20_000)
PUBLIC_HOST = "cdn.example"
PUBLIC = "93.184.216.34"
"""Stands for the honest CDN; connections to it are led to the scripted origin."""

PRIVATE_V4 = (
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
)
PRIVATE_V6 = (
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "fe80::1",
    "fe80::1%25eth0",
    "fe80::1%eth0",
    "::1%25lo",
    "::1%lo",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "FE80::A",
)
NAMES = ("localhost", "LOCALHOST", "localhost.", "x.localhost", "localhost.localhost.", "%6cocalhost", "ⓛocalhost")


def spellings_of(dotted: str) -> Iterator[str]:
    """Yield hosts that one resolver or another takes for the IPv4 address `dotted`."""
    ip = IPv4Address(dotted)
    number, octets = int(ip), ip.packed
    high, low = number >> 16, number & 0xFFFF
    yield from (dotted, f"{dotted}.", f"{dotted}%2e", f"{dotted}%00", f" {dotted}", f"{dotted}%20")
    yield from (str(number), hex(number), f"0{number:o}", f"0X{number:08X}", f"00000000000000{number:x}")
    yield from (
        ".".join(f"0{o:o}" for o in octets),
        ".".join(hex(o) for o in octets),
        ".".join(f"{o:03}" for o in octets),
    )
    yield from (
        f"{octets[0]}.{number & 0xFFFFFF}",
        f"{octets[0]}.{octets[1]}.{low}",
        f"0x{octets[0]:x}.{octets[1]}.{low}.",
    )
    yield from (dotted.replace(".", dot) for dot in "\u3002\uff0e\uff61")
    yield dotted.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    yield dotted.replace("1", "\u2460").replace("2", "\u2461")
    yield "".join(f"%{ord(c):02x}" for c in dotted)
    yield from (f"[::ffff:{dotted}]", f"[::{dotted}]", f"[0:0:0:0:0:ffff:{high:x}:{low:x}]", f"[::ffff:0:{dotted}]")
    yield from (f"[64:ff9b::{dotted}]", f"[64:ff9b:1::{dotted}]", f"[64:ff9b::{high:x}:{low:x}]")
    yield from (f"[2002:{high:x}:{low:x}::]", f"[2002:{high:x}:{low:x}::1]")
    yield f"[2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"
    yield from (
        f"{PUBLIC_HOST}@{dotted}",
        f"{PUBLIC_HOST}:80@{dotted}",
        f"{PUBLIC_HOST}%40@{dotted}",
        f"{PUBLIC_HOST}\\@{dotted}",
    )


HOSTS = (
    *(spelling for dotted in PRIVATE_V4 for spelling in spellings_of(dotted)),
    *(f"[{address}]" for address in PRIVATE_V6),
    *NAMES,
)

Resolve = Callable[[str, int], Sequence[SockAddr]]


class Net:
    """The client's view of the network: PUBLIC leads to the origin, all else where it says; every connect is kept."""

    def __init__(self, cdn: Origin) -> None:
        self.cdn = cdn
        self.connects: list[str] = []

    def connect(self, address: SockAddr, timeout: float) -> socket.socket:
        self.connects.append(address[0])
        return tcp_connect(("127.0.0.1", self.cdn.port) if address[0] == PUBLIC else address, 0.2)


def believing(host: str, port: int) -> Sequence[SockAddr]:
    """Resolve as a system without scruples does: any spelling libc knows, and all other names to loopback."""
    if host == PUBLIC_HOST:
        return [(PUBLIC, port)]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return [("127.0.0.1", port)]
    return [(str(address[0]), int(address[1])) for *_, address in found]


@pytest.fixture(scope="module")
def cdn() -> Iterator[Origin]:
    with Origin() as server:
        yield server


@pytest.fixture(scope="module")
def trap() -> Iterator[socket.socket]:
    """Listen on every loopback address, for those who got through."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.setblocking(False)
        yield server


def assert_silent(trap: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        trap.accept()


@contextmanager
def refused(*kinds: type[ArchiverError]) -> Iterator[None]:
    with pytest.raises(kinds):
        yield


def test_there_are_enough_spellings() -> None:
    assert len(set(HOSTS)) >= 500


def test_the_trap_does_catch_a_client_without_a_guard(cdn: Origin, trap: socket.socket) -> None:
    net = Net(cdn)
    with (
        downloader(connect=net.connect, resolve=believing, read_timeout=0.1, allow_private_addresses=True) as client,
        refused(OriginBusy),
    ):
        fetch(client, f"http://127.0.0.1:{port_of(trap)}/")
    assert net.connects == ["127.0.0.1"] * 3
    for _ in range(3):
        trap.accept()[0].close()
    assert_silent(trap)


def test_the_honest_cdn_is_reached(cdn: Origin) -> None:
    net = Net(cdn)
    cdn.script(Reply(SONG))
    with downloader(connect=net.connect, resolve=believing, allow_private_addresses=False) as client:
        assert fetch(client, f"http://{PUBLIC_HOST}/stem.mp3") == SONG
    assert net.connects == [PUBLIC]


def test_spelled_out_address_is_never_connected_to(cdn: Origin, trap: socket.socket) -> None:
    net = Net(cdn)
    with downloader(connect=net.connect, resolve=believing, allow_private_addresses=False, read_timeout=0.1) as client:
        for host in HOSTS:
            for scheme in ("http", "https"):
                with refused(AddressForbidden):
                    fetch(client, f"{scheme}://{host}:{port_of(trap)}/stem.mp3")
                assert net.connects == []
    assert_silent(trap)


def test_redirect_to_a_spelled_out_address_is_never_followed(cdn: Origin, trap: socket.socket) -> None:
    net = Net(cdn)
    with downloader(connect=net.connect, resolve=believing, allow_private_addresses=False) as client:
        for host in HOSTS:
            there = f"//{host}:{port_of(trap)}/stem.mp3".encode().decode("latin-1")
            cdn.script(Reply(status=302, headers=(("Location", there),)), path="/away")
            # What httpx cannot even parse is the origin's fault, and as little connected to.
            with refused(AddressForbidden, OriginBusy):
                fetch(client, f"http://{PUBLIC_HOST}/away")
    assert set(net.connects) == {PUBLIC}
    assert_silent(trap)


def resolvable(host: str) -> str:
    """Return what a name server could be made to answer: the address without brackets."""
    return host.strip("[]").rpartition("@")[2].replace("%25", "%")


def always(addresses: Sequence[str]) -> Resolve:
    return lambda host, port: [(address, port) for address in addresses]


def test_name_that_leads_to_a_private_address_is_never_connected_to(cdn: Origin, trap: socket.socket) -> None:
    net = Net(cdn)
    for host in HOSTS:
        bad = resolvable(host)
        for answer in ([bad], [PUBLIC, bad], [bad, PUBLIC]):
            with (
                downloader(connect=net.connect, resolve=always(answer), allow_private_addresses=False) as client,
                refused(AddressForbidden),
            ):
                fetch(client, f"http://evil.example:{port_of(trap)}/stem.mp3")
    assert net.connects == []
    assert_silent(trap)


def test_name_that_changes_its_answer_is_connected_to_as_it_was_judged(cdn: Origin, trap: socket.socket) -> None:
    net = Net(cdn)
    for host in HOSTS:
        answers = iter([PUBLIC, resolvable(host)])

        def rebinding(name: str, port: int, answers: Iterator[str] = answers) -> Sequence[SockAddr]:
            return [(next(answers), port)]

        cdn.script(Reply(SONG), Reply(SONG, close=True))
        with downloader(connect=net.connect, resolve=rebinding, allow_private_addresses=False) as client:
            url = f"http://rebind.example:{port_of(trap)}/stem.mp3"
            # The first answer is used until its connections are gone; the second is judged anew.
            assert fetch(client, url) == SONG
            assert fetch(client, url) == SONG
            with refused(AddressForbidden):
                fetch(client, url)
    assert set(net.connects) == {PUBLIC}
    assert_silent(trap)


def test_resume_of_a_rebinding_name_is_judged_anew(cdn: Origin, trap: socket.socket) -> None:
    net = Net(cdn)
    answers = iter([PUBLIC, "127.0.0.1"])
    cdn.script(Reply(SONG, headers=(("ETag", '"v1"'),), cut=10_000))
    with (
        downloader(
            connect=net.connect, resolve=lambda name, port: [(next(answers), port)], allow_private_addresses=False
        ) as client,
        refused(OriginBusy),
    ):
        fetch(client, f"http://rebind.example:{port_of(trap)}/stem.mp3")
    assert net.connects == [PUBLIC]
    assert_silent(trap)


def test_host_header_and_connection_speak_of_the_same_host(cdn: Origin) -> None:
    net = Net(cdn)
    cdn.requests.clear()
    cdn.script(Reply(SONG))
    with downloader(connect=net.connect, resolve=believing, allow_private_addresses=False) as client:
        fetch(client, f"http://{PUBLIC_HOST.upper()}/stem.mp3")
    assert httpx.URL(f"http://{cdn.requests[0].headers['host']}").host == PUBLIC_HOST
