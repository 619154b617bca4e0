"""The Gemini circuit: while Gemini fails as a whole, calls wait, and one at a time probes it.

Calls are delayed rather than refused: the work stays in its bundle, which the runner repeats if the worker vanishes,
until Gemini answers again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from schemas.failures import Severity
from transforms.clients.circuit import CircuitBreaker
from transforms.clients.gemini_api import CircuitPolicy
from transforms.errors import GeminiError, GeminiTimeout, GeminiUnavailable
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

    async def attempt(
        self, call: Callable[[], Awaitable[Sequence[Answer | GeminiError]]], throttled: ThrottledTime
    ) -> Sequence[Answer | GeminiError]:
        """Make a call: at once while the circuit is closed, else as a probe, or once another call's probe succeeded.

        Args:
            call: Returns an answer or an error for each account, or raises GeminiError.
            throttled: Counts the time for which the call is delayed.

        Raises:
            GeminiError: The call's own.
        """
        if self.is_open():
            async with contextlib.AsyncExitStack() as probe:
                with throttled.counted():
                    await probe.enter_async_context(self._probing)
                    await self._until_probe_is_due()
                if self.is_open():
                    return await self._observed(call)
        return await self._observed(call)

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
