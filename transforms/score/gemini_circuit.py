"""The circuit to Gemini: while it is open, calls are held, and one at a time probes.

The state machine is purgatory's. Where a breaker usually refuses calls, this one has them wait: the work stays in its
bundle, unacknowledged, and the stream stands still until Gemini answers again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from purgatory.domain.messages.events import ContextChanged
from purgatory.domain.model import CLOSED, OPENED, Context, OpenedState

from schemas.failures import Severity
from transforms.errors import GeminiError, GeminiTimeout, GeminiUnavailable
from transforms.score.throttling import ThrottledTime

Answer = TypeVar("Answer")

_TICK_SECONDS: Final = 0.001
"""purgatory lets a probe through strictly after its time."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class CircuitPolicy:
    """When the circuit opens, and how often it is probed then."""

    service_failures: int = 5
    """Calls in a row to which the service did not answer as a service should."""
    useless_answers: int = 20
    """Calls in a row that brought no score at all, for whatever reason: half a batch, and no fault of the accounts."""
    probe_seconds: float = 5.0


class Circuit:
    """Counts how calls end, and holds them while it is open. Used from one event loop."""

    def __init__(self, policy: CircuitPolicy, is_telling: Callable[[GeminiError], bool]) -> None:
        """Take the policy, and what says whether an error tells anything about Gemini as a whole."""
        self._service = Context("Gemini as a service", policy.service_failures, policy.probe_seconds)
        self._answers = Context("Gemini's answers", policy.useless_answers, policy.probe_seconds)
        self._is_telling = is_telling
        self._turn = asyncio.Lock()
        self._known_open: set[str] = set()

    def is_open(self) -> bool:
        """Whether calls are held."""
        return self._service.state != CLOSED or self._answers.state != CLOSED

    async def attempt(
        self, call: Callable[[], Awaitable[Sequence[Answer | GeminiError]]], throttled: ThrottledTime
    ) -> Sequence[Answer | GeminiError]:
        """Make a call, at once where the circuit is closed, else when it has closed, or as the probe that closes it.

        Args:
            call: Returns an answer or an error for each account, or raises GeminiError.
            throttled: Counts the time for which the call is held.

        Raises:
            GeminiError: The call's own.
        """
        if not self.is_open():
            return await self._observed(call)
        with throttled.counted():
            await self._turn.acquire()
            try:
                await self._until_probe()
            except BaseException:
                self._turn.release()
                raise
        if not self.is_open():
            self._turn.release()  # the next in line need not wait for this call's end
            return await self._observed(call)
        try:
            return await self._observed(call)
        finally:
            self._turn.release()

    async def _until_probe(self) -> None:
        for breaker in (self._service, self._answers):
            while breaker.state != CLOSED:
                try:
                    breaker.handle_new_request()
                    break
                except OpenedState:
                    due = (breaker.opened_at or 0.0) + breaker.ttl
                    await asyncio.sleep(max(due - time.time(), 0.0) + _TICK_SECONDS)

    async def _observed(
        self, call: Callable[[], Awaitable[Sequence[Answer | GeminiError]]]
    ) -> Sequence[Answer | GeminiError]:
        try:
            answers = await call()
        except GeminiError as error:
            self.failed(error)
            raise
        errors = [answer for answer in answers if isinstance(answer, GeminiError)]
        if errors and len(errors) == len(answers):
            self.failed(errors[0])
        else:
            self.succeeded()
        return answers

    def succeeded(self) -> None:
        """Take note of a call that brought a score."""
        for breaker in (self._service, self._answers):
            breaker.handle_end_request()
        self._tell()

    def failed(self, error: GeminiError) -> None:
        """Take note of a call that brought none."""
        if not self._is_telling(error):
            return
        if isinstance(error, GeminiUnavailable | GeminiTimeout):
            self._service.handle_exception(error)
        else:
            self._service.handle_end_request()  # it did answer
            self._answers.handle_exception(error)
        self._tell(error)

    def _tell(self, error: GeminiError | None = None) -> None:
        for breaker in (self._service, self._answers):
            while breaker.messages:
                message = breaker.messages.pop(0)
                if isinstance(message, ContextChanged):
                    self._log(breaker.name, message.state, error)

    def _log(self, circuit: str, state: str, error: GeminiError | None) -> None:
        told = {"circuit": circuit}
        if error:
            told |= {"error_class": error.error_class.value, "error": str(error)}
        if state == CLOSED:
            self._known_open.discard(circuit)
            _log.warning("the circuit is closed: calls go on", **told)
        elif state == OPENED and circuit not in self._known_open:
            self._known_open.add(circuit)
            _log.critical("the circuit is open: calls are held", error_severity=Severity.CRITICAL.value, **told)
        elif state == OPENED:
            _log.info("a probe failed: calls are held on", **told)
