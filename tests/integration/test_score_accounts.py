"""Scoring against the stand-in over real connections: the error class of every fault, and its cost in calls."""

import dataclasses
import datetime as dt
import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import pytest
import tenacity

from pipeline.local.gemini import Fault, FaultKind, GeminiStandIn
from pipeline.local.stack import PROJECT
from schemas.account_context import EnrichedChange
from schemas.change_event import ChangeOrder
from schemas.outcome import OutcomeKind, ScoringResult
from tests.fixtures.changes import COMMITTED_AT, change, enriched_change
from transforms.clients.gemini_api import CircuitPolicy, GeminiSettings
from transforms.clients.outage import THROTTLED_COUNTER
from transforms.score import retries
from transforms.score.score_accounts import ScoreAccounts, _Score
from transforms.score.scoring_engine import ScoringEngine

BATCH = [enriched_change(number) for number in range(10)]
POISON = "Company 3"  # the account with this name is in the first of a batch's two calls
SETTINGS = GeminiSettings(
    project=PROJECT,
    deadline_seconds=30.0,
    outage_deadline_seconds=240.0,
    circuit=CircuitPolicy(service_failures=5, useless_answers=20, probe_seconds=0.1),
)
ENDLESS = frozenset({"no_answer", "half_open", "dripping"})
"""Faults that only a deadline ends."""


@pytest.fixture(autouse=True)
def _sound(gemini: GeminiStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Configure the stand-in without faults, before and after the test; shorten the waits between attempts."""
    monkeypatch.setattr(retries, "_full_jitter", tenacity.wait_random_exponential(multiplier=0.02, max=0.2))
    gemini.configure(faults=[], max_concurrency=None, latency="instant", drip_seconds=0.2)
    gemini.reset()
    yield
    gemini.configure(faults=[], max_concurrency=None, latency="instant")


@pytest.fixture
def engine(gemini: GeminiStandIn, request: pytest.FixtureRequest) -> Iterator[ScoringEngine]:
    """Return an engine, with a short deadline if the test is about a fault that only a deadline ends."""
    kind = request.getfixturevalue("kind") if "kind" in request.fixturenames else ""
    started = ScoringEngine(dataclasses.replace(SETTINGS, deadline_seconds=1.0) if kind in ENDLESS else SETTINGS)
    yield started
    started.close()


def _step(engine: ScoringEngine, accounts_per_call: int = 5) -> _Score:
    step = _Score(ScoreAccounts(engine.settings, "1", accounts_per_call))
    step.engine = engine
    return step


def _score(engine: ScoringEngine, batch: Sequence[EnrichedChange] = BATCH, **options: int) -> list[ScoringResult]:
    return list(_step(engine, **options).process(batch))


def _counts(results: list[ScoringResult]) -> Counter[str]:
    return Counter(
        "scored" if result.scored else str(result.dead_letter and result.dead_letter.error_class) for result in results
    )


def _ids(results: list[ScoringResult]) -> list[str]:
    return sorted(
        r.scored.score.event_ids[0] if r.scored else r.dead_letter.event_id if r.dead_letter else "" for r in results
    )


def test_every_account_of_a_batch_is_scored(engine: ScoringEngine, gemini: GeminiStandIn) -> None:
    """Ten accounts take two calls; each has its score, its cost and its outcome."""
    results = _score(engine)
    assert _counts(results) == {"scored": 10}
    assert gemini.stats().calls == 2
    scores = [result.scored.score for result in results if result.scored]
    assert {score.account_id for score in scores} == {item.change.account_id for item in BATCH}
    assert all(score.accounts_in_call == 5 for score in scores)
    assert sum(score.prompt_tokens or 0 for score in scores) == gemini.stats().prompt_tokens
    assert {result.scored.outcome.outcome for result in results if result.scored} == {OutcomeKind.SCORED}


def test_a_late_change_is_scored_as_of_the_order_that_it_follows(engine: ScoringEngine) -> None:
    """Its row has that order; the score's identity is the event's."""
    after = ChangeOrder(COMMITTED_AT + dt.timedelta(days=1), 8)
    (result,) = _score(engine, [enriched_change(1, scored_as_of=after)])
    assert result.scored
    row = result.scored.score
    assert (row.change_committed_at, row.change_sequence) == after
    assert row.event_ids == (change(1).event_id,)
    assert result.scored.outcome.committed_at == COMMITTED_AT


def test_a_score_does_not_depend_on_its_neighbours(engine: ScoringEngine) -> None:
    """An account that is scored alone gets the same score as among others."""
    together = {r.scored.score.account_id: r.scored.score.score for r in _score(engine) if r.scored}
    alone = {r.scored.score.account_id: r.scored.score.score for r in _score(engine, accounts_per_call=1) if r.scored}
    assert alone == together


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("http_429", 3),
        ("http_499", 2),
        ("http_500", 2),
        ("http_503", 2),
        ("http_504", 2),
        ("connection_dropped", 2),
        ("connection_dropped_mid_answer", 2),
        ("no_answer", 1),
        ("half_open", 1),
        ("dripping", 1),
        ("invalid_json", 1),
        ("fenced_json", 1),
        ("prose", 1),
        ("score_nan", 1),
        ("finish_recitation", 1),
        ("finish_other", 1),
        ("finish_language", 1),
        ("finish_malformed_function_call", 1),
        ("finish_unknown", 1),
        ("item_missing", 1),
        ("item_unknown_id", 1),
        ("item_doubled", 1),
        ("score_out_of_range", 1),
        ("score_boolean", 1),
        ("score_text", 1),
        ("score_float", 1),
    ],
)
def test_a_transient_fault_costs_calls_and_no_score(
    engine: ScoringEngine, gemini: GeminiStandIn, kind: str, limit: int
) -> None:
    """Each occurrence costs one more call: a retry, or a call for the account whose entry was invalid."""
    gemini.configure(faults=[Fault(kind=FaultKind(kind), limit=limit)])
    assert _counts(_score(engine)) == {"scored": 10}
    calls = gemini.stats().calls
    # On a busy machine a sound call can outlast the short deadline, too.
    assert calls >= 2 + limit if kind in ENDLESS else calls == 2 + limit


@pytest.mark.parametrize(
    ("kind", "error_class"),
    [
        ("http_400", "prompt_too_large"),
        ("max_tokens", "output_truncated"),
        ("truncated_json", "output_truncated"),
        ("invalid_json", "invalid_response"),
        ("fenced_json", "invalid_response"),
        ("prose", "invalid_response"),
        ("finish_safety", "blocked_response"),
        ("finish_blocklist", "blocked_response"),
        ("finish_spii", "blocked_response"),
        ("finish_prohibited_content", "blocked_response"),
        ("finish_recitation", "blocked_response"),
        ("finish_unknown", "blocked_response"),
        ("no_candidates", "blocked_response"),
        ("prompt_blocked", "blocked_prompt"),
        ("item_missing", "missing_score"),
        ("item_unknown_id", "missing_score"),
        ("item_doubled", "mismatched_score"),
        ("score_out_of_range", "invalid_score"),
        ("score_boolean", "invalid_score"),
        ("score_text", "invalid_score"),
        ("score_float", "invalid_score"),
        ("no_answer", "gemini_timeout"),
    ],
)
def test_a_poison_account_ends_alone(engine: ScoringEngine, gemini: GeminiStandIn, kind: str, error_class: str) -> None:
    """An account that always fails becomes a dead letter of its class, within the bound of further calls."""
    gemini.configure(faults=[Fault(kind=FaultKind(kind), match=POISON)])
    results = _score(engine)
    assert _counts(results) == {"scored": 9, error_class: 1}
    (dead_letter,) = [result.dead_letter for result in results if result.dead_letter]
    assert dead_letter.account_id == BATCH[3].change.account_id
    assert dead_letter.source.payload == BATCH[3].change.source.payload
    assert "Company" not in dead_letter.error_message
    assert kind in ENDLESS or gemini.stats().calls - 2 <= 2 * math.log2(5) + 1


def test_swapped_entries_are_rejected(engine: ScoringEngine, gemini: GeminiStandIn) -> None:
    """Two accounts whose entries were swapped are both rejected, and each gets a call of its own."""
    clean = {r.scored.score.account_id: r.scored.score.score for r in _score(engine) if r.scored}
    gemini.reset()
    gemini.configure(faults=[Fault(kind=FaultKind.ITEMS_SWAPPED)])
    results = _score(engine)
    assert {r.scored.score.account_id: r.scored.score.score for r in results if r.scored} == clean
    assert gemini.stats().calls == 2 + 4


def test_a_server_fault_that_one_account_causes_fails_that_account(gemini: GeminiStandIn) -> None:
    """A persistent 500 splits the call, also while the circuit is open; the account's dead letter is retryable."""
    engine = ScoringEngine(dataclasses.replace(SETTINGS, outage_deadline_seconds=6))
    gemini.configure(faults=[Fault(kind=FaultKind.HTTP_500, match=POISON)])
    results = _score(engine)
    engine.close()
    assert _counts(results) == {"scored": 9, "gemini_unavailable": 1}
    assert all(result.dead_letter.error_class.retryable for result in results if result.dead_letter)


def test_a_refused_token_is_replaced_once(engine: ScoringEngine, gemini: GeminiStandIn) -> None:
    """Calls refused at the same time share the new token, and are repeated at once."""
    _score(engine)
    gemini.reset()
    gemini.configure(faults=[Fault(kind=FaultKind.HTTP_401, limit=2)])
    assert _counts(_score(engine)) == {"scored": 10}
    assert gemini.stats().calls == 4
    assert gemini.stats().tokens_granted == 1


@pytest.mark.parametrize(
    "kind",
    [
        *("http_400", "http_401", "http_403", "http_404", "http_429", "http_499", "http_500", "http_503", "http_504"),
        *("connection_dropped", "half_open", "finish_safety", "prompt_blocked", "prose", "item_missing"),
    ],
)
def test_a_systemic_fault_holds_the_stream(engine: ScoringEngine, gemini: GeminiStandIn, kind: str) -> None:
    """If every call fails, the circuit opens, batches wait, and at most one batch becomes dead letters.

    Three batches of twenty accounts are in progress when Gemini recovers.
    """
    probes = 1 if kind == "half_open" else 3  # each half-open call lasts for the whole deadline
    accounts_per_call = 1 if kind.startswith("item_") else 4
    batches = [[enriched_change(20 * batch + number) for number in range(20)] for batch in range(3)]
    gemini.configure(faults=[Fault(kind=FaultKind(kind))])
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(_score, engine, batch, accounts_per_call=accounts_per_call) for batch in batches]
        _wait_until(engine._circuit.is_open)
        calls = gemini.stats().calls
        _wait_until(lambda: gemini.stats().calls >= calls + probes)
        gemini.configure(faults=[])
        results = [future.result(timeout=240) for future in running]
    assert [_ids(result) for result in results] == [sorted(i.change.event_id for i in batch) for batch in batches]
    counts = sum((_counts(result) for result in results), Counter[str]())
    assert 60 - counts["scored"] <= 20
    assert not engine._circuit.is_open()


@pytest.mark.parametrize("kind", ["http_503", "http_404", "http_429"])
def test_past_the_outage_deadline_held_accounts_are_retryable_dead_letters(gemini: GeminiStandIn, kind: str) -> None:
    """An outage past the deadline dead-letters the held batch, as retryable; the throttled time is counted."""
    engine = ScoringEngine(
        GeminiSettings(
            project=PROJECT, outage_deadline_seconds=1, circuit=CircuitPolicy(service_failures=3, probe_seconds=0.1)
        )
    )
    gemini.configure(faults=[Fault(kind=FaultKind(kind))])
    step = _step(engine)
    waits: list[float] = []
    step.throttled = waits.append
    started = time.monotonic()
    results = list(step.process(BATCH))
    elapsed = time.monotonic() - started
    engine.close()
    assert _counts(results) == {"gemini_unavailable": 10}
    assert elapsed >= 1
    assert 0 < sum(waits) <= elapsed


def _wait_until(condition: Any, seconds: float = 240.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition did not become true"
        time.sleep(0.01)


def test_the_servers_cap_is_found(engine: ScoringEngine, gemini: GeminiStandIn) -> None:
    """With a cap of ten calls, all of three hundred accounts are scored, and few calls are refused."""
    gemini.configure(max_concurrency=10, latency={"mean_seconds": 0.02})
    batch = [enriched_change(number) for number in range(300)]
    assert _counts(_score(engine, batch, accounts_per_call=1)) == {"scored": 300}
    refused = gemini.stats().by_status.get("429", 0)
    assert refused <= 22 + 0.1 * 300, "22: the first limit of 32 less the cap"


def test_each_account_ends_once(engine: ScoringEngine, gemini: GeminiStandIn, run_seed: int) -> None:
    """With mixed faults on a tenth of the calls, each account of the batches has exactly one score or dead letter."""
    dice = random.Random(run_seed)
    slow = {FaultKind.NO_ANSWER, FaultKind.HALF_OPEN, FaultKind.DRIPPING}
    kinds = [kind for kind in FaultKind if kind not in slow]
    dice.shuffle(kinds)
    gemini.configure(faults=[Fault(kind=kind, rate=0.1 / len(kinds), seed=dice.randrange(2**31)) for kind in kinds])
    batches = [[enriched_change(40 * batch + number) for number in range(40)] for batch in range(10)]
    with ThreadPoolExecutor(5) as threads:
        results = list(threads.map(lambda batch: _score(engine, batch), batches))
    assert [_ids(result) for result in results] == [sorted(i.change.event_id for i in batch) for batch in batches]
    assert gemini.stats().by_fault


def test_the_pipelines_counters_have_the_cost_of_batches(gemini: GeminiStandIn) -> None:
    """Scores, calls, tokens, failures and throttled seconds are Beam counters."""
    gemini.configure(max_concurrency=1, latency={"mean_seconds": 0.3}, faults=[Fault(kind=FaultKind.PROSE, limit=1)])
    settings = dataclasses.replace(SETTINGS, max_calls_in_flight=33)  # an engine of its own
    pipeline = beam.Pipeline(runner="DirectRunner")
    pipeline | beam.Create([BATCH]) | ScoreAccounts(settings, "1", accounts_per_call=2)
    result = pipeline.run()
    result.wait_until_finish()
    counters = {one.key.metric.name: one.committed for one in result.metrics().query()["counters"]}
    stats = gemini.stats()
    assert counters["scored_total"] == 10
    assert counters["gemini_calls_total"] == stats.calls
    assert counters["vertex_ai_token_usage_total"] == stats.prompt_tokens + stats.output_tokens
    assert counters[THROTTLED_COUNTER] >= 1, "four of five calls wait for 0.3 s each, at least"


def test_the_model_that_answered_is_on_the_row(engine: ScoringEngine, gemini: GeminiStandIn) -> None:
    """The row has both the requested model and the version that the response names."""
    gemini.configure(faults=[Fault(kind=FaultKind.OTHER_MODEL_VERSION)])
    scores: list[Any] = [result.scored.score for result in _score(engine) if result.scored]
    assert all(score.model_version != score.model for score in scores)
