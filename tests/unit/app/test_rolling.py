"""The service's own reading of the archive, as its settings change while it is at work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from archiver.app.machine import THIS_MACHINE
from archiver.app.rolling import RollingJob
from archiver.app.terms import CheckTerms
from archiver.settings import Settings
from archiver.settings.model import Download, Store, Verify

DAY = timedelta(days=1)


class Reading:
    """Stands for RollingRead."""

    def __init__(self, within: timedelta) -> None:
        self.spans = [within]
        self.calls = 0

    def change(self, within: timedelta) -> None:
        self.spans.append(within)

    def __call__(self) -> None:
        self.calls += 1


def test_reading_begins_goes_by_another_span_and_ends_as_it_is_set() -> None:
    begun: list[Reading] = []
    off: list[bool] = []
    within = [timedelta()]

    def begin(span: timedelta) -> Any:  # noqa: ANN401 - it stands for a RollingRead
        begun.append(Reading(span))
        return begun[-1]

    job = RollingJob(lambda: within[0], begin, lambda: off.append(True))
    for each in (timedelta(), DAY, 2 * DAY, timedelta(), DAY):
        within[0] = each
        job()
    assert len(off) == 2
    assert [(each.spans, each.calls) for each in begun] == [([DAY, DAY, 2 * DAY], 2), ([DAY, DAY], 1)]


def test_terms_take_what_is_new_of_the_checks_and_nothing_else() -> None:
    terms = CheckTerms.of(Settings(), THIS_MACHINE)
    limited = [terms.own.on]
    new = Settings.model_validate(
        {
            "verify": {"within": "90d", "bandwidth": "1MiB", "list_every": "off"},
            "download": {"bandwidth": "2MiB", "concurrency": 3},
            "store": {"prefix": "new/"},
        }
    )
    terms.change(new)
    assert terms.settings.verify == new.verify
    assert terms.settings.download == Download(bandwidth=new.download.bandwidth)
    assert terms.settings.store == Store()
    limited.append(terms.own.on)
    terms.change(Settings(verify=Verify()))
    assert [*limited, terms.own.on] == [False, True, False]
    assert terms.settings == Settings()
