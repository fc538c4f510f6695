"""Several accounts at the provider: each its own key, rate and name in the log."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from archiver.adapters.provider.accounts import KieAccounts
from archiver.adapters.provider.client import KieApi
from archiver.core.errors import AccountUnknown, ApiBusy, KeyRefused
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Phase, TaskId
from archiver.demo.audio import EmulatedStem
from archiver.demo.emulator import API_KEY, Emulator
from archiver.demo.records import EmulatedTask
from tests.house import kie_api

SECOND, THIRD = AccountName("second"), AccountName("third")
KEYS = {DEFAULT_ACCOUNT: API_KEY, SECOND: "key-of-the-second", THIRD: "key-of-nobody"}
TASK = TaskId("task-0001")
THEIRS = EmulatedTask(task_id=TASK, api_key=KEYS[SECOND], stems={"vocal": EmulatedStem(1000, "a")})


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(further_keys=[KEYS[SECOND]]) as emulator:
        emulator.add(THEIRS)
        yield emulator


Make = Callable[..., KieAccounts]


@pytest.fixture
def make(emulator: Emulator) -> Iterator[Make]:
    made: list[KieAccounts] = []

    def make(*names: AccountName, limit: int = 100) -> KieAccounts:
        def client(account: AccountName) -> KieApi:
            return kie_api(
                emulator.base_url,
                api_key=KEYS[account],
                limit=limit,
                window=3600,
                jitter=random.random,
                clock=time.monotonic,
                wait=threading.Condition.wait,
                account=account,
            )

        made.append(KieAccounts({account: client(account) for account in (DEFAULT_ACCOUNT, *names)}))
        return made[-1]

    yield make
    for accounts in made:
        accounts.close()


def test_account_asks_with_its_own_key(make: Make) -> None:
    accounts = make(SECOND, THIRD)
    assert accounts.of(SECOND).fetch(TASK).phase is Phase.DONE
    assert accounts.of(DEFAULT_ACCOUNT).fetch(TASK).phase is Phase.ABSENT, "another account's task"
    with pytest.raises(KeyRefused):
        accounts.of(THIRD).fetch(TASK)


def test_account_that_nobody_set_is_told_with_those_there_are(make: Make) -> None:
    with pytest.raises(AccountUnknown, match=r"no account third \(they have: default, second\)"):
        make(SECOND).of(THIRD)


def test_account_that_has_spent_its_rate_leaves_the_others_theirs(make: Make) -> None:
    accounts = make(SECOND, limit=1)
    assert accounts.budget() == 2
    accounts.of(SECOND).fetch(TASK)
    assert accounts.budget() == 1
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(accounts.of(SECOND).fetch, TASK)
        while not accounts.crowded():
            time.sleep(0.01)
        assert accounts.crowded() == {SECOND}
        accounts.of(DEFAULT_ACCOUNT).fetch(TASK)
        accounts.set_rates({SECOND: 2, THIRD: 9})
        assert waits.result(20).phase is Phase.DONE
    assert not accounts.crowded()


def test_single_account_is_never_crowded(make: Make) -> None:
    accounts = make(limit=1)
    accounts.of(DEFAULT_ACCOUNT).fetch(TASK)
    waiting = threading.Thread(target=_refused, args=(accounts.of(DEFAULT_ACCOUNT),))
    with closing(accounts):
        waiting.start()
        while not accounts.of(DEFAULT_ACCOUNT).is_waited_for():
            time.sleep(0.01)
        assert not accounts.crowded()
    waiting.join(20)
    assert not waiting.is_alive()


def _refused(api: KieApi) -> None:
    with pytest.raises(ApiBusy):
        api.fetch(TASK)
