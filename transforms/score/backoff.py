"""One call's retries, beside the circuit: whether to go on, when, and on whose account the wait goes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from transforms.errors import GeminiError, QuotaExhausted
from transforms.score.gemini_circuit import GeminiCircuit
from transforms.score.retries import is_out_of_attempts, is_worth_retrying, seconds_before_retry
from transforms.score.throttling import ThrottledTime

Result = TypeVar("Result")


class Backoff:
    """Retries a call that has failed.

    While the circuit is open, an account that stands alone is held on. A call for several is rather split after some
    attempts: if one of its accounts is what fails, the others' calls will succeed, and close the circuit.
    """

    def __init__(self, circuit: GeminiCircuit, accounts: int, throttled: ThrottledTime) -> None:
        self._circuit = circuit
        self._is_alone = accounts == 1
        self._throttled = throttled
        self._is_throttled = False

    async def retrying(self, failure: GeminiError, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return what a later attempt brings.

        Args:
            failure: How the first attempt ended.
            attempt: Makes another one.

        Raises:
            GeminiError: The last attempt's, which may be the first one's.
        """
        failures = iter([failure])

        async def next_attempt() -> Result:
            for error in failures:
                raise error
            return await attempt()

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._is_worth_another_attempt),
            wait=self._seconds,
            stop=self._is_over,
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(next_attempt)

    def _is_worth_another_attempt(self, error: BaseException) -> bool:
        """Whether the service failed, or was useless to so many calls that the account need not be what is wrong."""
        is_held = self._is_alone and self._circuit.is_open() and isinstance(error, GeminiError)
        return is_worth_retrying(error) or is_held

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return is_out_of_attempts(error, state.attempt_number) and not (self._is_alone and self._circuit.is_open())

    def _seconds(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        self._is_throttled = isinstance(error, QuotaExhausted) or self._circuit.is_open()
        return seconds_before_retry(state)

    async def _sleep(self, seconds: float) -> None:
        if self._is_throttled:
            with self._throttled.counted():
                await asyncio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)
