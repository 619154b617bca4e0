"""A service fails until its time is over, until it is healed, or until the stack ends."""

import threading
from typing import Final

import pytest
from structlog.testing import capture_logs

from pipeline.local.failing.failing_services import FailingServices
from pipeline.local.failing.failures import Failure, Service, find_failure

PATIENCE: Final = 60.0
LONG: Final = 3_600.0
OVERLOADED, GARBAGE = find_failure("gemini", "503"), find_failure("gemini", "garbage")
DOWN = find_failure("bigquery", "down")


class _Switch:
    """A service that remembers what was done to it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.done: list[str] = []
        self.healed = threading.Event()
        self._error = error

    def fail(self, failure: Failure, only: str | None) -> None:
        self.done.append(f"{failure.name} {only}" if only else failure.name)

    def heal(self) -> None:
        self.done.append("heal")
        self.healed.set()
        if self._error:
            raise self._error


class _Services:
    def __init__(self, bigquery: _Switch | None = None) -> None:
        self.gemini, self.bigquery = _Switch(), bigquery or _Switch()
        self.said: list[str] = []
        switches = {Service.GEMINI: self.gemini, Service.BIGQUERY: self.bigquery}
        self.failing = FailingServices(switches, self.said.append)


def test_a_failure_ends_in_time() -> None:
    """It is said when it begins and when it ends."""
    services = _Services()
    with services.failing:
        services.failing.fail(OVERLOADED, 0.01)
        assert services.gemini.healed.wait(PATIENCE)
    assert services.gemini.done == ["503", "heal"]
    assert [line.split()[:2] for line in services.said] == [["gemini", "answers"], ["gemini", "works"]]


def test_another_failure_takes_the_place_of_the_first() -> None:
    """The time of the first one does not end the second."""
    services = _Services()
    with services.failing:
        services.failing.fail(OVERLOADED, LONG)
        services.failing.fail(GARBAGE, LONG, only="Acme")
        assert services.failing.heal() == (GARBAGE,)
    assert services.gemini.done == ["503", "garbage Acme", "heal"]


def test_services_fail_beside_each_other() -> None:
    """Healing ends all of them; then there is nothing to heal."""
    services = _Services()
    with services.failing:
        services.failing.fail(OVERLOADED, LONG)
        services.failing.fail(DOWN, LONG)
        assert services.failing.heal() == (OVERLOADED, DOWN)
        assert services.failing.heal() == ()
    assert services.gemini.done == ["503", "heal"]
    assert services.bigquery.done == ["down", "heal"]


def test_bigquery_fails_as_a_whole() -> None:
    """Only calls to Gemini have a text."""
    services = _Services()
    with services.failing, pytest.raises(ValueError, match="--only"):
        services.failing.fail(DOWN, LONG, only="Acme")
    assert services.bigquery.done == []


def test_the_end_of_the_stack_leaves_no_timer() -> None:
    """A timer must not start a server again that the stack has stopped."""
    services = _Services()
    with services.failing:
        services.failing.fail(DOWN, LONG)
    assert services.failing.heal() == ()
    assert services.bigquery.done == ["down"]
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join(PATIENCE)
        assert not timer.is_alive()


def test_a_service_that_stays_broken_is_an_error() -> None:
    """Whoever heals it is told; if its time was over, the log says it."""
    error = RuntimeError("the BigQuery emulator did not start")
    services = _Services(bigquery=_Switch(error))
    with services.failing:
        services.failing.fail(DOWN, LONG)
        with pytest.raises(RuntimeError, match="did not start"):
            services.failing.heal()
        services.bigquery.healed.clear()
        with capture_logs() as logs:
            services.failing.fail(DOWN, 0.01)
            assert services.bigquery.healed.wait(PATIENCE)
            with services.failing:  # waits for the timer's thread
                pass
    assert [log["reason"] for log in logs] == [str(error)]
    assert not any("works again" in line for line in services.said)
