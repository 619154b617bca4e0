"""Outages of BigQuery: work is held while it does not answer, probed for, and given up only past a deadline.

A batch waits inside its bundle: nothing is acknowledged that is not done, and the backlog stays where it is durable.
One call at a time probes, so that an outage costs the service a call every few seconds, however much is waiting.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from apache_beam.metrics import Metrics

from transforms.clients.circuit import Circuit, CircuitOpen
from transforms.errors import WarehouseUnavailable
from transforms.process import once_per_process

T = TypeVar("T")

THROTTLED_COUNTER: Final = "cumulativeThrottlingSeconds"
"""Dataflow reads a counter of this name: a worker that waits is not one that is busy."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class OutageSettings:
    """How long work is held, in seconds, and how often BigQuery is probed meanwhile."""

    deadline_seconds: float = 900.0
    probe_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.deadline_seconds < 0 or self.probe_seconds <= 0:
            raise ValueError("a deadline of 0 or more and a probe every so many seconds are wanted")


class OutageGate:
    """Calls to one part of BigQuery, held while it does not answer; for all the threads of a process.

    The first failure opens the circuit, since the call has been retried within by then.
    """

    def __init__(self, service: str, settings: OutageSettings) -> None:
        self._settings = settings
        self._circuit = Circuit(service, WarehouseUnavailable, failures=1, reset_seconds=settings.probe_seconds)

    def call(self, ask: Callable[[], T], on_wait: Callable[[float], None]) -> T:
        """Return what a call returns, made again until it succeeds or this work has waited for as long as it may.

        Args:
            ask: The call.
            on_wait: Told of the seconds for which work stood still, as they pass.

        Raises:
            WarehouseUnavailable: BigQuery did not answer within the deadline of an outage.
        """
        started = time.monotonic()
        ends_at = started + self._settings.deadline_seconds
        error = WarehouseUnavailable("BigQuery: the circuit is open, since the last calls failed")
        while True:
            try:
                return self._circuit.call(ask)
            except CircuitOpen:
                pass  # another call's failure: wait for a probe's success
            except WarehouseUnavailable as failure:
                error = failure
                _log.warning("BigQuery does not answer: work is held", service=self._circuit.name, reason=str(failure))
            if time.monotonic() >= ends_at:
                raise error
            time.sleep(min(self._settings.probe_seconds / 2, max(0.0, ends_at - time.monotonic())))
            waited, started = time.monotonic() - started, time.monotonic()
            on_wait(waited)


class ThrottledSeconds:
    """Counts held time in whole seconds for Dataflow, keeping the rest for the next time."""

    def __init__(self, stage: str) -> None:
        self._counter = Metrics.counter(stage, THROTTLED_COUNTER)
        self._rest = 0.0

    def __call__(self, seconds: float) -> None:
        """Count; on the thread of `process()`, where Beam takes counts."""
        self._rest += seconds
        whole = int(self._rest)
        self._rest -= whole
        if whole:
            self._counter.inc(whole)


@once_per_process
def shared_outage_gate(service: str, settings: OutageSettings) -> OutageGate:
    """Return this process's outage gate of a service."""
    return OutageGate(service, settings)
