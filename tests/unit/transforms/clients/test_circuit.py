"""The circuit breaker."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from transforms.clients.circuit import CircuitBreaker, CircuitOpen


class _Fault(Exception):
    """The service does not answer."""


class _Service:
    """Counts calls, and raises `error` if it is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        self.calls += 1
        if self.error:
            raise self.error
        return "answer"


def _circuit(*, failures: int = 2, reset_seconds: float = 3600) -> CircuitBreaker:
    return CircuitBreaker("a service", _Fault, failures=failures, reset_seconds=reset_seconds)


def _fail(circuit: CircuitBreaker, service: _Service, *, times: int) -> None:
    service.error = _Fault("down")
    for _ in range(times):
        with pytest.raises(_Fault):
            circuit.call(service)


def _wait_until_a_probe_is_due(circuit: CircuitBreaker) -> None:
    while seconds := circuit.seconds_to_probe():
        time.sleep(seconds)


def test_failures_in_a_row_open_it_and_then_no_call_is_made() -> None:
    """The failures are raised as they are; later calls raise CircuitOpen."""
    circuit, service = _circuit(failures=2), _Service()
    _fail(circuit, service, times=2)
    for _ in range(5):
        with pytest.raises(CircuitOpen):
            circuit.call(service)
    assert service.calls == 2


def test_a_success_resets_the_count() -> None:
    """Only failures in a row open the circuit."""
    circuit, service = _circuit(failures=2), _Service()
    for _ in range(3):
        _fail(circuit, service, times=1)
        service.error = None
        assert circuit.call(service) == "answer"
    assert circuit.is_closed


def test_other_errors_do_not_open_it() -> None:
    """An exception other than the fault is raised and does not count as a failure."""
    circuit, service = _circuit(failures=1), _Service()
    service.error = KeyError("ours")
    for _ in range(3):
        with pytest.raises(KeyError):
            circuit.call(service)
    assert circuit.is_closed


def test_a_probe_closes_it_or_leaves_it_open() -> None:
    """After the reset time one call is made: a failure leaves the circuit open, a success closes it."""
    circuit, service = _circuit(failures=1, reset_seconds=0.01), _Service()
    _fail(circuit, service, times=1)
    _wait_until_a_probe_is_due(circuit)
    _fail(circuit, service, times=1)
    assert not circuit.is_closed
    service.error = None
    _wait_until_a_probe_is_due(circuit)
    assert circuit.call(service) == "answer"
    assert circuit.is_closed


def test_calls_run_beside_each_other_while_it_is_closed() -> None:
    """Two threads are in their calls at the same time: each waits there for the other."""
    circuit, meeting = _circuit(), threading.Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as threads:
        arrived = [threads.submit(circuit.call, meeting.wait) for _ in range(2)]
        assert sorted(it.result() for it in arrived) == [0, 1]


def test_one_call_at_a_time_probes() -> None:
    """While a probe is under way, other calls are refused at once: they neither run nor wait for it."""
    circuit, service = _circuit(failures=1, reset_seconds=0.01), _Service()
    _fail(circuit, service, times=1)
    _wait_until_a_probe_is_due(circuit)
    is_probing, may_end = threading.Event(), threading.Event()

    def probe() -> str:
        is_probing.set()
        assert may_end.wait(60)
        return "answer"

    with ThreadPoolExecutor(1) as thread:
        probed = thread.submit(circuit.call, probe)
        assert is_probing.wait(60)
        with pytest.raises(CircuitOpen):
            circuit.call(service)
        may_end.set()
        assert probed.result() == "answer"
    assert circuit.is_closed
    assert service.calls == 1


def test_a_call_that_began_before_the_circuit_opened_decides_nothing() -> None:
    """Its late success does not close the circuit: only a probe's does."""
    circuit, service = _circuit(failures=1), _Service()

    def late_success() -> str:
        _fail(circuit, service, times=1)
        return "answer"

    assert circuit.call(late_success) == "answer"
    assert not circuit.is_closed


def test_opening_and_closing_are_logged_once() -> None:
    """The log names the service and the reason; further failures and failed probes add nothing."""
    circuit, service = _circuit(failures=2, reset_seconds=0.01), _Service()
    with capture_logs() as logs:
        _fail(circuit, service, times=2)
        for _ in range(2):
            _wait_until_a_probe_is_due(circuit)
            _fail(circuit, service, times=1)
        _wait_until_a_probe_is_due(circuit)
        service.error = None
        circuit.call(service)
        circuit.call(service)
    assert [(entry["log_level"], entry["service"], entry.get("reason")) for entry in logs] == [
        ("error", "a service", "down"),
        ("warning", "a service", None),
    ]
