"""Bad neighbours: kinds of tasks, hosts, accounts and answers that honest tasks must not feel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from operator import ne

from archiver.core.attention import ENDS
from archiver.core.errors import (
    AccessRefused,
    AddressForbidden,
    AgentBlocked,
    ApiBusy,
    ApiThrottled,
    ArchiverError,
    BodyChanged,
    BodyEmpty,
    BodyLong,
    BodyNotAudio,
    BodyShort,
    BodySlow,
    BodyTooLarge,
    KeyRefused,
    LeaseLost,
    LinkSpent,
    NoCredit,
    OriginBusy,
    OriginFaulty,
    StoreBusy,
    StoreFull,
)
from archiver.core.intake import Intake
from archiver.core.model import AccountName, Phase, RecordInfo, Stage, TaskId
from archiver.core.reports import Overview
from archiver.core.states import StemState
from tests.fakes.downloader import Audio, Scripted
from tests.fakes.time import NOW
from tests.fixtures.ledgers import LEASE, accept
from tests.worlds.path import CDN, PREFIX
from tests.worlds.simulated import SimulatedPath

SECOND_ACCOUNT = AccountName("second")
DAY = timedelta(days=1)
BAD = "bad.example"
HUGE = 1 << 20
SLOW = 45
"""Seconds from which on a transfer is seen to be slow, beside such as take a second."""


MovesIn = Callable[[SimulatedPath, Sequence[str]], None]
"""Gives these ids their trouble, before any honest id comes."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A kind of bad neighbour."""

    name: str
    moves_in: MovesIn
    shown: str
    """Where `status` shows it at the end, or a metric did."""
    leaps: timedelta = timedelta()
    """How long it takes until that."""
    paused: tuple[str, ...] = ()
    """The subjects that it may have paused."""
    many: int = 1
    """Its tasks, for each that there would be."""


# ---------------------------------------------------------------- what goes wrong


def fails(path: SimulatedPath, begins: str, error: BaseException, seconds: float = 0) -> None:
    """Let calls that begin so fail, after a while."""

    def happens(call: str) -> None:
        del call
        path.time.sleep(seconds)
        raise error

    path.on.append((begins, happens))


def takes(path: SimulatedPath, begins: str, seconds: float) -> None:
    path.on.append((begins, lambda _: path.hangs(seconds)))


def live(path: SimulatedPath, ids: Sequence[str], host: str, *answers: Scripted, age: timedelta = 9 * DAY) -> None:
    """Let the ids be listed, each with a stem on the host; their deadlines are nearer than all others."""
    for name in ids:
        given = answers or (Audio(name.encode() * 50, comes=path.flows()),)
        path.lives(name, host, *given, deadline=NOW + 10 * DAY - age)


def on_host(error: ArchiverError, seconds: float = 0, host: str = BAD) -> MovesIn:
    """A host whose every connection fails."""

    def moves_in(path: SimulatedPath, ids: Sequence[str]) -> None:
        live(path, ids, host)
        fails(path, f"open https://{host}/bad-", error, seconds)

    return moves_in


def answering(answer: Scripted, host: str = CDN, age: timedelta = 9 * DAY) -> MovesIn:
    """Links of the good host that are answered so."""

    def moves_in(path: SimulatedPath, ids: Sequence[str]) -> None:
        live(path, ids, host, answer, age=age)

    return moves_in


def flowing(seconds: float, size: int = 100, then: ArchiverError | None = None) -> MovesIn:
    """A host whose bodies come so slowly, a piece of 64 KiB at a time."""

    def moves_in(path: SimulatedPath, ids: Sequence[str]) -> None:
        for name in ids:
            body = name.encode() * (HUGE // 10 if then else 50)
            live(path, [name], BAD, Audio(body, comes=path.flows(seconds / 100), blocks=100, then=then))

    return moves_in


def told(*answers: RecordInfo | ArchiverError) -> MovesIn:
    """Ids about which the provider says so."""

    def moves_in(path: SimulatedPath, ids: Sequence[str]) -> None:
        for name in ids:
            path.api.knows(TaskId(name), *answers)
        path.accept(*ids)

    return moves_in


def at_keys(error: ArchiverError, seconds: float = 0) -> MovesIn:
    """Keys that the store answers so."""

    def moves_in(path: SimulatedPath, ids: Sequence[str]) -> None:
        live(path, ids, CDN)
        for method in ("put", "put_document"):
            fails(path, f"{method} {PREFIX}bad-", error, seconds)

    return moves_in


def one(moves_in: MovesIn) -> MovesIn:
    return lambda path, ids: moves_in(path, ids[:1])


def taken_keys(path: SimulatedPath, ids: Sequence[str]) -> None:
    live(path, ids, CDN)
    path.store.objects |= {f"{PREFIX}{name}/vocal.mp3": b"somebody else's" for name in ids}


def slow_keys(path: SimulatedPath, ids: Sequence[str]) -> None:
    live(path, ids, CDN)
    takes(path, f"put {PREFIX}bad-", 120)


def slow_documents(path: SimulatedPath, ids: Sequence[str]) -> None:
    live(path, ids, CDN)
    takes(path, f"put_document {PREFIX}bad-", 120)


def unknown(path: SimulatedPath, ids: Sequence[str]) -> None:
    path.accept(*ids)


def clock_jumps(path: SimulatedPath, ids: Sequence[str]) -> None:
    """Every answer about its ids sets the clock by a day, forward and back in turn."""
    told(RecordInfo(Phase.PENDING, flag="PENDING"))(path, ids)

    def happens(call: str) -> None:
        del call
        path.time.jumped = DAY - path.time.jumped

    path.on.append(("fetch bad-", happens))


def rotten_account(path: SimulatedPath, ids: Sequence[str]) -> None:
    accept(
        path.ledger,
        Intake(ids=tuple(map(TaskId, ids)), accounts=dict.fromkeys(map(TaskId, ids), SECOND_ACCOUNT)),
        now=path.clock(),
    )
    path.api.unknown.add(SECOND_ACCOUNT)


def sixteen_stems(path: SimulatedPath, ids: Sequence[str]) -> None:
    """One task of 16 huge stems that come slowly."""
    body = bytes(HUGE)
    sources = [
        path.serves(f"bad-{n}", Audio(body + bytes([n]), comes=path.flows(3), blocks=20), stem=f"stem{n}", host=BAD)
        for n in range(16)
    ]
    path.lists(*sources, task=ids[0], created=NOW - 9 * DAY)
    path.accept(ids[0])


def many_stems(path: SimulatedPath, ids: Sequence[str]) -> None:
    """Five tasks of sixty stems on a host that is away."""
    for name in ids[:5]:
        sources = [path.serves(f"{name}-{n}", stem=f"stem{n}", host=BAD) for n in range(60)]
        path.lists(*sources, task=name, created=NOW - 9 * DAY)
    path.accept(*ids[:5])
    fails(path, f"open https://{BAD}/bad-", OriginBusy("timeout"), 4)


def poison(path: SimulatedPath, ids: Sequence[str]) -> None:
    """A task at which two processes died, and a third would: it is lost to it as it asks."""
    path.accept(ids[0])
    for owner in ("dead-1", "dead-2"):
        assert path.ledger.claims.claim(owner=owner, now=path.clock(), lease=LEASE, stage=Stage.LIST) is not None
        path.ledger.claims.release_dead(partial(ne, owner), now=path.clock())
    fails(path, "fetch bad-", LeaseLost("taken for dead"), 1)


AT_BAD = f"origin (host {BAD})"
PENDING = RecordInfo(Phase.PENDING, flag="PENDING")
FOR_EVER = 10.0**12
KINDS: tuple[Neighbour, ...] = (
    # the store
    Neighbour("the store refuses one key (403)", one(at_keys(AccessRefused("403"))), "refused", DAY),
    Neighbour("the store has no room for some keys (507)", at_keys(StoreFull("507")), "refused", DAY),
    Neighbour("another object stands under the key", taken_keys, "refused"),
    Neighbour("the store answers 413 about some keys", at_keys(StoreBusy("413")), "at risk", paused=("store",)),
    Neighbour("the store answers 500 about one key", one(at_keys(StoreBusy("500"))), "at risk", paused=("store",)),
    Neighbour("the store takes two minutes for some keys", slow_keys, "slow"),
    Neighbour("the store takes two minutes for some documents", slow_documents, "slow"),
    # the provider
    Neighbour("one id is answered 403", one(told(KeyRefused("code 403"))), "failed", 2 * DAY),
    Neighbour("one id is answered 500", one(told(ApiBusy("code 500"))), "failed", 2 * DAY),
    Neighbour("many ids are answered 500", told(ApiBusy("code 500")), "failed", 2 * DAY),
    Neighbour("the API's firewall bans some ids (1010)", told(AgentBlocked("error code: 1010")), "failed", 2 * DAY),
    Neighbour("ids are answered with garbage", told(ApiBusy("the answer is not JSON")), "failed", 2 * DAY),
    Neighbour("ids are answered 402", told(NoCredit("code 402")), "failed", 2 * DAY),
    Neighbour("ids are to wait for ever", told(ApiThrottled("429", retry_after=FOR_EVER)), "failed", 2 * DAY),
    Neighbour("a flood of ids that are never ready", told(PENDING), "put off", many=6),
    Neighbour("a flood of unknown ids", unknown, "missing", 2 * DAY, many=6),
    Neighbour("the second account is rotten", rotten_account, "paused", paused=("provider (account second)",)),
    # the CDN
    Neighbour("a host refuses connections", on_host(OriginBusy("refused"), 0.01), "paused", paused=(AT_BAD,)),
    Neighbour("a host times out", on_host(OriginBusy("timeout"), 10), "paused", paused=(AT_BAD,)),
    Neighbour("a host's name does not exist", on_host(OriginBusy("no such name"), 2), "paused", paused=(AT_BAD,)),
    Neighbour(
        "a host redirects in circles", on_host(OriginFaulty("more than 5 redirects"), 1), "paused", paused=(AT_BAD,)
    ),
    Neighbour("a host crawls", flowing(300), "at risk", paused=(AT_BAD,)),
    Neighbour(
        "a host is slower than the minimum",
        flowing(60, then=BodySlow("slow")),
        "at risk",
        paused=(AT_BAD,),
    ),
    Neighbour(
        "a host says wait for ever",
        on_host(OriginBusy("429", retry_after=FOR_EVER), 0.1),
        "paused",
        paused=(AT_BAD,),
    ),
    Neighbour("one task of 16 huge stems", sixteen_stems, "slow"),
    # some links of the good host
    Neighbour("links are spent (403)", answering(LinkSpent(status=403)), "at risk"),
    Neighbour(
        "links are spent (410), the deadline is past", answering(LinkSpent(status=410), age=25 * DAY), "lost", DAY
    ),
    Neighbour("links lead to a page of HTML", answering(BodyNotAudio("HTML")), "refused", DAY),
    Neighbour("links lead to nothing", answering(BodyEmpty()), "refused", DAY),
    Neighbour("links lead inside", answering(AddressForbidden("10.0.0.1")), "refused"),
    Neighbour("stems are too large", answering(BodyTooLarge("3 GiB")), "refused"),
    Neighbour("heads are too large", answering(OriginFaulty("a head of more than 64 KiB")), "at risk"),
    Neighbour("bodies end early", answering(BodyShort("cut")), "at risk"),
    Neighbour("bodies are too long", answering(BodyLong("more")), "at risk"),
    Neighbour("bodies change on the way", answering(BodyChanged("another ETag")), "at risk"),
    Neighbour("links of the good host time out", on_host(OriginBusy("timeout"), 10, host=CDN), "at risk", many=3),
    Neighbour("a few tasks of many stems on a dead host", many_stems, "paused", paused=(AT_BAD,)),
    # ourselves
    Neighbour("a bug ends each attempt", on_host(ZeroDivisionError("a bug")), "at risk"),  # type: ignore[arg-type]
    Neighbour("two processes died at one task", poison, "quarantined"),
    Neighbour("the clock jumps by a day, there and back", clock_jumps, "clock"),
)


def seen(overview: Overview, oldest: float, clock_off: float) -> Iterator[tuple[str, str]]:
    """Yield what `status`, or a metric, shows that is no honest task, by its place.

    `oldest` is the age of the oldest transfer that there was, `clock_off` how far off the clock was at most: seconds.
    """
    if oldest >= SLOW:
        yield "slow", f"a transfer of {oldest:.0f} s"
    if clock_off >= SLOW:
        yield "clock", f"a clock that is off by {clock_off:.0f} s"
    if overview.put_off:
        first = overview.put_off[0]
        yield "put off", f"{sum(each.tasks for each in overview.put_off)} put off: {first.reason}"
    if overview.quarantined_count:
        yield "quarantined", f"{overview.quarantined_count} quarantined"
    yield from (
        (state.value, f"{overview.tasks[state]} {state.value}") for state in ENDS.values() if overview.tasks[state]
    )
    for stem in (StemState.REFUSED, StemState.LOST):
        if count := overview.stems.get(stem, 0):
            yield stem.value, f"{count} stems {stem.value}"
    if overview.at_risk_count:
        yield "at risk", f"{overview.at_risk_count} at risk"
    for pause in overview.pauses:
        yield "paused", f"{pause.subject}: {pause.reason}"
