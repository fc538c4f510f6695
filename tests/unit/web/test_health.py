from archiver.web.health import healthz, readyz


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
    assert readyz([]) == (200, {"status": "ready"})


def test_service_with_something_paused_is_not_and_names_it() -> None:
    assert readyz(["store"]) == (503, {"status": "paused", "paused": ["store"]})
