"""A circuit breaker that many threads call through at once, and a call that is given up after a total deadline.

pybreaker holds its lock while a call runs, which would let one thread of a process through at a time. So while the
circuit is closed calls run beside each other, and only their failures are told to pybreaker; once it is open, pybreaker
lets the one call through that probes.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import NoReturn, TypeVar

import pybreaker
import structlog

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)


class CircuitOpen(Exception):
    """The last calls failed, so that none is made for a while."""


class Circuit:
    """The circuit to one service, for all the threads of a process.

    Args:
        name: What an operator reads in the log when the circuit opens and closes; once each.
        fault: The exception that means that the service does not answer, with a text that can be logged; others pass
            without being counted.
        failures: So many failed calls in a row open the circuit.
        reset_seconds: Then one call is tried again after so long.
    """

    def __init__(self, name: str, fault: type[Exception], *, failures: int, reset_seconds: float) -> None:
        self.name = name
        self._fault = fault
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=reset_seconds,
            exclude=[lambda error: not isinstance(error, fault)],
            listeners=[_CircuitLog()],
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def is_closed(self) -> bool:
        """Whether calls are made."""
        return self._breaker.current_state == pybreaker.STATE_CLOSED

    def call(self, ask: Callable[[], T]) -> T:
        """Return what a call returns.

        Raises:
            CircuitOpen: It was not made.
            Exception: What the call raised.
        """
        if not self.is_closed:
            return self._through_breaker(ask)
        try:
            answer = ask()
        except self._fault as error:
            self._tell(partial(_raise, error))
            raise
        if self._breaker.fail_counter:
            self._tell(lambda: None)
        return answer

    def _through_breaker(self, ask: Callable[[], T]) -> T:
        try:
            return self._breaker.call(ask)
        except pybreaker.CircuitBreakerError:
            raise CircuitOpen(f"the circuit to {self.name} is open, since the last calls failed") from None

    def _tell(self, outcome: Callable[[], object]) -> None:
        try:
            self._breaker.call(outcome)
        except (self._fault, pybreaker.CircuitBreakerError):
            return  # the caller raises the failure; an open circuit needs to hear of no other


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what a call returns, made on a thread of its own: clients bound each wait for bytes, but not their sum.

    Raises:
        TimeoutError: It takes longer; it is left behind, and what it returns in the end is dropped.
        Exception: What the call raised.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            outcome.set_exception(error)

    # A daemon: what was given up ends with its last wait, or with the process.
    threading.Thread(target=run, name="within-deadline", daemon=True).start()
    return outcome.result(timeout=seconds)


def _raise(error: Exception) -> NoReturn:
    raise error


class _CircuitLog(pybreaker.CircuitBreakerListener):
    """Tells operators when calls stop, and why, and when they go on."""

    reason = ""

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:  # noqa: ARG002 - pybreaker names them
        self.reason = str(exc)

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        # Each probe goes through half-open: only what changes for the operator is told.
        if new_state.name == pybreaker.STATE_CLOSED:
            _log.warning("the circuit is closed again", service=cb.name)
        elif new_state.name == pybreaker.STATE_OPEN and old_state and old_state.name == pybreaker.STATE_CLOSED:
            _log.error("the circuit is open: calls stop until a probe succeeds", service=cb.name, reason=self.reason)
