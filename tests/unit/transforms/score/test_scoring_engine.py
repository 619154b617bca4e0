"""The engine over a transport in memory: what a batch ends with, what is held, and what a fault of ours does."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schemas.failures import ErrorClass
from tests.fixtures.changes import enriched_change
from tests.fixtures.gemini_transport import FakeTransport, Reply, accounts_of, generation, sound_reply
from transforms.clients.circuit import CircuitPolicy
from transforms.clients.gemini_api import GeminiSettings, Generation, GenerationRequest
from transforms.errors import (
    AccessRefused,
    BlockedPrompt,
    GeminiError,
    GeminiTimeout,
    MissingScore,
    OutputTruncated,
    QuotaExhausted,
    Unauthenticated,
)
from transforms.score.score_accounts import split_calls
from transforms.score.scoring_engine import Answered, ScoringEngine, Tally, Verdict

BATCH = [enriched_change(number) for number in range(10)]
Start = Callable[..., tuple[ScoringEngine, FakeTransport]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what starts an engine over a transport in memory."""
    engines = []

    def started(reply: Reply | None = None, **fields: Any) -> tuple[ScoringEngine, FakeTransport]:
        transport = FakeTransport(reply)
        settings = {"deadline_seconds": 5.0, "outage_deadline_seconds": 30.0} | fields
        engine = ScoringEngine(GeminiSettings(project="p-123456", **settings), transport)
        engines.append(engine)
        return engine, transport

    yield started
    for engine in engines:
        engine.close()


def _score(engine: ScoringEngine, tally: Tally | None = None, accounts_per_call: int = 5) -> list[Verdict]:
    calls = split_calls(BATCH, accounts_per_call, engine.settings.max_prompt_tokens)
    settled = engine.submit(calls, tally or Tally()).result(timeout=60)
    by_event = {
        item.change.event_id: verdict
        for call, verdicts in zip(calls, settled, strict=True)
        for item, verdict in zip(call, verdicts, strict=True)
    }
    return [by_event[item.change.event_id] for item in BATCH]


def test_a_batch_is_answered_and_tallied(start: Start) -> None:
    """Each account has its answer and its place in its call; calls and generations are added up."""
    engine, transport = start()
    tally = Tally()
    verdicts = _score(engine, tally)
    assert all(isinstance(verdict, Answered) for verdict in verdicts)
    names = [verdict.answer.account_name for verdict in verdicts if isinstance(verdict, Answered)]
    assert names == [item.context.profile.name for item in BATCH]
    assert tally.calls == len(transport.requests) == len(tally.generations) == 2
    assert sorted(verdict.place for verdict in verdicts if isinstance(verdict, Answered)) == sorted([*range(5)] * 2)
    assert not tally.failures


def test_calls_of_a_batch_are_in_flight_together(start: Start) -> None:
    """One thread waits for all of them at once."""
    engine, transport = start()
    _score(engine, accounts_per_call=1)
    assert transport.most_in_flight == 10


def test_failures_are_tallied_by_kind(start: Start) -> None:
    """A call that fails and an entry that can't be taken are counted under their kinds."""

    async def reply(request: GenerationRequest) -> Generation:
        names = [name for _, name in accounts_of(request)]
        if "Company 1" in names:
            raise BlockedPrompt("blocked")
        entries = json.loads((await sound_reply(request)).text)["scores"]
        return generation(json.dumps({"scores": [one for one in entries if one["account_name"] != "Company 2"]}))

    engine, _ = start(reply)
    tally = Tally()
    verdicts = _score(engine, tally)
    assert isinstance(verdicts[1], BlockedPrompt)
    assert isinstance(verdicts[2], MissingScore)
    assert sum(isinstance(verdict, Answered) for verdict in verdicts) == 8
    assert set(tally.failures) == {BlockedPrompt, MissingScore}
    assert tally.failures[MissingScore] >= 2


def test_json_that_ends_too_early_is_truncated_output(start: Start) -> None:
    """It is split, and not asked for again as it is."""

    async def reply(request: GenerationRequest) -> Generation:
        whole = await sound_reply(request)
        return generation(whole.text[:-20]) if request.accounts > 1 else whole

    engine, transport = start(reply)
    tally = Tally()
    assert all(isinstance(verdict, Answered) for verdict in _score(engine, tally, accounts_per_call=2))
    assert tally.failures == {OutputTruncated: 5}
    assert len(transport.requests) == 5 + 10


def test_a_call_without_an_end_is_a_timeout(start: Start) -> None:
    """The deadline covers the whole of it, whatever it waits for."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 4" in [name for _, name in accounts_of(request)]:
            await asyncio.sleep(3_600)
        return await sound_reply(request)

    engine, transport = start(reply, deadline_seconds=0.2)
    verdicts = _score(engine)
    assert [type(verdict) for verdict in verdicts].count(Answered) == 9
    assert isinstance(verdicts[4], GeminiTimeout)
    assert transport.in_flight == 0, "what was given up was cancelled"


def test_a_refused_token_is_refreshed_once_and_then_held(start: Start) -> None:
    """A new token helps, or else it is an outage: nobody becomes a dead letter before its deadline."""
    allowed = 2

    async def reply(request: GenerationRequest) -> Generation:
        if transport.refreshes < allowed:
            raise Unauthenticated("401")
        return await sound_reply(request)

    engine, transport = start(reply, circuit=CircuitPolicy(service_failures=2, probe_seconds=0.05))
    assert all(isinstance(verdict, Answered) for verdict in _score(engine))
    assert transport.refreshes >= allowed


def test_past_the_outage_deadline_every_account_is_unavailable(start: Start) -> None:
    """A model that is gone holds the batch, and in the end gives it back, all of it."""

    async def reply(_: GenerationRequest) -> Generation:
        raise AccessRefused(404)

    engine, _ = start(reply, outage_deadline_seconds=0.8, circuit=CircuitPolicy(service_failures=2, probe_seconds=0.05))
    tally = Tally()
    verdicts = _score(engine, tally)
    assert {verdict.error_class for verdict in verdicts if isinstance(verdict, GeminiError)} == {
        ErrorClass.GEMINI_UNAVAILABLE
    }
    assert len(verdicts) == 10
    assert engine.is_held
    assert tally.throttled.seconds > 0


def test_quota_lowers_the_number_of_calls_at_once(start: Start) -> None:
    """Calls beyond what the server takes are made again later; all are answered, and the wait is throttled time."""

    async def reply(request: GenerationRequest) -> Generation:
        if transport.in_flight > 2:
            raise QuotaExhausted
        await asyncio.sleep(0.01)
        return await sound_reply(request)

    engine, transport = start(reply)
    tally = Tally()
    assert all(isinstance(verdict, Answered) for verdict in _score(engine, tally, accounts_per_call=1))
    assert tally.failures[QuotaExhausted] >= 8
    assert tally.throttled.seconds > 0


def test_a_prompt_over_the_limit_is_never_sent(start: Start) -> None:
    """An account whose prompt is too large by itself is refused without a call."""
    engine, transport = start(max_prompt_tokens=50)
    verdicts = _score(engine)
    assert {verdict.error_class for verdict in verdicts if isinstance(verdict, GeminiError)} == {
        ErrorClass.PROMPT_TOO_LARGE
    }
    assert not transport.requests


def test_a_fault_of_this_program_ends_the_batch(start: Start) -> None:
    """An exception that is none of Gemini's is raised, after the other calls have ended: the runner tries again."""

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


def test_closing_gives_connections_back() -> None:
    """The transport is closed with the engine."""
    transport = FakeTransport()
    ScoringEngine(GeminiSettings(project="p-123456"), transport).close()
    assert transport.is_closed
