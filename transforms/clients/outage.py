"""Outage gate: hold work while a service does not answer, probe it, and give up only after a deadline.

The service is BigQuery or, for look-ups of related records, Salesforce.

A batch waits inside its bundle, so that a worker that vanishes loses nothing: the runner repeats the bundle. By then
Dataflow has acknowledged its messages: what waits is in the job's shuffles, and is lost if the job is cancelled. One
call at a time probes: during an outage BigQuery gets one call every few seconds, however much work waits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from apache_beam.metrics import Metrics

from transforms.clients.circuit import CircuitBreaker, CircuitOpen
from transforms.clients.hold import Hold
from transforms.errors import RescoringError, WarehouseUnavailable
from transforms.logs import get_logger
from transforms.process import once_per_process

T = TypeVar("T")

THROTTLED_COUNTER: Final = "cumulativeThrottlingSeconds"
"""Dataflow's autoscaling reads a counter of this name, and does not count the time as work."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class OutageSettings:
    """How long work is held, and how often the service is probed meanwhile, in seconds."""

    deadline_seconds: float = 900.0
    probe_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.deadline_seconds < 0 or self.probe_seconds <= 0:
            raise ValueError("expected deadline_seconds of 0 or more and probe_seconds of more than 0")


class OutageGate:
    """Makes calls to one part of a service, and holds them while it does not answer; shared by a process's threads.

    The first failure opens the circuit breaker, since the call itself has been retried by then.

    Args:
        service: Its name in logs; the first word is the vendor's service.
        settings: How long, and how often.
        fault: What a call raises if the service does not answer.
    """

    def __init__(
        self, service: str, settings: OutageSettings, fault: type[RescoringError] = WarehouseUnavailable
    ) -> None:
        self._settings = settings
        self._fault = fault
        self._name = service.partition(" ")[0]
        self._circuit = CircuitBreaker(service, fault, failures=1, reset_seconds=settings.probe_seconds)

    def bundle_hold(self, *, is_bounded: bool) -> Hold | None:
        """Return the time that the batches of a new bundle share, so that their deadlines don't add up.

        None for a bounded input, which may be a single bundle: each batch has its own deadline, so that a long outage
        does not give up all that is behind the first one.
        """
        return None if is_bounded else Hold(self._settings.deadline_seconds)

    def call(self, ask: Callable[[], T], on_wait: Callable[[float], None], hold: Hold | None = None) -> T:
        """Return the result of a call, which is repeated until it succeeds or the deadline has passed.

        Args:
            ask: The call.
            on_wait: Called with the seconds waited, after each wait.
            hold: How long the call may wait, if it shares this time with others; otherwise the deadline is its own.

        Raises:
            RescoringError: The service did not answer before the deadline; of the class `fault`.
        """
        started = time.monotonic()
        hold = hold or Hold(self._settings.deadline_seconds)
        error = self._fault(f"{self._name}: the circuit is open, since the last calls failed")
        while True:
            try:
                return self._circuit.call(ask)
            except CircuitOpen:
                pass  # another call failed: wait until a probe succeeds
            except self._fault as failure:
                error = failure
                what = f"{self._name} does not answer: work is held"
                _log.warning(what, service=self._circuit.name, reason=str(failure))
            hold.begin()
            if hold.is_over:
                raise error
            time.sleep(min(self._settings.probe_seconds / 2, hold.seconds_left))
            waited, started = time.monotonic() - started, time.monotonic()
            on_wait(waited)


class ThrottledSeconds:
    """Counts the seconds of waiting for Dataflow: a counter takes whole ones, the rest is kept for the next call."""

    def __init__(self, stage: str) -> None:
        self._counter = Metrics.counter(stage, THROTTLED_COUNTER)
        self._rest = 0.0

    def __call__(self, seconds: float) -> None:
        """Count seconds; must be called on the thread of `process()`, where Beam counts."""
        self._rest += seconds
        whole = int(self._rest)
        self._rest -= whole
        if whole:
            self._counter.inc(whole)


@once_per_process
def shared_outage_gate(
    service: str, settings: OutageSettings, fault: type[RescoringError] = WarehouseUnavailable
) -> OutageGate:
    """Return this process's outage gate of a service."""
    return OutageGate(service, settings, fault)
