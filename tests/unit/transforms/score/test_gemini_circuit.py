"""The Gemini circuit opens when Gemini fails as a whole, delays every call, probes with one at a time, and closes."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from tests.fixtures.gemini_errors import GEMINI_ERRORS
from transforms.clients.gemini_api import CircuitPolicy
from transforms.clients.hold import Hold
from transforms.errors import (
    BlockedPrompt,
    GeminiError,
    GeminiTimeout,
    GeminiUnavailable,
    MissingScore,
    QuotaExhausted,
    ServerFault,
)
from transforms.score.adaptive_limit import ThrottledTime
from transforms.score.gemini_circuit import GeminiCircuit

POLICY = CircuitPolicy(service_failures=3, useless_answers=6, probe_seconds=0.02)
OUTAGE = ServerFault(503)


class Gemini:
    """Ends each call with the present `outcome`, and counts concurrent calls."""

    def __init__(self) -> None:
        self.outcome: Sequence[int | GeminiError] | GeminiError = [1]
        self.calls = self.in_flight = self.most_in_flight = 0
        self.third_call = asyncio.Event()

    async def call(self) -> Sequence[int | GeminiError]:
        """Make a call."""
        self.calls += 1
        if self.calls == 3:
            self.third_call.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if isinstance(self.outcome, GeminiError):
            raise self.outcome
        return self.outcome


def _always(_: GeminiError) -> bool:
    return True


async def _fail(circuit: GeminiCircuit, gemini: Gemini, error: GeminiError, times: int) -> None:
    gemini.outcome = error
    for _ in range(times):
        with contextlib.suppress(GeminiError):
            await circuit.attempt(gemini.call, ThrottledTime(), Hold(300))


@pytest.mark.parametrize("error", GEMINI_ERRORS, ids=lambda error: type(error).__name__)
def test_failures_in_a_row_open_it(error: GeminiError) -> None:
    """Failures of the service open it after three; useless answers of any kind after six."""
    limit = 3 if isinstance(error, GeminiUnavailable | GeminiTimeout) else 6

    async def scenario() -> tuple[bool, bool]:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        await _fail(circuit, gemini, error, limit - 1)
        before = circuit.is_open()
        await _fail(circuit, gemini, error, 1)
        return before, circuit.is_open()

    assert asyncio.run(scenario()) == (False, True)


def test_a_success_resets_the_count() -> None:
    """Failures between successes do not open it."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        for _ in range(10):
            await _fail(circuit, gemini, OUTAGE, 2)
            gemini.outcome = [1, MissingScore("x")]
            await circuit.attempt(gemini.call, ThrottledTime(), Hold(300))
        return circuit.is_open()

    assert not asyncio.run(scenario())


def test_answers_without_a_single_score_count() -> None:
    """A response of which every entry is rejected counts as a useless answer."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        gemini.outcome = [MissingScore("x"), MissingScore("x")]
        for _ in range(6):
            await circuit.attempt(gemini.call, ThrottledTime(), Hold(300))
        return circuit.is_open()

    assert asyncio.run(scenario())


def test_errors_that_do_not_indicate_an_outage_are_ignored() -> None:
    """A 429 that fewer concurrent calls remedy does not open it."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, lambda error: not isinstance(error, QuotaExhausted)), Gemini()
        await _fail(circuit, gemini, QuotaExhausted(), 50)
        return circuit.is_open()

    assert not asyncio.run(scenario())


def test_while_open_it_holds_calls_and_probes_one_at_a_time() -> None:
    """Twenty calls wait, none is refused, and single probes are made until one succeeds; then all are made."""

    async def scenario() -> None:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        gemini.calls, gemini.third_call = 0, asyncio.Event()
        throttled = ThrottledTime()

        async def persevering() -> Sequence[int | GeminiError]:
            while True:
                with contextlib.suppress(ServerFault):
                    return await circuit.attempt(gemini.call, throttled, Hold(300))

        held = [asyncio.create_task(persevering()) for _ in range(20)]
        await asyncio.wait_for(gemini.third_call.wait(), timeout=60)
        assert gemini.most_in_flight == 1
        assert circuit.is_open()
        assert not any(task.done() for task in held)
        gemini.outcome = [7]
        assert await asyncio.wait_for(asyncio.gather(*held), timeout=60) == [[7]] * 20
        assert not circuit.is_open()
        assert throttled.seconds > 0

    asyncio.run(scenario())


def test_a_cancelled_wait_lets_the_next_call_probe() -> None:
    """The calls behind it are not blocked."""

    async def scenario() -> None:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        gemini.outcome = [7]
        first, second = (
            asyncio.create_task(circuit.attempt(gemini.call, ThrottledTime(), Hold(300))) for _ in range(2)
        )
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.wait_for(second, timeout=60) == [7]

    asyncio.run(scenario())


def test_opening_and_closing_are_logged_once() -> None:
    """Opening is critical, with the circuit and the class of the error; closing is a warning."""

    async def scenario() -> None:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        gemini.outcome = [7]
        for _ in range(2):
            await circuit.attempt(gemini.call, ThrottledTime(), Hold(300))

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert [entry["log_level"] for entry in logs] == ["critical", "warning"]
    assert [entry["circuit"] for entry in logs] == ["Gemini as a service"] * 2
    assert logs[0]["error"] == str(OUTAGE)
    assert logs[0]["error_class"] == "gemini_unavailable"
    assert logs[0]["error_severity"] == "CRITICAL"


def test_a_blocked_prompt_closes_an_outage() -> None:
    """Any answer to a probe shows that the service is back."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, _always), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        await _fail(circuit, gemini, BlockedPrompt("x"), 1)
        return circuit.is_open()

    assert not asyncio.run(scenario())
