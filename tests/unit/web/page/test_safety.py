"""Nobody but who was let in is shown anything, and nothing but a form of our own page changes anything."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import pytest

from archiver.web.page.addresses import Authority, Hosts, authority
from archiver.web.page.rendering import Pages
from archiver.web.page.safety import Door, Guarded, headers
from archiver.web.page.sessions import COOKIE, LASTS, Sessions
from tests.fakes.asgi import Asked, Message, Said, asked_in_turn
from tests.fakes.time import Clock

PORT = 9466
OWN = ("127.0.0.1:9466", "localhost:9466", "[::1]:9466", "archive.example.com", "archive.example.com:8443")
DATA = b"all about the archive"


@dataclass
class Archive:
    """Stands for every view: answers with data, and counts what it would have changed."""

    changes: int = 0
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Message, receive: object, send: object) -> None:
        if scope["method"] == "POST":
            self.changes += 1
            message = await receive()  # type: ignore[operator]  # of ASGI
            self.bodies.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": DATA})  # type: ignore[operator]


@dataclass
class Scene:
    """A page that one browser was let into."""

    archive: Archive
    door: Door
    guarded: Guarded
    cookie: str
    form_token: str

    def form(self, **fields: str) -> bytes:
        return urlencode({"form_token": self.form_token, **fields}).encode()

    def change(self, host: str = OWN[0], **fields: str) -> Asked:
        """The request by which the browser's own form changes something."""
        scheme = "https" if host.startswith("archive") else "http"
        its = {
            "host": host,
            "origin": f"{scheme}://{host}",
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
            "cookie": f"{COOKIE}={self.cookie}",
        }
        return Asked("POST", "/retry", its | fields, self.form(ids="x"))

    def look(self, host: str = OWN[0], **fields: str) -> Asked:
        return Asked("GET", "/", {"host": host, "cookie": f"{COOKIE}={self.cookie}"} | fields)

    def said(self, asked: Asked) -> Said:
        [said] = asked_in_turn(self.guarded, [asked])
        return said


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scene(clock: Clock) -> Scene:
    sessions = Sessions(clock, "a-token-from-a-file")
    pages = Pages([], {"place": "my-stems", "operates": True})
    door = Door(Hosts(["archive.example.com"], PORT), sessions, pages)
    cookie = sessions.enter(sessions.link_token())
    assert cookie is not None
    token = sessions.form_token(cookie)
    assert token is not None
    archive = Archive()
    return Scene(archive, door, Guarded(archive, door), cookie, token)


# --- names


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("127.0.0.1:9466", Authority("127.0.0.1", 9466)),
        ("LOCALHOST", Authority("localhost", None)),
        ("[0:0::1]:1", Authority("::1", 1)),
        ("", None),
        ("127.0.0.1:", None),
        ("127.0.0.1:99999", None),
        ("a@127.0.0.1:9466", None),
        ("127.0.0.1:9466@evil.com", None),
        ("127.0.0.1:9466.evil.com", None),
        ("localhost.:9466", None),
        ("[::1", None),
        ("[::1%lo]:9466", None),
        ("127.0.0.1:٩٤٦٦", None),
        ("localhost:9466\n", None),
    ],
)
def test_authority_is_read_whole_or_not_at_all(text: str, means: Authority | None) -> None:
    assert authority(text) == means


@pytest.mark.parametrize("host", OWN)
def test_own_name_is_answered(scene: Scene, host: str) -> None:
    assert scene.said(scene.look(host)).body == DATA
    assert scene.said(scene.change(host)).body == DATA
    assert scene.archive.changes == 1


@pytest.mark.parametrize(
    "host",
    [
        "", "127.0.0.1", "localhost:80", "127.0.0.1:9467", "127.0.0.1.evil.com:9466", "evil.com", "evil.com:9466",
        "localhost.evil.com", "127.0.0.2:9466", "0.0.0.0:9466", "[::]:9466", "archive.example.com.evil.com",
        "evil-archive.example.com", "xarchive.example.com", "127.0.0.1:9466/", "127.1:9466", "2130706433:9466",
    ],
)  # fmt: skip
def test_foreign_name_gets_no_byte_of_data_and_changes_nothing(scene: Scene, host: str) -> None:
    for asked in (scene.look(host), scene.change(host)):
        said = scene.said(asked)
        assert (said.status, said.body) == (421, b"Misdirected Request\n")
    assert scene.archive.changes == 0


# --- who


def test_browser_that_was_not_let_in_sees_the_way_in_alone(scene: Scene) -> None:
    for path in ("/", "/tasks", "/enter/x", "//", "/static"):
        said = scene.said(Asked("GET", path, {"host": OWN[0]}))
        assert said.status == 403
        assert "This page is closed" in said.text
        assert "my-stems" not in said.text
    assert scene.said(Asked("GET", "/static/page.css", {"host": OWN[0]})).body == DATA  # goes on to the files


def entered(scene: Scene, token: str) -> Said:
    asked = replace(scene.change(), path="/enter", body=urlencode({"token": token}).encode())
    return scene.said(replace(asked, fields={name: value for name, value in asked.fields.items() if name != "cookie"}))


def test_link_lets_one_browser_in_once_by_a_cookie_that_is_kept_from_scripts_and_other_sites(scene: Scene) -> None:
    token = scene.door.sessions.link_token()
    said = entered(scene, token)
    assert (said.status, said.fields["location"]) == (303, "/")
    value, *marks = said.fields["set-cookie"].split("; ")
    assert value.startswith("__Host-")
    assert {mark.lower() for mark in marks} == {"httponly", "secure", "samesite=strict", "path=/", "max-age=43200"}
    its = {"cookie": value}
    assert scene.said(scene.look(**its)).body == DATA
    again = entered(scene, token)
    assert again.status == 403
    assert "set-cookie" not in again.fields


def test_token_of_a_file_lets_browsers_in_again_and_again_and_no_other_token_does(scene: Scene) -> None:
    assert [entered(scene, "a-token-from-a-file").status for _ in range(2)] == [303, 303]
    assert [entered(scene, wrong).status for wrong in ("", "a-token-from-a-fil", "a-token-from-a-file2")] == [403] * 3


def test_cookie_ends_after_12_hours_and_when_the_clock_was_set_back(scene: Scene, clock: Clock) -> None:
    clock.forward(seconds=LASTS.total_seconds() - 1)
    assert scene.said(scene.look()).status == 200
    clock.forward(seconds=1)
    assert scene.said(scene.look()).status == 403
    sessions = Sessions(clock)
    cookie = sessions.enter(sessions.link_token())
    assert cookie is not None
    clock.forward(hours=-1)
    assert sessions.form_token(cookie) is None


def test_many_browsers_push_out_the_oldest(scene: Scene) -> None:
    for _ in range(64):
        scene.door.sessions.enter("a-token-from-a-file")
    assert scene.said(scene.look()).status == 403


# --- changes


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": ""}, {"origin": "null"}, {"origin": "http://evil.com"}, {"origin": "http://localhost:9466"},
        {"origin": "https://127.0.0.1:9466.evil.com"}, {"origin": "http://127.0.0.1:9467"}, {"origin": "http://127.0.0.1"},
        {"sec-fetch-site": ""}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"}, {"content-type": "application/json"}, {"content-type": "text/plain"},
        {"content-type": "multipart/form-data"}, {"cookie": ""}, {"cookie": f"{COOKIE}=x"},
        {"cookie": "stem-archive=x"},
    ],
)  # fmt: skip
def test_change_that_comes_from_elsewhere_is_refused(scene: Scene, wrong: dict[str, str]) -> None:
    assert scene.said(scene.change(**wrong)).status == 403
    assert scene.archive.changes == 0


def test_change_by_plain_http_under_a_further_name_is_refused(scene: Scene) -> None:
    asked = scene.change("archive.example.com", origin="http://archive.example.com")
    assert scene.said(asked).status == 403


@pytest.mark.parametrize("body", [b"", b"form_token=", b"form_token=x", b"\xff", b"form_token=%ff%fe", b"ids=x"])
def test_form_without_the_browsers_own_token_changes_nothing(scene: Scene, body: bytes) -> None:
    assert scene.said(replace(scene.change(), body=body)).status == 403
    assert scene.archive.changes == 0


def test_form_reaches_the_view_whole(scene: Scene) -> None:
    scene.said(scene.change())
    assert scene.archive.bodies == [scene.form(ids="x")]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"])
def test_other_method_is_not_allowed(scene: Scene, method: str) -> None:
    assert scene.said(replace(scene.change(), method=method)).status == 405
    assert scene.archive.changes == 0


def test_every_answer_has_the_fields_that_keep_other_sites_out(scene: Scene) -> None:
    for asked in (
        scene.look(),
        scene.look("evil.com"),
        scene.change(origin="null"),
        Asked("GET", "/enter", {"host": OWN[0]}),
    ):
        fields = scene.said(asked).fields
        assert fields["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "require-trusted-types-for 'script'" in fields["content-security-policy"]
        assert "unsafe" not in fields["content-security-policy"]
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["cross-origin-opener-policy"] == fields["cross-origin-resource-policy"] == "same-origin"
        assert fields["referrer-policy"] == "same-origin"
        assert "camera=()" in fields["permissions-policy"]
        assert fields["cache-control"] == "no-store"


# --- all at once, at random

_PIECES = (
    "127.0.0.1", "localhost", "[::1]", "archive.example.com", "evil.com", ":9466", ":80", ":443", ".", ":", "@", "/",
    "#", "?", "%", " ", "\t", "\\", "0", "x", "[", "]", "http://", "https://", "null", "é",
    "\N{FULLWIDTH FULL STOP}", ",",
)  # fmt: skip


def at_random(dice: random.Random, own: str) -> str:
    """An own name, one that was changed a little, or anything."""
    match dice.randrange(4):
        case 0:
            return own
        case 1:
            at = dice.randrange(len(own) + 1)
            return own[:at] + dice.choice(_PIECES) + own[at + dice.randrange(2) :]
        case _:
            return "".join(dice.choice(_PIECES) for _ in range(dice.randrange(1, 5)))


def is_of_us(host: str) -> bool:
    """By another way than the product: every own name is written out, but for further names' ports."""
    name, colon, port = host.lower().rpartition(":")
    bare = name if colon else host.lower()
    if bare == "archive.example.com":
        return not colon or (port.isascii() and port.isdigit() and str(int(port)) == port and int(port) <= 65535)
    return host.lower() in {"127.0.0.1:9466", "localhost:9466", "[::1]:9466"}


def test_10_000_hosts_origins_and_methods_at_random_change_nothing_and_show_foreigners_nothing(scene: Scene) -> None:
    dice = random.Random(17)
    requests = []
    for _ in range(10_000):
        host = at_random(dice, dice.choice(OWN))
        scheme = "https://" if host.lower().startswith("archive") else "http://"
        origin = dice.choice((f"{scheme}{host}", at_random(dice, f"{scheme}{dice.choice(OWN)}"), "null", ""))
        site = dice.choice(("same-origin", "same-origin", "same-origin", "same-site", "cross-site", "none", ""))
        asked = scene.change(host, origin=origin, **{"sec-fetch-site": site})
        method = dice.choice(("GET", "HEAD", "POST", "POST", "POST", "PUT", "DELETE", "post", "OPTIONS"))
        body = dice.choice((asked.body, asked.body, b"", b"form_token=0"))
        requests.append(replace(asked, method=method, body=body))
    meant = 0
    for asked, said in zip(requests, asked_in_turn(scene.guarded, requests), strict=True):
        if not is_of_us(asked.fields["host"]):
            assert (said.status, said.body) == (421, b"Misdirected Request\n"), asked
        meant += is_meant(scene, asked)
    assert 20 < meant == scene.archive.changes


def is_meant(scene: Scene, asked: Asked) -> bool:
    host, origin = asked.fields["host"].lower(), asked.fields["origin"].lower()
    origins = {f"https://{host}"} | ({f"http://{host}"} if host in OWN[:3] else set())
    is_ours = asked.fields["sec-fetch-site"] == "same-origin" and asked.body == scene.form(ids="x")
    same = origin.removesuffix(":443") in {each.removesuffix(":443") for each in origins}
    return asked.method == "POST" and is_of_us(host) and is_ours and same


def test_policy_of_every_answer_lets_nothing_in_and_no_page_around_it() -> None:
    assert headers(["https://s3.example"])["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self' https://s3.example",
        "media-src 'self' blob: https://s3.example",
        "worker-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ]


@pytest.mark.parametrize(("fields", "changes"), [(200_000, 1), (200_001, 0)])
def test_form_of_too_many_fields_changes_nothing(scene: Scene, fields: int, changes: int) -> None:
    asked = scene.change()
    body = asked.body + b"&a=" * (fields - asked.body.count(b"&") - 1)
    scene.said(replace(asked, body=body))
    assert scene.archive.changes == changes


def test_lasting_token_that_is_changed_lets_in_alone_and_sends_all_to_the_door_again(clock: Clock) -> None:
    sessions = Sessions(clock, "a-token-from-a-file")
    cookie = sessions.enter("a-token-from-a-file")
    assert cookie is not None
    sessions.rely_on("a-token-from-a-file")
    assert sessions.form_token(cookie) is not None, "nothing has changed"
    sessions.rely_on("a-token-that-came-later")
    assert sessions.form_token(cookie) is None
    assert sessions.enter("a-token-from-a-file") is None
    assert sessions.enter("a-token-that-came-later") is not None
