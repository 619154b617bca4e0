"""A check and its result, and how checks run: in parallel, each within its deadline."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from pipeline.doctor.advice import Advice, explain
from transforms.clients.deadlines import within

DEADLINE_SECONDS: Final = 8.0
"""Default deadline of one check."""

CALL_SECONDS: Final = 6.0
"""Timeout of a call within a check: shorter, so that the call's own error is reported."""

WORKERS: Final = 10
"""Checks at once; BigQuery's client pools as many connections."""

T = TypeVar("T")


class Status(StrEnum):
    """Status of a finished check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """The thing is not configured."""
    NOT_TOLD = "not_told"
    """The server does not tell, as emulators don't tell permissions."""


@dataclass(frozen=True)
class Finding:
    """What a check found and, if it failed, how to fix it; one line each."""

    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: The resource to check, such as `topic account-changes`.
        ask: Returns the finding, or raises an error, which `advice` explains.
        advice: Remedies by the kind of error.
        deadline_seconds: After this time the check has failed.
    """

    name: str
    ask: Callable[[], Finding]
    advice: Advice
    deadline_seconds: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class Result:
    """A check's name, its finding, and how long it took."""

    name: str
    finding: Finding
    seconds: float


OnResult = Callable[[int, Result], None]
"""Takes the index of a check and its result; called on the check's thread."""


class Shared(Generic[T]):
    """A connection that checks share, made on first use; if that fails, every check gets the error."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._outcome: Future[T] | None = None

    def get(self) -> T:
        """Return the connection; make it, or wait for the thread that does.

        Raises:
            Exception: What making the connection raised.
        """
        with self._lock:
            is_first = self._outcome is None
            outcome = self._outcome = self._outcome or Future()
        if is_first:
            try:
                outcome.set_result(self._make())
            except BaseException as error:  # noqa: BLE001 - result() raises it
                outcome.set_exception(error)
        return outcome.result()

    def close(self, close: Callable[[T], object]) -> None:
        """Close the connection, if one was made."""
        if self._outcome and self._outcome.done() and not self._outcome.exception():
            close(self._outcome.result())


def examine(checks: Sequence[Check], on_result: OnResult | None = None) -> tuple[Result, ...]:
    """Run all checks, also after one has failed; return the results in the order of the checks."""

    def run(index: int) -> Result:
        result = _run(checks[index])
        if on_result:
            on_result(index, result)
        return result

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="doctor") as pool:
        return tuple(pool.map(run, range(len(checks))))


def _run(check: Check) -> Result:
    started = time.monotonic()
    try:
        finding = within(check.deadline_seconds, check.ask)
    except Exception as error:  # noqa: BLE001 - an unexpected error must not stop the other checks
        detail, remedy = explain(error, check.advice)
        finding = Finding(Status.FAILED, detail, remedy)
    return Result(check.name, finding, time.monotonic() - started)
