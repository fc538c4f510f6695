"""Keys, credentials and certificates that change while the service is at work."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from archiver.app.adapters import Adapters
from archiver.settings import Settings

Renewals = Mapping[str, Callable[[], None]]
"""By what they read anew: each raises OSError or ArchiverError, and leaves all as it was then."""

Stamp = tuple[int, int, int]


def renewals(adapters: Adapters) -> Renewals:
    """Return what reads, beside the settings, what the environment and other programs' files say of trust."""
    return {
        "certificates of the provider": adapters.accounts.renew_trust,
        "certificates of the CDN": adapters.downloader.renew_trust,
        "credentials and certificates of the store": adapters.store.renew,
    }


def rotating(settings: Settings, environ: Mapping[str, str]) -> Sequence[Path]:
    """Return the files whose change is heeded without a signal, whether they are there yet or not."""
    keys = (settings.provider.api_key_file, *(account.api_key_file for account in settings.provider.accounts))
    return [*(path for path in keys if path is not None), *_of_aws(environ), *_of_trust(environ)]


def _of_aws(environ: Mapping[str, str]) -> Iterator[Path]:
    for name, place in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")):
        yield Path(environ.get(name) or f"~/.aws/{place}")


def _of_trust(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if given := environ.get(name):
            yield Path(given)
    if system := ssl.get_default_verify_paths().cafile:
        yield Path(system)


class FileWatch:
    """Calls `changed` when one of the files is another than at the last look; a file that comes or goes is, too."""

    def __init__(self, files: Sequence[Path], changed: Callable[[], None]) -> None:
        self._files = files
        self._changed = changed
        self._seen = self._stamps()

    def __call__(self) -> None:
        """Look at each file."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            self._changed()

    def _stamps(self) -> Sequence[Stamp | None]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path.expanduser())  # noqa: PTH116 - follows links, as Kubernetes changes them
    except (OSError, RuntimeError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
