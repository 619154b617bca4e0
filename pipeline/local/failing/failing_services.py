"""The failures that the services of a running stack have now, each until its time is over or it is healed."""

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import structlog

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.failing.failures import Failure, Service
from pipeline.local.gemini_process import GeminiProcess

_log = structlog.stdlib.get_logger(__name__)


class Switch(Protocol):
    """Has a service fail, and makes it work again."""

    def fail(self, failure: Failure, only: str | None) -> None:
        """Begin to fail, in place of another failure if there is one; `only` is a text of the calls that fail."""
        ...

    def heal(self) -> None:
        """Work again, as before the failure."""
        ...


class GeminiSwitch:
    """Gives the stand-in a fault."""

    def __init__(self, gemini: GeminiProcess) -> None:
        self._gemini = gemini

    def fail(self, failure: Failure, only: str | None) -> None:
        """Have every call fail, or those whose prompt contains a text."""
        self._gemini.configure(faults=[{"kind": failure.fault, "match": only}])

    def heal(self) -> None:
        """Answer every call."""
        self._gemini.configure(faults=[])


class BigQuerySwitch:
    """Kills the emulator as a crash would, and starts it again on the same port with the same data."""

    def __init__(self, emulator: BigQueryEmulator) -> None:
        self._emulator = emulator

    def fail(self, failure: Failure, only: str | None) -> None:  # noqa: ARG002 - it has one failure
        """Refuse connections."""
        self._emulator.kill()

    def heal(self) -> None:
        """Answer again."""
        self._emulator.start()


@dataclass(frozen=True)
class _Running:
    failure: Failure
    timer: threading.Timer


class FailingServices:
    """Has services fail for a time. A context manager, which leaves nothing to a timer at its end. Thread-safe.

    Args:
        switches: By service.
        say: Called with a line about each failure that begins or ends.
    """

    def __init__(self, switches: Mapping[Service, Switch], say: Callable[[str], None]) -> None:
        self._switches = switches
        self._say = say
        self._running: dict[Service, _Running] = {}
        self._changing = threading.RLock()

    def fail(self, failure: Failure, seconds: float, only: str | None = None) -> dt.datetime:
        """Have a service fail, in place of its failure so far; return when that ends.

        Raises:
            ValueError: The service can't fail for a part of its calls.
            OSError: The service is gone.
        """
        if only is not None and failure.fault is None:
            raise ValueError(f"--only names calls to Gemini: {failure.service} fails as a whole")
        service = failure.service
        with self._changing:
            self._switches[service].fail(failure, only)
            if before := self._running.get(service):
                before.timer.cancel()
            timer = threading.Timer(seconds, lambda: self._end_in_time(service, timer))
            timer.daemon = True
            self._running[service] = _Running(failure, timer)
            timer.start()
        self._say(f"{service} {failure.effect}, for {seconds:g} s")
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)

    def heal(self) -> tuple[Failure, ...]:
        """Make every service work again, and return the failures that this ended.

        Raises:
            OSError: A service does not work again.
            RuntimeError: As above.
        """
        with self._changing:
            ended = tuple(running.failure for running in self._running.values())
            for service in list(self._running):
                self._heal(service)
            return ended

    def _heal(self, service: Service) -> None:
        self._running.pop(service).timer.cancel()
        self._switches[service].heal()
        self._say(f"{service} works again")

    def _end_in_time(self, service: Service, timer: threading.Timer) -> None:
        """End a service's failure when its time is over, if it still is the one of this timer."""
        with self._changing:
            running = self._running.get(service)
            if running is None or running.timer is not timer:
                return
            try:
                self._heal(service)
            except (OSError, RuntimeError) as error:
                _log.error("a service does not work again: end rescore local", service=service, reason=str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._changing:
            for running in self._running.values():
                running.timer.cancel()
            self._running.clear()
