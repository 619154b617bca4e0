"""The circuit: opens when Gemini fails as a whole, holds every call, probes with one at a time, and closes again."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from tests.fixtures.gemini_errors import GEMINI_ERRORS
from transforms.clients.circuit import CircuitPolicy
from transforms.errors import (
    BlockedPrompt,
    GeminiError,
    GeminiTimeout,
    GeminiUnavailable,
    MissingScore,
    QuotaExhausted,
    ServerFault,
)
from transforms.score.gemini_circuit import GeminiCircuit
from transforms.score.throttling import ThrottledTime

POLICY = CircuitPolicy(service_failures=3, useless_answers=6, probe_seconds=0.02)
OUTAGE = ServerFault(503)


class Gemini:
    """Ends each call with what `outcome` is at the time, and counts how many are made at once."""

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


def _everything_tells(_: GeminiError) -> bool:
    return True


async def _fail(circuit: GeminiCircuit, gemini: Gemini, error: GeminiError, times: int) -> None:
    gemini.outcome = error
    for _ in range(times):
        with contextlib.suppress(GeminiError):
            await circuit.attempt(gemini.call, ThrottledTime())


@pytest.mark.parametrize("error", GEMINI_ERRORS, ids=lambda error: type(error).__name__)
def test_failures_in_a_row_open_it(error: GeminiError) -> None:
    """The service's failures open it soon; answers that are of no use, whatever their kind, after more of them."""
    limit = 3 if isinstance(error, GeminiUnavailable | GeminiTimeout) else 6

    async def scenario() -> tuple[bool, bool]:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        await _fail(circuit, gemini, error, limit - 1)
        before = circuit.is_open()
        await _fail(circuit, gemini, error, 1)
        return before, circuit.is_open()

    assert asyncio.run(scenario()) == (False, True)


def test_a_success_starts_the_count_anew() -> None:
    """Failures between successes are not the service's."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        for _ in range(10):
            await _fail(circuit, gemini, OUTAGE, 2)
            gemini.outcome = [1, MissingScore("x")]
            await circuit.attempt(gemini.call, ThrottledTime())
        return circuit.is_open()

    assert not asyncio.run(scenario())


def test_answers_without_a_single_score_count() -> None:
    """A sound response of which no entry can be taken is as useless as none."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        gemini.outcome = [MissingScore("x"), MissingScore("x")]
        for _ in range(6):
            await circuit.attempt(gemini.call, ThrottledTime())
        return circuit.is_open()

    assert asyncio.run(scenario())


def test_what_tells_nothing_is_passed_over() -> None:
    """A 429 that slowing down will mend does not open it."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, lambda error: not isinstance(error, QuotaExhausted)), Gemini()
        await _fail(circuit, gemini, QuotaExhausted(), 50)
        return circuit.is_open()

    assert not asyncio.run(scenario())


def test_while_open_it_holds_calls_and_probes_one_at_a_time() -> None:
    """Twenty calls wait without one being refused; single probes are made, until one succeeds and lets all through."""

    async def scenario() -> None:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        gemini.calls, gemini.third_call = 0, asyncio.Event()
        throttled = ThrottledTime()

        async def persevering() -> Sequence[int | GeminiError]:
            while True:
                with contextlib.suppress(ServerFault):
                    return await circuit.attempt(gemini.call, throttled)

        held = [asyncio.create_task(persevering()) for _ in range(20)]
        await asyncio.wait_for(gemini.third_call.wait(), timeout=30)
        assert gemini.most_in_flight == 1
        assert circuit.is_open()
        assert not any(task.done() for task in held)
        gemini.outcome = [7]
        assert await asyncio.wait_for(asyncio.gather(*held), timeout=30) == [[7]] * 20
        assert not circuit.is_open()
        assert throttled.seconds > 0

    asyncio.run(scenario())


def test_a_held_call_that_is_given_up_leaves_the_line() -> None:
    """Those behind it get their turn."""

    async def scenario() -> None:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        gemini.outcome = [7]
        first, second = (asyncio.create_task(circuit.attempt(gemini.call, ThrottledTime())) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.wait_for(second, timeout=30) == [7]

    asyncio.run(scenario())


def test_operators_are_told_when_the_stream_stands_and_when_it_goes_on() -> None:
    """Opening is critical, closing is not; the entry has the error's class, and no text of a prompt."""

    async def scenario() -> None:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        gemini.outcome = [7]
        await circuit.attempt(gemini.call, ThrottledTime())

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert [entry["log_level"] for entry in logs] == ["critical", "warning"]
    assert logs[0]["error_class"] == "gemini_unavailable"
    assert logs[0]["error_severity"] == "CRITICAL"


def test_a_blocked_prompt_closes_an_outage() -> None:
    """Whatever a probe is answered, it is an answer: the service is back."""

    async def scenario() -> bool:
        circuit, gemini = GeminiCircuit(POLICY, _everything_tells), Gemini()
        await _fail(circuit, gemini, OUTAGE, 3)
        await _fail(circuit, gemini, BlockedPrompt("x"), 1)
        return circuit.is_open()

    assert not asyncio.run(scenario())
