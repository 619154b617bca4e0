"""The outage gate: work is held, BigQuery is probed, and work is given up after the deadline."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.clients.hold import Hold
from transforms.clients.outage import OutageGate, OutageSettings
from transforms.errors import WarehouseUnavailable

PROBE_SECONDS = 0.01


class _Warehouse:
    """Fails the first calls, and then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise WarehouseUnavailable("BigQuery: query: ServiceUnavailable 503")
        return "rows"


def _outage_gate(deadline_seconds: float = 60) -> OutageGate:
    return OutageGate("test", OutageSettings(deadline_seconds=deadline_seconds, probe_seconds=PROBE_SECONDS))


def test_work_is_held_until_a_probe_succeeds() -> None:
    """After several failed probes the call returns its answer, and the time waited is reported."""
    warehouse, waits = _Warehouse(failures=4), list[float]()
    assert _outage_gate().call(warehouse, waits.append) == "rows"
    assert warehouse.calls == 5
    assert sum(waits) >= 4 * PROBE_SECONDS


def test_without_an_outage_nothing_waits() -> None:
    """An answer is returned at once."""
    waits = list[float]()
    assert _outage_gate().call(_Warehouse(failures=0), waits.append) == "rows"
    assert waits == []


def test_past_the_deadline_work_is_given_up_with_the_reason() -> None:
    """The error is the last failure."""
    with pytest.raises(WarehouseUnavailable, match="503"):
        _outage_gate(deadline_seconds=0.05).call(_Warehouse(failures=10**6), lambda _: None)


def test_each_batch_waits_its_own_deadline_and_probes_are_few() -> None:
    """In a long outage each batch is given up after its own deadline, however many wait.

    The number of calls depends on the outage's length, not on the number of threads that wait.
    """
    gate, warehouse = _outage_gate(deadline_seconds=0.2), _Warehouse(failures=10**6)
    meeting = threading.Barrier(8, timeout=60)

    def batch(_: int) -> float:
        meeting.wait()
        began = time.monotonic()
        with pytest.raises(WarehouseUnavailable):
            gate.call(warehouse, lambda _: None)
        return time.monotonic() - began

    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        held = list(threads.map(batch, range(8)))
    assert min(held) >= 0.2
    calls_of_one_thread = (time.monotonic() - started) / PROBE_SECONDS
    assert warehouse.calls <= 2 * calls_of_one_thread + 8


def test_the_batches_of_a_bundle_do_not_add_up_their_deadlines() -> None:
    """The first one waits; when its time is over, the others are tried, or refused by the open circuit, at once."""
    settings = OutageSettings(deadline_seconds=0.1, probe_seconds=600)
    gate, warehouse, waits = OutageGate("test", settings), _Warehouse(failures=10**6), list[float]()
    hold = gate.bundle_hold(is_bounded=False)
    for _ in range(20):
        with pytest.raises(WarehouseUnavailable):
            gate.call(warehouse, waits.append, hold)
    assert warehouse.calls == 1
    waited = len(waits)
    with pytest.raises(WarehouseUnavailable):
        gate.call(warehouse, waits.append, hold)
    assert len(waits) == waited, "nothing waits any more"


def test_after_an_outage_a_bundle_whose_time_is_over_goes_on() -> None:
    """A call that succeeds needs no time to wait."""
    gate = _outage_gate()
    hold = Hold(0.0)
    hold.begin()
    assert gate.call(_Warehouse(failures=0), list[float]().append, hold) == "rows"


def test_batches_of_a_bounded_input_have_their_own_deadlines() -> None:
    """Its bundle may be all there is."""
    assert _outage_gate().bundle_hold(is_bounded=True) is None


@pytest.mark.parametrize("settings", [{"deadline_seconds": -1.0}, {"probe_seconds": 0.0}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    """The deadline must not be negative, and probes need a pause."""
    with pytest.raises(ValueError, match="expected deadline_seconds"):
        OutageSettings(**settings)
