"""Which addresses are public, and which URLs the guard lets pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archiver.adapters.downloader.address import Guard, Reach, SockAddr, is_public, literal, system_resolve
from archiver.adapters.downloader.url import Url
from archiver.core.errors import AddressForbidden, AddressPrivate, OriginBusy

PUBLIC_V4 = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
)
PRIVATE_V4 = (
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
)
PUBLIC_V6 = (
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00:1450::1",
    "3ffe::1",
)
PRIVATE_V6 = (
    "::",
    "::1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2002:c0a8:101::1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
)
NONSENSE = ("", "localhost", "127.1", "0x7f000001", "2130706433", "1.1.1.1.", "1.1.1.1 ", "01.1.1.1", "1.1.1", "::g")


@pytest.mark.parametrize("address", PUBLIC_V4 + PUBLIC_V6)
def test_address_for_public_use_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE_V4 + PRIVATE_V6 + NONSENSE)
def test_address_for_special_use_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_literal_tells_names_from_addresses_and_refuses_odd_spellings() -> None:
    assert str(literal("1.2.3.4")) == "1.2.3.4"
    assert str(literal("2001:db8::1")) == "2001:db8::1"
    assert literal("cdn.example") is None
    assert literal("1.2.3.4.example") is None
    assert literal("0x7f.example") is None
    assert literal("0xg") is None
    for odd in (
        "127.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "1.2.3.4.",
        "a.1",
        "1.2.3.4.5",
        "0x",
        "::g",
    ):
        with pytest.raises(ValueError, match=r"."):
            literal(odd)


def guard(
    *addresses: str,
    resolve: Callable[[str, int], list[SockAddr]] | None = None,
    allow_http: bool = False,
    allow_private_addresses: bool = False,
    allowed_hosts: tuple[str, ...] = (),
) -> Guard:
    return Guard(
        Reach(allowed_hosts, allow_http, allow_private_addresses),
        resolve=resolve or (lambda host, port: [(address, port) for address in addresses]),
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/a",
        "https://cdn.example./a",
        "https://cdn.example:8443/a",
        "https://8.8.8.8/",
        "https://[2606:4700::1]/",
    ],
)
def test_admit_public_https_passes(url: str) -> None:
    guard().admit(Url.of(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example/a",
        "ftp://cdn.example/a",
        "//cdn.example/a",
        "https:///a",
        "https://user@cdn.example/",
        "https://:pw@cdn.example/",
        "https://cdn.example:0/",
        "https://cdn.example:65536/",
        "https://cdn..example/",
        "https://cdn.example../",
        "https://-.../",
        "https://cdn%2eexample/",
        "https://cdn$example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "example/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://[::1]/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://x.localhost/",
    ],
)
def test_admit_anything_else_is_forbidden(url: str) -> None:
    with pytest.raises(AddressForbidden):
        guard().admit(Url.of(url))


def test_admit_http_when_allowed_still_knows_two_schemes_only() -> None:
    guard(allow_http=True).admit(Url.of("http://cdn.example/"))
    with pytest.raises(AddressForbidden, match="http and https"):
        guard(allow_http=True).admit(Url.of("ws://cdn.example/"))


def test_admit_private_when_allowed_still_refuses_odd_spellings() -> None:
    lax = guard(allow_private_addresses=True)
    lax.admit(Url.of("https://127.0.0.1/"))
    lax.admit(Url.of("https://localhost/"))
    with pytest.raises(AddressForbidden):
        lax.admit(Url.of("https://127.1/"))


@pytest.mark.parametrize("allowed", ["cdn.example", ".cdn.example", "*.cdn.example", "CDN.Example."])
def test_allowed_host_covers_itself_and_its_subdomains(allowed: str) -> None:
    narrow = guard(allowed_hosts=("other.example", allowed))
    for host in ("cdn.example", "a.cdn.example", "a.b.CDN.example", "cdn.example."):
        narrow.admit(Url.of(f"https://{host}/"))
    for host in ("notcdn.example", "cdn.example.evil", "example", "8.8.8.8"):
        with pytest.raises(AddressForbidden, match="allowed_hosts"):
            narrow.admit(Url.of(f"https://{host}/"))


def test_addresses_all_public_are_handed_on_as_they_came() -> None:
    assert guard("8.8.8.8", "1.1.1.1").addresses("cdn.example", 443) == [("8.8.8.8", 443), ("1.1.1.1", 443)]


@pytest.mark.parametrize("bad", ["10.0.0.1", "::1", "fe80::1%eth0", "junk"])
def test_addresses_with_one_that_is_not_public_are_all_refused(bad: str) -> None:
    for addresses in ([bad], ["8.8.8.8", bad], [bad, "8.8.8.8"]):
        with pytest.raises(AddressPrivate, match="not a public address"):
            guard(*addresses).addresses("cdn.example", 443)
    assert guard(bad, allow_private_addresses=True).addresses("cdn.example", 443)


def test_addresses_with_a_scope_are_refused() -> None:
    scoped = guard(resolve=lambda host, port: [("2606:4700::1", port, 0, 3)])
    with pytest.raises(AddressForbidden):
        scoped.addresses("cdn.example", 443)
    plain = guard(resolve=lambda host, port: [("2606:4700::1", port, 0, 0)])
    assert plain.addresses("cdn.example", 443)


@pytest.mark.parametrize("error", [OSError(-3, "Temporary failure"), UnicodeError("label too long")])
def test_addresses_of_a_name_that_cannot_be_resolved_are_a_passing_failure(error: Exception) -> None:
    def resolve(host: str, port: int) -> list[SockAddr]:
        raise error

    with pytest.raises(OriginBusy, match="cannot resolve"):
        guard(resolve=resolve).addresses("cdn.example", 443)


def test_system_resolve_gives_socket_addresses() -> None:
    assert ("127.0.0.1", 80) in system_resolve("127.0.0.1", 80)
    assert ("::1", 80, 0, 0) in system_resolve("::1", 80)


def test_hosts_that_are_allowed_later_are_the_only_ones_from_then_on() -> None:
    guard = Guard(Reach(), resolve=lambda _host, _port: [])
    guard.admit(Url.of("https://anywhere.example/a.mp3"))
    guard.allow(["*.Example.com"])
    guard.admit(Url.of("https://cdn.example.com/a.mp3"))
    with pytest.raises(AddressForbidden, match="allowed_hosts"):
        guard.admit(Url.of("https://anywhere.example/a.mp3"))
    guard.allow([])
    guard.admit(Url.of("https://anywhere.example/a.mp3"))
