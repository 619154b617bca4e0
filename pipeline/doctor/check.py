"""A check, what it found, and how all of them are made: side by side, each within its deadline."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from pipeline.doctor.remedies import Advice, explain
from transforms.clients.circuit import within

DEADLINE_SECONDS: Final = 8.0
"""For one check, if it has none of its own."""

CALL_SECONDS: Final = 6.0
"""For a call of a check, so that its own error comes before the check's deadline."""

WORKERS: Final = 10
"""Checks at once: as many as BigQuery's client keeps connections."""

T = TypeVar("T")


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It is not configured."""
    NOT_TOLD = "not_told"
    """The server does not say, as emulators don't say who may do what."""


@dataclass(frozen=True)
class Finding:
    """What a check found, in one line, and how to mend it, in another; what is well needs no remedy."""

    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: The thing checked, such as `topic account-changes`.
        ask: Looks, and says what it found; what it raises is explained by the advice.
        advice: What mends the thing, by the way in which a call about it fails.
        deadline_seconds: After which it has failed.
    """

    name: str
    ask: Callable[[], Finding]
    advice: Advice
    deadline_seconds: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class Result:
    """A check's name, what it found, and how long that took."""

    name: str
    finding: Finding
    seconds: float


OnResult = Callable[[int, Result], None]
"""Is told the index of a check, and its result, from the thread that made it."""


class Shared(Generic[T]):
    """A connection that all checks share, made when the first one asks; if that fails, it fails for each of them."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._outcome: Future[T] | None = None

    def get(self) -> T:
        """Return the connection, or wait for the thread that makes it.

        Raises:
            Exception: What making it raised.
        """
        with self._lock:
            is_first = self._outcome is None
            outcome = self._outcome = self._outcome or Future()
        if is_first:
            try:
                outcome.set_result(self._make())
            except BaseException as error:  # noqa: BLE001 - whoever asks raises it
                outcome.set_exception(error)
        return outcome.result()

    def close(self, close: Callable[[T], object]) -> None:
        """Close the connection, if one was made."""
        if self._outcome and self._outcome.done() and not self._outcome.exception():
            close(self._outcome.result())


def examine(checks: Sequence[Check], on_result: OnResult | None = None) -> tuple[Result, ...]:
    """Make all checks, whatever becomes of each; return their results in the order of the checks."""

    def make(index: int) -> Result:
        result = _made(checks[index])
        if on_result:
            on_result(index, result)
        return result

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="doctor") as pool:
        return tuple(pool.map(make, range(len(checks))))


def longest_seconds(checks: Sequence[Check]) -> float:
    """Return how long checks can take together, if nothing answers any of them."""
    deadlines = [check.deadline_seconds for check in checks]
    return sum(deadlines) / WORKERS + max(deadlines, default=0.0)


def _made(check: Check) -> Result:
    started = time.monotonic()
    try:
        finding = within(check.deadline_seconds, check.ask)
    except Exception as error:  # noqa: BLE001 - no failure of one check, foreseen or not, stops the others
        detail, remedy = explain(error, check.advice)
        finding = Finding(Status.FAILED, detail, remedy)
    return Result(check.name, finding, time.monotonic() - started)
