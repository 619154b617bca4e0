"""Retries of one call to Gemini: which errors are retried, how often, and after what wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import tenacity

from schemas.failures import Handling
from transforms.clients.hold import Hold
from transforms.errors import GeminiError, HoldEnded, QuotaExhausted, ServerFault
from transforms.score.adaptive_limit import ThrottledTime
from transforms.score.gemini_circuit import GeminiCircuit

Result = TypeVar("Result")

MAX_ATTEMPTS: Final = 5
"""Of a call that meets server faults while other calls succeed; after that, its accounts may be the cause."""

MAX_RETRY_AFTER_SECONDS: Final = 120.0
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 8.0
_TRANSIENT: Final = frozenset({Handling.SLOW_DOWN, Handling.RETRY, Handling.REFRESH, Handling.HOLD})

_full_jitter = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS)


class Backoff:
    """Retries a call that has failed.

    The hold begins at the first failure of the service, whether or not the circuit is open: other calls may succeed
    while this one meets an exhausted quota again and again. A call for one account is retried until the hold ends. A
    call for several is split after MAX_ATTEMPTS of a server fault: if one of its accounts is the cause, the others'
    calls succeed and close the circuit.
    """

    def __init__(self, circuit: GeminiCircuit, accounts: int, throttled: ThrottledTime, hold: Hold) -> None:
        self._circuit = circuit
        self._hold = hold
        self._is_alone = accounts == 1
        self._throttled = throttled
        self._is_throttled = False
        self._is_hold_over = False

    async def retry(self, failure: GeminiError, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of a later attempt.

        Args:
            failure: The first attempt's.
            attempt: Makes another one.

        Raises:
            HoldEnded: The service still failed when the hold ended.
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
        try:
            return await retrying(next_attempt)
        except GeminiError as error:
            if self._is_hold_over and not self._may_be_split(error):
                raise HoldEnded(f"calls were held for {self._hold.seconds:g} s: {error}") from None
            raise

    def _is_worth_another_attempt(self, error: BaseException) -> bool:
        if isinstance(error, HoldEnded):
            return False
        return is_worth_retrying(error) or (isinstance(error, GeminiError) and self._is_held())

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        self._hold.begin()
        if is_out_of_attempts(_error_of(state), state.attempt_number) and not self._is_held():
            return True
        self._is_hold_over = self._hold.is_over
        return self._is_hold_over

    def _may_be_split(self, error: GeminiError) -> bool:
        """Whether one of several accounts may be the cause, which halves of the call will show."""
        return error.handling is Handling.RETRY and not self._is_alone and not self._circuit.is_open()

    def _is_held(self) -> bool:
        """Whether Gemini fails so many calls that this one's only account need not be the cause."""
        return self._is_alone and self._circuit.is_open()

    def _seconds(self, state: tenacity.RetryCallState) -> float:
        self._is_throttled = isinstance(_error_of(state), QuotaExhausted) or self._circuit.is_open()
        return seconds_before_retry(state)

    async def _sleep(self, seconds: float) -> None:
        seconds = min(seconds, self._hold.seconds_left)
        if self._is_throttled:
            with self._throttled.counted():
                await asyncio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same call can succeed later: the service failed, and not this call."""
    return isinstance(error, GeminiError) and error.handling in _TRANSIENT


def is_out_of_attempts(error: BaseException | None, attempts: int) -> bool:
    """Whether to stop retrying while the circuit is closed; 429, 401, 403 and 404 are retried until it opens."""
    return isinstance(error, GeminiError) and error.handling is Handling.RETRY and attempts >= MAX_ATTEMPTS


def seconds_before_retry(state: tenacity.RetryCallState) -> float:
    """Return a random wait of 0 to 0.5, 1, 2, ... 8 s, added to the server's Retry-After."""
    error = _error_of(state)
    retry_after = error.retry_after_seconds if isinstance(error, QuotaExhausted | ServerFault) else None
    return min(retry_after or 0.0, MAX_RETRY_AFTER_SECONDS) + float(_full_jitter(state))


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
