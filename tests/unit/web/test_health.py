from archiver.core.model import Dependency, Pause
from archiver.web.health import healthz, readyz
from tests.fakes.time import NOW


def test_service_without_a_late_loop_is_alive() -> None:
    assert healthz({}, {}) == (200, {"status": "alive"})


def test_service_with_a_stuck_transfer_is_alive_and_names_it() -> None:
    stuck = {"transfer t/vocal": 301.26}
    assert healthz({}, stuck) == (200, {"status": "alive", "stuck": {"transfer t/vocal": 301.3}})


def test_service_with_a_late_loop_is_not_and_names_it() -> None:
    assert healthz({"intake": 65.04}, {"transfer t/vocal": 301.0}) == (
        503,
        {"status": "stalled", "late": {"intake": 65.0}},
    )


def test_service_with_nothing_paused_is_ready() -> None:
    assert readyz({}) == (200, {"status": "ready"})


def test_service_with_something_paused_is_not_and_names_it_its_error_and_what_to_do_but_nothing_of_an_answer() -> None:
    reason, hint = "store.no_bucket: HeadBucket: 404 NoSuchBucket: what a stranger wrote", "create it"
    store = Pause(Dependency.STORE, NOW, reason, hint, lasting=True, probes=0, next_probe=NOW)
    why = {"store": {"error": "store.no_bucket", "hint": "create it"}}
    assert readyz({Dependency.STORE: store}) == (503, {"status": "paused", "paused": ["store"], "why": why})
