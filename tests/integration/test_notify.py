"""Heartbeats and messages over real sockets, by the libraries that production uses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from archiver.adapters.notify.heartbeat import Ping
from archiver.adapters.notify.messenger import Messenger
from archiver.app.adapters import alerts_of, open_messenger
from archiver.core.errors import SettingsFault
from archiver.settings import Settings
from tests.fakes.scripted import Reply
from tests.fakes.serving import port_of
from tests.fakes.web_hook import WebHook

# One of apprise's many services still asks for a module that Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with WebHook() as hook:
        yield hook


def test_ping_fetches_its_url_with_its_query(hook: WebHook) -> None:
    assert Ping(f"http://{hook.host}/ping/planted?status=up", user_agent="us/1")() == ""
    assert hook.seen == [("GET", "/ping/planted?status=up", "")]


def test_ping_that_is_refused_or_reaches_nobody_says_why_without_the_url(hook: WebHook) -> None:
    hook.says(Reply(status=404))
    assert Ping(f"http://{hook.host}/planted", user_agent="us/1")() == "HTTP 404"
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = port_of(server)
        assert Ping(f"http://127.0.0.1:{port}/planted", user_agent="us/1", timeout=0.2)() == "ReadTimeout"
    assert Ping(f"http://127.0.0.1:{port}/planted", user_agent="us/1")() == "ConnectError"


def test_message_reaches_every_service_and_one_that_refuses_it_is_reported(hook: WebHook) -> None:
    messenger = Messenger([f"json://{hook.host}/first", f"json://{hook.host}/second"])
    assert messenger("stem-archiver", "audio is lost; <b>50%</b>")
    assert sorted(path for _, path, _ in hook.seen) == ["/first", "/second"]
    assert all("audio is lost; <b>50%</b>" in body for _, _, body in hook.seen)
    hook.says(Reply(status=500))
    assert not messenger("stem-archiver", "again")


def test_url_of_no_service_is_refused_by_its_place_alone() -> None:
    with pytest.raises(ValueError, match=r"^number 2 of them is no URL that apprise knows$") as caught:
        Messenger(["json://localhost/", "planted-nonsense://secret"])
    assert "planted" not in repr(caught.value)


def test_settings_with_such_a_url_are_a_fault_that_does_not_repeat_it() -> None:
    settings = Settings.model_validate({"notify": {"urls": ["planted-nonsense://secret"]}})
    with pytest.raises(SettingsFault, match=r"^notify\.urls: number 1 of them is no URL") as caught:
        open_messenger(settings)
    assert "planted" not in repr(caught.value)
    assert alerts_of(Settings()) is None
