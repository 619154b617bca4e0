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

NO_ANSWER: Final = "does not answer"

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


class Silence:
    """Which services are silent: until their first check has ended so, others had as long, and none got an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: set[str] = set()
        self._silent: dict[str, Finding] = {}

    def note(self, service: str, finding: Finding) -> None:
        """Take note of a check's finding."""
        with self._lock:
            if finding.status is Status.FAILED and NO_ANSWER in finding.detail:
                self._silent.setdefault(service, finding)
            else:
                self._answered.add(service)

    def of(self, service: str) -> Finding | None:
        """Return the finding of a service that is silent; None: ask it."""
        with self._lock:
            return None if service in self._answered else self._silent.get(service)


def examine(checks: Sequence[Check], on_result: OnResult | None = None) -> tuple[Result, ...]:
    """Run all checks, also after one has failed; return the results in the order of the checks."""
    silence = Silence()

    def run(index: int) -> Result:
        result = _run(checks[index], silence)
        if on_result:
            on_result(index, result)
        return result

    longest_first = sorted(range(len(checks)), key=lambda index: -checks[index].deadline_seconds)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="doctor") as pool:
        running = {index: pool.submit(run, index) for index in longest_first}
        return tuple(running[index].result() for index in range(len(checks)))


def _run(check: Check, silence: Silence) -> Result:
    started = time.monotonic()
    if finding := silence.of(check.advice.service):
        return Result(check.name, finding, 0.0)
    try:
        finding = within(check.deadline_seconds, check.ask)
    except Exception as error:  # noqa: BLE001 - an unexpected error must not stop the other checks
        detail, remedy = explain(error, check.advice)
        finding = Finding(Status.FAILED, detail, remedy)
    silence.note(check.advice.service, finding)
    return Result(check.name, finding, time.monotonic() - started)
