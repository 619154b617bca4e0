"""The engine over a transport in memory: results of a batch, delays, and faults of this program."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schemas.failures import ErrorClass
from tests.fixtures.changes import enriched_change
from tests.fixtures.gemini_transport import FakeTransport, Reply, accounts_of, generation, sound_reply
from tests.fixtures.waiting import wait_until
from transforms.clients.gemini_api import CircuitPolicy, GeminiSettings, Generation, GenerationRequest
from transforms.clients.hold import Hold
from transforms.errors import (
    AccessRefused,
    BlockedPrompt,
    ConnectionLost,
    GeminiError,
    GeminiTimeout,
    HoldEnded,
    MissingScore,
    OutputTruncated,
    QuotaExhausted,
    ServerFault,
    Unauthenticated,
)
from transforms.score.account_scoring import split_calls
from transforms.score.scoring_engine import Answered, AnswerOrError, CallStats, ScoringEngine

BATCH = [enriched_change(number) for number in range(10)]
Start = Callable[..., tuple[ScoringEngine, FakeTransport]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts an engine over a transport in memory."""
    engines = []

    def started(reply: Reply | None = None, **fields: Any) -> tuple[ScoringEngine, FakeTransport]:
        transport = FakeTransport(reply)
        settings = {"deadline_seconds": 300.0, "outage_deadline_seconds": 300.0} | fields
        engine = ScoringEngine(GeminiSettings(project="p-123456", **settings), transport)
        engines.append(engine)
        return engine, transport

    yield started
    for engine in engines:
        engine.close()


def _score(
    engine: ScoringEngine, stats: CallStats | None = None, accounts_per_call: int = 5, hold: Hold | None = None
) -> list[AnswerOrError]:
    calls = split_calls(BATCH, accounts_per_call, engine.settings.max_prompt_tokens)
    settled = engine.submit(calls, stats or CallStats(), hold or Hold(300.0)).result(timeout=120)
    by_event = {
        item.change.event_id: answer
        for call, answers in zip(calls, settled, strict=True)
        for item, answer in zip(call, answers, strict=True)
    }
    return [by_event[item.change.event_id] for item in BATCH]


def test_a_batch_is_answered_and_counted(start: Start) -> None:
    """Each account has its answer and its index in the call; calls and generations are counted."""
    engine, transport = start()
    stats = CallStats()
    answers = _score(engine, stats)
    assert all(isinstance(answer, Answered) for answer in answers)
    names = [answer.answer.account_name for answer in answers if isinstance(answer, Answered)]
    assert names == [item.context.profile.name for item in BATCH]
    assert stats.calls == len(transport.requests) == len(stats.generations) == 2
    assert sorted(answer.index for answer in answers if isinstance(answer, Answered)) == sorted([*range(5)] * 2)
    assert not stats.failures


def test_calls_of_a_batch_are_in_flight_together(start: Start) -> None:
    """One thread waits for all of them at once."""
    engine, transport = start()
    _score(engine, accounts_per_call=1)
    assert transport.most_in_flight == 10


@pytest.mark.parametrize("calls", [1, 3])
def test_calls_at_once_stay_within_the_process_share(start: Start, calls: int) -> None:
    """However many calls wait; a share of one is enough for all of them in the end."""
    engine, transport = start(max_calls_in_flight=calls)
    assert all(isinstance(answer, Answered) for answer in _score(engine, accounts_per_call=1))
    assert transport.most_in_flight == calls


def test_failures_are_counted_by_kind(start: Start) -> None:
    """A failed call and a rejected entry are counted by the class of their error."""

    async def reply(request: GenerationRequest) -> Generation:
        names = [name for _, name in accounts_of(request)]
        if "Company 1" in names:
            raise BlockedPrompt("blocked")
        entries = json.loads((await sound_reply(request)).text)["scores"]
        return generation(json.dumps({"scores": [one for one in entries if one["account_name"] != "Company 2"]}))

    engine, _ = start(reply)
    stats = CallStats()
    answers = _score(engine, stats)
    assert isinstance(answers[1], BlockedPrompt)
    assert isinstance(answers[2], MissingScore)
    assert sum(isinstance(answer, Answered) for answer in answers) == 8
    assert set(stats.failures) == {BlockedPrompt, MissingScore}
    assert stats.failures[MissingScore] >= 2


def test_json_that_ends_too_early_is_truncated_output(start: Start) -> None:
    """The call is split, and not repeated as it is."""

    async def reply(request: GenerationRequest) -> Generation:
        whole = await sound_reply(request)
        return generation(whole.text[:-20]) if request.accounts > 1 else whole

    engine, transport = start(reply)
    stats = CallStats()
    assert all(isinstance(answer, Answered) for answer in _score(engine, stats, accounts_per_call=2))
    assert stats.failures == {OutputTruncated: 5}
    assert len(transport.requests) == 5 + 10


def test_a_call_without_an_end_is_a_timeout(start: Start) -> None:
    """The deadline covers the whole call."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 4" in [name for _, name in accounts_of(request)]:
            await asyncio.sleep(3_600)
        return await sound_reply(request)

    engine, transport = start(reply, deadline_seconds=0.5)
    answers = _score(engine, accounts_per_call=1)
    assert [type(answer) for answer in answers].count(Answered) == 9
    assert isinstance(answers[4], GeminiTimeout)
    assert transport.in_flight == 0, "the call past its deadline was cancelled"


def test_a_refused_token_is_refreshed_once_and_then_held(start: Start) -> None:
    """If a new token does not help, it is an outage: no account is dead-lettered before its deadline."""
    allowed = 2

    async def reply(request: GenerationRequest) -> Generation:
        if transport.refreshes < allowed:
            raise Unauthenticated("401")
        return await sound_reply(request)

    engine, transport = start(reply, circuit=CircuitPolicy(service_failures=2, probe_seconds=0.05))
    assert all(isinstance(answer, Answered) for answer in _score(engine))
    assert transport.refreshes >= allowed


def test_past_the_outage_deadline_every_account_is_unavailable(start: Start) -> None:
    """If the model does not exist, the batch is held until the deadline, and then fails."""

    async def reply(_: GenerationRequest) -> Generation:
        raise AccessRefused(404)

    engine, _ = start(reply, outage_deadline_seconds=2.0, circuit=CircuitPolicy(service_failures=2, probe_seconds=0.05))
    stats = CallStats()
    answers = _score(engine, stats)
    assert {answer.error_class for answer in answers if isinstance(answer, GeminiError)} == {
        ErrorClass.GEMINI_UNAVAILABLE
    }
    assert len(answers) == 10
    assert engine._circuit.is_open()
    assert stats.throttled.seconds > 0


def test_quota_lowers_the_number_of_calls_at_once(start: Start) -> None:
    """Calls over the server's limit are repeated later; all are answered, and the wait is throttled time."""

    async def reply(request: GenerationRequest) -> Generation:
        if transport.in_flight > 2:
            raise QuotaExhausted
        await asyncio.sleep(0.01)
        return await sound_reply(request)

    engine, transport = start(reply)
    stats = CallStats()
    assert all(isinstance(answer, Answered) for answer in _score(engine, stats, accounts_per_call=1))
    assert stats.failures[QuotaExhausted] >= 8
    assert stats.throttled.seconds > 0


def test_a_quota_that_one_call_meets_is_held_though_others_succeed(start: Start) -> None:
    """The circuit stays closed; the call is held for the bundle's hold, and not for the outage deadline."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 1" in [name for _, name in accounts_of(request)]:
            raise QuotaExhausted
        return await sound_reply(request)

    others_succeed = CircuitPolicy(service_failures=1_000)
    engine, _ = start(reply, outage_deadline_seconds=3_600.0, circuit=others_succeed)
    hold = Hold(0.2)
    answers = _score(engine, accounts_per_call=1, hold=hold)
    assert hold.is_over
    assert not engine._circuit.is_open()
    assert [type(answer) for answer in answers] == [Answered, HoldEnded, *[Answered] * 8]


def test_a_retry_after_does_not_outlast_the_hold(start: Start) -> None:
    """The server may ask for two minutes; a bundle with paid answers does not wait for them."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 1" in [name for _, name in accounts_of(request)]:
            raise QuotaExhausted(retry_after_seconds=100_000)
        return await sound_reply(request)

    engine, transport = start(reply, outage_deadline_seconds=3_600.0)
    answers = _score(engine, accounts_per_call=1, hold=Hold(0.2))
    assert [type(answer) for answer in answers] == [Answered, HoldEnded, *[Answered] * 8]
    assert len(transport.requests) <= 10 + 1, "one more attempt when the hold ends"


@pytest.mark.parametrize("error", [AccessRefused(403), Unauthenticated("401"), ServerFault(503), ConnectionLost("x")])
def test_any_failure_of_the_service_begins_the_hold(start: Start, error: GeminiError) -> None:
    """A lone account is then held for no longer than its bundle, whatever the circuit does."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 1" in [name for _, name in accounts_of(request)]:
            raise error
        return await sound_reply(request)

    engine, _ = start(reply, outage_deadline_seconds=3_600.0, circuit=CircuitPolicy(service_failures=1_000))
    hold = Hold(0.0)
    answers = _score(engine, accounts_per_call=1, hold=hold)
    assert hold.has_begun
    assert [type(answer) for answer in answers] == [Answered, HoldEnded, *[Answered] * 8]


def test_an_account_that_fails_its_call_is_found_after_the_hold(start: Start) -> None:
    """Of several accounts one may be the cause of a server fault: the others are scored, and not parked with it."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 1" in [name for _, name in accounts_of(request)]:
            raise ServerFault(500)
        return await sound_reply(request)

    engine, _ = start(reply, outage_deadline_seconds=3_600.0, circuit=CircuitPolicy(service_failures=1_000))
    answers = _score(engine, accounts_per_call=5, hold=Hold(0.0))
    assert [type(answer) for answer in answers] == [Answered, HoldEnded, *[Answered] * 8]


def test_a_refused_call_waits_for_its_turn_until_its_hold_ends(start: Start) -> None:
    """Its retry is behind others in the queue of the limit; the circuit does not count a call that was not made."""
    may_refuse, may_answer = asyncio.Event(), asyncio.Event()

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 1" in [name for _, name in accounts_of(request)]:
            await may_refuse.wait()
            raise QuotaExhausted
        await may_answer.wait()
        return await sound_reply(request)

    policy = CircuitPolicy(service_failures=2)
    engine, transport = start(reply, max_calls_in_flight=1, outage_deadline_seconds=3_600.0, circuit=policy)
    refused = engine.submit([[BATCH[1]]], CallStats(), Hold(0.1))
    wait_until(lambda: transport.in_flight)
    slow = engine.submit([[BATCH[2]]], CallStats(), Hold(0.0))
    wait_until(lambda: engine._limiter._waiting)
    engine._loop.call_soon_threadsafe(may_refuse.set)
    ((answer,),) = refused.result(timeout=120)
    assert isinstance(answer, HoldEnded)
    assert not engine._circuit.is_open()
    engine._loop.call_soon_threadsafe(may_answer.set)
    assert isinstance(slow.result(timeout=120)[0][0], Answered)
    assert len(transport.requests) == 2


def test_a_prompt_over_the_limit_is_never_sent(start: Start) -> None:
    """An account whose own prompt is too large fails without a call."""
    engine, transport = start(max_prompt_tokens=50)
    answers = _score(engine)
    assert {answer.error_class for answer in answers if isinstance(answer, GeminiError)} == {
        ErrorClass.PROMPT_TOO_LARGE
    }
    assert not transport.requests


def test_a_fault_of_this_program_ends_the_batch(start: Start) -> None:
    """An exception other than GeminiError is raised after the other calls have ended; the runner retries the bundle."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 0" in [name for _, name in accounts_of(request)]:
            raise ZeroDivisionError
        await asyncio.sleep(3_600)
        return await sound_reply(request)

    engine, transport = start(reply, deadline_seconds=3_600.0)
    with pytest.raises(ExceptionGroup) as failure:
        _score(engine)
    assert failure.group_contains(ZeroDivisionError)
    assert transport.in_flight == 0


def test_closing_the_engine_closes_the_transport() -> None:
    """The transport is closed with the engine."""
    transport = FakeTransport()
    ScoringEngine(GeminiSettings(project="p-123456"), transport).close()
    assert transport.is_closed
