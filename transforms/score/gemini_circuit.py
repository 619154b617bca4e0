"""The Gemini circuit: while Gemini fails as a whole, calls wait, and one at a time probes it.

Calls are delayed rather than refused, for as long as their bundle may wait; what is not answered by then is parked
(`parked_changes.py`).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from schemas.failures import Severity
from transforms.clients.circuit import CircuitBreaker
from transforms.clients.gemini_api import CircuitPolicy
from transforms.clients.hold import Hold
from transforms.errors import GeminiError, GeminiTimeout, GeminiUnavailable, HoldEnded
from transforms.logs import get_logger
from transforms.score.adaptive_limit import ThrottledTime

Answer = TypeVar("Answer")

_log = get_logger(__name__)


class GeminiCircuit:
    """Delays calls while one of two circuit breakers is open: the service's, and that of useless answers.

    Used from one event loop.
    """

    def __init__(self, policy: CircuitPolicy, indicates_outage: Callable[[GeminiError], bool]) -> None:
        """Take the policy, and a predicate: can this error mean that Gemini fails as a whole?"""
        self._service = CircuitBreaker(
            "Gemini as a service", GeminiError, failures=policy.service_failures, reset_seconds=policy.probe_seconds
        )
        self._answers = CircuitBreaker(
            "Gemini's answers", GeminiError, failures=policy.useless_answers, reset_seconds=policy.probe_seconds
        )
        self._indicates_outage = indicates_outage
        self._probing = asyncio.Lock()

    def is_open(self) -> bool:
        """Whether calls are delayed."""
        return not (self._service.is_closed and self._answers.is_closed)

    def would_wait(self) -> bool:
        """Whether a call would be delayed: the circuit is open, and no probe is due or another call is the probe.

        Unlike the other methods it may be called from any thread; the answer can be old when it returns.
        """
        return self.is_open() and (self._probing.locked() or self._seconds_to_probe() > 0)

    async def attempt(
        self, call: Callable[[], Awaitable[Sequence[Answer | GeminiError]]], throttled: ThrottledTime, hold: Hold
    ) -> Sequence[Answer | GeminiError]:
        """Make a call: at once while the circuit is closed, else as a probe, or once another call's probe succeeded.

        Args:
            call: Returns an answer or an error for each account, or raises GeminiError.
            throttled: Counts the time for which the call is delayed.
            hold: Bounds this time.

        Raises:
            HoldEnded: The circuit was open until the hold ended.
            GeminiError: The call's own.
        """
        if self.is_open():
            async with contextlib.AsyncExitStack() as probe:
                with throttled.counted():
                    await self._turn(probe, hold)
                if self.is_open():
                    return await self._observed(call)
        return await self._observed(call)

    async def _turn(self, probe: contextlib.AsyncExitStack, hold: Hold) -> None:
        """Wait until this call may probe."""
        hold.begin()
        try:
            async with asyncio.timeout(hold.seconds_left):
                await probe.enter_async_context(self._probing)
                await self._until_probe_is_due()
        except TimeoutError:
            raise HoldEnded(f"Gemini failed as a whole, and calls were held for {hold.seconds:g} s") from None

    def _seconds_to_probe(self) -> float:
        return max(self._service.seconds_to_probe(), self._answers.seconds_to_probe())

    async def _until_probe_is_due(self) -> None:
        for breaker in (self._service, self._answers):
            await asyncio.sleep(breaker.seconds_to_probe())
            breaker.begin_probe()

    async def _observed(
        self, call: Callable[[], Awaitable[Sequence[Answer | GeminiError]]]
    ) -> Sequence[Answer | GeminiError]:
        try:
            answers = await call()
        except GeminiError as error:
            self._record_failure(error)
            raise
        errors = [answer for answer in answers if isinstance(answer, GeminiError)]
        if errors and len(errors) == len(answers):
            self._record_failure(errors[0])
        else:
            self._succeeded(self._service)
            self._succeeded(self._answers)
        return answers

    def _record_failure(self, error: GeminiError) -> None:
        """Record a call that brought no score."""
        if not self._indicates_outage(error):
            return
        if isinstance(error, GeminiUnavailable | GeminiTimeout):
            self._failed(self._service, error)
        else:
            self._succeeded(self._service, error)  # it did answer
            self._failed(self._answers, error)

    def _succeeded(self, breaker: CircuitBreaker, error: GeminiError | None = None) -> None:
        if breaker.record(is_success=True):
            _log.warning("the circuit is closed: calls go on", **_log_fields(breaker, error))

    def _failed(self, breaker: CircuitBreaker, error: GeminiError) -> None:
        is_probe = breaker.is_half_open
        fields = _log_fields(breaker, error)
        if breaker.record(is_success=False):
            _log.critical("the circuit is open: calls are held", error_severity=Severity.CRITICAL.value, **fields)
        elif is_probe:
            _log.info("the probe failed: calls are still held", **fields)


def _log_fields(breaker: CircuitBreaker, error: GeminiError | None) -> dict[str, str]:
    fields = {"circuit": breaker.name}
    return fields | {"error_class": error.error_class.value, "error": str(error)} if error else fields
