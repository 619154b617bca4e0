"""Changes that Gemini could not score are parked by an SDK harness of its own process, as on a Dataflow worker."""

import sys
from collections import Counter
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline.local.gemini import Fault, FaultKind, GeminiStandIn
from pipeline.local.stack import PROJECT
from schemas.account_context import EnrichedChange
from schemas.change_event import AccountChange
from schemas.outcome import ScoringResult
from tests.fixtures.changes import change, context
from transforms.clients.gemini_api import CircuitPolicy, GeminiSettings
from transforms.score.score_accounts import ScoreAccounts

HARNESS = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main"
ACCOUNTS = 12
QUICK = CircuitPolicy(service_failures=2, probe_seconds=0.05, hold_seconds=0.1, release_seconds=0.2, park_seconds=0.1)


def _in_batches(changes: list[AccountChange]) -> list[list[EnrichedChange]]:
    number = {it.event_id: int(it.event_id, 16) for it in changes}
    enriched = [EnrichedChange(change=it, context=context(number[it.event_id])) for it in changes]
    return [enriched[start : start + 4] for start in range(0, len(enriched), 4)]


def _end_of(result: ScoringResult) -> tuple[str, str]:
    if result.scored:
        return result.scored.score.event_ids[0], "scored"
    letter = result.dead_letter
    return (letter.event_id, letter.error_class.value) if letter else ("", "")


@pytest.mark.parametrize(("failures", "seconds", "end"), [(30, 240.0, "scored"), (10**6, 3.0, "gemini_unavailable")])
def test_an_outage_parks_changes_in_the_state_of_a_harness(
    gemini: GeminiStandIn, failures: int, seconds: float, end: str
) -> None:
    """After the outage each account is scored by one call; past the deadline each is one retryable dead letter."""
    gemini.configure(faults=[Fault(kind=FaultKind.HTTP_503, limit=failures)], latency="instant")
    gemini.reset()
    settings = GeminiSettings(project=PROJECT, outage_deadline_seconds=seconds, circuit=QUICK)

    def check(ends: list[Any]) -> None:
        assert sorted(ends) == [(f"{number:032x}", end) for number in range(ACCOUNTS)]

    runner = FnApiRunner(default_environment=SubprocessSDKEnvironment(command_string=HARNESS))
    pipeline = beam.Pipeline(runner=runner)
    changes = pipeline | beam.Create([list(map(change, range(ACCOUNTS)))]) | beam.Reshuffle()
    batches = changes | "Batch" >> beam.FlatMap(_in_batches).with_output_types(list[EnrichedChange])
    batches.is_bounded = False  # for a subscription, which FnApiRunner can't read
    results = batches | ScoreAccounts(settings, "1", 1)
    # As in the job: what is behind it never repeats a call.
    assert_that(results | "Reshuffle results" >> beam.Reshuffle() | beam.Map(_end_of), check)
    finished = pipeline.run()
    finished.wait_until_finish()
    stats = gemini.stats()
    gemini.configure(faults=[])
    answered = {"200": ACCOUNTS} if end == "scored" else {}
    assert Counter(stats.by_status) - Counter({"503": stats.calls}) == answered
    parked = _counter(finished, "parked_total")
    assert parked > 0
    assert _counter(finished, "released_total") == (parked if end == "scored" else 0)


def _counter(result: Any, name: str) -> int:
    counters = result.metrics().query(beam.metrics.MetricsFilter().with_name(name))["counters"]
    return int(sum(it.result for it in counters))
