"""The outage gate: work is held, BigQuery is probed, and work is given up after the deadline."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

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


@pytest.mark.parametrize("settings", [{"deadline_seconds": -1.0}, {"probe_seconds": 0.0}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    """The deadline must not be negative, and probes need a pause."""
    with pytest.raises(ValueError, match="expected deadline_seconds"):
        OutageSettings(**settings)
