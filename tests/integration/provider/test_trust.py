"""Whom the provider's client believes, and how that changes while it is at work."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from archiver.adapters.provider.accounts import KieAccounts
from archiver.core.errors import ApiBusy
from archiver.core.model import DEFAULT_ACCOUNT, Phase
from tests.fakes.scripted import HttpServer, reply
from tests.fakes.tls import identity
from tests.fixtures.record_api import PENDING, TASK
from tests.house import kie_api


def test_certificate_that_is_trusted_anew_is_believed_without_a_new_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    ours = identity(tmp_path / "ours", ["127.0.0.1"])
    identity(tmp_path / "others", ["127.0.0.1"])
    trusted = tmp_path / "trusted.pem"
    shutil.copy(tmp_path / "others" / "127.0.0.1.pem", trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with HttpServer(answer=lambda _: reply(PENDING), tls=ours.server) as provider:
        api = kie_api(provider.url)
        with pytest.raises(ApiBusy, match="certificate"):
            api.fetch(TASK)
        shutil.copy(tmp_path / "ours" / "127.0.0.1.pem", trusted)
        KieAccounts({DEFAULT_ACCOUNT: api}).renew_trust()
        assert api.fetch(TASK).phase is Phase.PENDING
        trusted.write_text("no certificate")
        with pytest.raises(ssl.SSLError):
            api.renew_trust()
        assert api.fetch(TASK).phase is Phase.PENDING, "all is as it was"
        api.close()
