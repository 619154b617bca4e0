"""Circuit breakers.

pybreaker keeps a circuit's state. Its own `call` holds a lock while the call runs, and so serialises the threads of a
process: here calls run outside it, and their outcomes are recorded.
"""

import contextlib
import datetime as dt
import threading
from collections.abc import Callable
from typing import TypeVar

import pybreaker

from transforms.logs import get_logger

T = TypeVar("T")

_log = get_logger(__name__)


class CircuitOpen(Exception):
    """The call was not made: the last calls failed, and no probe is due yet."""


class CircuitBreaker:
    """Opens after a number of failures in a row, and closes when a probe succeeds. Thread-safe.

    While the circuit is closed, calls run beside each other; while it is open, one at a time probes the service.

    Args:
        name: The service, as the log names it.
        fault: The exception that means that the service does not answer; its text is logged. Others count as answers.
        failures: So many failed calls in a row open the circuit.
        reset_seconds: An open circuit is probed after so long.
    """

    def __init__(self, name: str, fault: type[Exception], *, failures: int, reset_seconds: float) -> None:
        self.name = name
        self._fault = fault
        self._storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=reset_seconds,
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._recording = threading.Lock()
        self._probing = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether calls are made as usual."""
        return self._storage.state == pybreaker.STATE_CLOSED

    @property
    def is_half_open(self) -> bool:
        """Whether a probe is under way: the next outcome closes or reopens the circuit."""
        return self._storage.state == pybreaker.STATE_HALF_OPEN

    def call(self, ask: Callable[[], T]) -> T:
        """Return what a call returns.

        Raises:
            CircuitOpen: The call was not made.
            Exception: The call's own.
        """
        if self.is_closed:
            return self._observed(ask)
        if self.seconds_to_probe() or not self._probing.acquire(blocking=False):
            raise CircuitOpen(f"the circuit to {self.name} is open, since the last calls failed")
        try:
            self.begin_probe()
            return self._observed(ask)
        finally:
            self._probing.release()

    def seconds_to_probe(self) -> float:
        """Return the seconds until a probe is due; 0 unless the circuit is open."""
        opened_at = self._storage.opened_at
        if self._storage.state != pybreaker.STATE_OPEN or opened_at is None:
            return 0.0
        return max(0.0, self._breaker.reset_timeout - (dt.datetime.now(dt.UTC) - opened_at).total_seconds())

    def begin_probe(self) -> None:
        """Half-open the circuit if it is open; the caller makes sure that one call at a time probes."""
        with self._recording:
            if self._storage.state == pybreaker.STATE_OPEN:
                self._breaker.half_open()

    def record(self, *, is_success: bool) -> bool:
        """Record whether the service answered a call, and return whether this opened or closed the circuit."""
        if is_success and self.is_closed and not self._storage.counter:
            return False  # nothing to reset: most calls take no lock
        with self._recording:
            was_closed = self.is_closed
            # While the circuit is open, the calls that end began before it opened: they decide nothing.
            if self._storage.state != pybreaker.STATE_OPEN:
                with contextlib.suppress(_Failure):
                    self._breaker.call(_end, is_success=is_success)
            return self.is_closed != was_closed

    def _observed(self, ask: Callable[[], T]) -> T:
        fault: Exception | None = None
        try:
            return ask()
        except self._fault as error:
            fault = error
            raise
        finally:
            is_changed = self.record(is_success=fault is None)
            if is_changed and fault is None:
                _log.warning("the circuit is closed again", service=self.name)
            elif is_changed:
                _log.error(
                    "the circuit is open: calls stop until a probe succeeds", service=self.name, reason=str(fault)
                )


class _Failure(Exception):
    """Tells pybreaker of a failed call."""


def _end(*, is_success: bool) -> None:
    if not is_success:
        raise _Failure
