"""While Gemini fails as a whole, bundles end, changes wait in state, and each is scored once or given up once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pytest
import tenacity
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue

from pipeline.local.runner import LocalRunner
from schemas.account_context import EnrichedChange
from schemas.outcome import ScoringResult
from tests.fixtures.changes import change, enriched_change
from tests.fixtures.gemini_transport import FakeTransport, accounts_of, sound_reply
from transforms.clients.gemini_api import CircuitPolicy, GeminiSettings, Generation, GenerationRequest
from transforms.errors import QuotaExhausted, ServerFault
from transforms.score import account_scoring, retries
from transforms.score.account_scoring import EngineDied
from transforms.score.score_accounts import PARKED, ScoreAccounts, _Score, _TryToScore
from transforms.score.scoring_engine import ScoringEngine, shared_engine

QUICK = CircuitPolicy(
    service_failures=1, probe_seconds=0.01, hold_seconds=0.05, release_seconds=0.05, park_seconds=0.02
)
SETTINGS = GeminiSettings(project="p-123456", outage_deadline_seconds=300.0, circuit=QUICK)
NEVER = replace(QUICK, park_seconds=10_000.0)
STREAMING = PipelineOptions(["--streaming"])
STEADY = {"Company 1", "Company 2"}
"""Accounts whose calls succeed even during an outage."""


class Outage:
    """Gemini fails so many calls, except those for STEADY accounts; answered accounts are counted."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.answered: Counter[str] = Counter()
        self._counting = threading.Lock()

    async def reply(self, request: GenerationRequest) -> Generation:
        """Answer a call, or fail it."""
        names = [name for _, name in accounts_of(request)]
        with self._counting:
            if self.failures and not STEADY.issuperset(names):
                self.failures -= 1
                raise ServerFault(503)
            self.answered.update(names)
        return await sound_reply(request)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ScoringEngine]]:
    """Make DoFns use the engine under `it`; shorten the waits between attempts."""
    made: dict[str, ScoringEngine] = {}
    monkeypatch.setattr(account_scoring, "shared_engine", lambda _: made["it"])
    monkeypatch.setattr(retries, "_full_jitter", tenacity.wait_random_exponential(multiplier=0.002, max=0.02))
    yield made
    if made["it"].is_alive:
        made["it"].close()


_results: list[ScoringResult] = []


def _keep(result: ScoringResult) -> None:
    _results.append(result)


def _score(
    batches: Iterable[list[EnrichedChange]], settings: GeminiSettings, *, advances: bool = True, per_call: int = 1
) -> None:
    """Score batches on the local runner, which obeys the stream's clock: timers that are due fire at once."""
    _results.clear()
    stream = TestStream().advance_watermark_to(0).add_elements([TimestampedValue(batch, 0) for batch in batches])
    if advances:
        stream = stream.advance_processing_time(2**32)
    with TestPipeline(runner=LocalRunner(), options=STREAMING) as pipeline:
        typed = pipeline | stream.advance_watermark_to_infinity() | beam.Map(lambda it: it)
        typed | ScoreAccounts(settings, "1", per_call) | beam.Map(_keep)


def _ends() -> Counter[str]:
    return Counter(
        "scored" if it.scored else str(it.dead_letter and it.dead_letter.error_class.value) for it in _results
    )


def _started(engines: dict[str, ScoringEngine], outage: Outage, settings: GeminiSettings) -> FakeTransport:
    transport = FakeTransport(outage.reply)
    engines["it"] = ScoringEngine(settings, transport)
    return transport


BATCH = [enriched_change(number) for number in range(1, 6)]


def test_what_was_scored_is_emitted_and_the_rest_waits_in_state(engines: dict[str, ScoringEngine]) -> None:
    """Each account is paid for once, however often its batch is tried again, and none is lost."""
    outage = Outage(failures=20)
    _started(engines, outage, SETTINGS)
    _score([BATCH], SETTINGS)
    assert _ends() == {"scored": 5}
    assert outage.answered == {f"Company {number}": 1 for number in range(1, 6)}


def test_parked_accounts_share_calls(engines: dict[str, ScoringEngine]) -> None:
    """A batch is released as a batch."""
    outage = Outage(failures=12)
    transport = _started(engines, outage, SETTINGS)
    batch = [enriched_change(number) for number in range(10, 15)]
    _score([batch], SETTINGS, per_call=5)
    assert _ends() == {"scored": 5}
    assert transport.requests[-1].accounts == 5


def test_a_change_has_one_deadline_from_its_first_try(engines: dict[str, ScoringEngine]) -> None:
    """Parked changes of an outage that goes on are given up as retryable, each once; those that were scored stay so."""
    settings = replace(SETTINGS, outage_deadline_seconds=0.5)
    _started(engines, Outage(failures=10**9), settings)
    _score([BATCH, [enriched_change(8), enriched_change(9)]], settings)
    assert _ends() == {"scored": 2, "gemini_unavailable": 5}
    (message,) = {it.dead_letter.error_message for it in _results if it.dead_letter}
    assert message == "Gemini was unavailable for 0.5 s"


def test_the_end_of_the_input_waits_for_gemini(engines: dict[str, ScoringEngine]) -> None:
    """At a drain no later timer need fire: what is parked is scored then, or given up at its deadline."""
    settings = replace(SETTINGS, circuit=NEVER)
    outage = Outage(failures=20)
    _started(engines, outage, settings)
    _score([BATCH], settings, advances=False)
    assert _ends() == {"scored": 5}
    assert set(outage.answered.values()) == {1}


def test_a_replay_of_a_parked_batch_does_not_replace_it(engines: dict[str, ScoringEngine]) -> None:
    """Both have the event ids, and so the key; each is an event of the ledger of its own."""
    _started(engines, Outage(failures=20), SETTINGS)
    _score([BATCH[2:], BATCH[2:]], SETTINGS)
    assert _ends() == {"scored": 6}


class _FailsTwice(beam.DoFn):
    """A sink that fails, so that the runner repeats its bundle."""

    failures = 2

    def process(self, result: ScoringResult) -> None:
        if result.scored and _FailsTwice.failures:
            _FailsTwice.failures -= 1
            raise OSError("the sink does not answer")
        _results.append(result)


def test_nothing_is_paid_twice_when_a_bundle_behind_is_repeated(engines: dict[str, ScoringEngine]) -> None:
    """What has a score when the outage begins, and what is released later, is committed before the sink sees it."""
    _results.clear()
    _FailsTwice.failures = 2
    outage = Outage(failures=20)
    _started(engines, outage, SETTINGS)
    stream = TestStream().advance_watermark_to(0).add_elements([TimestampedValue(BATCH, 0)])
    with TestPipeline(runner=LocalRunner(), options=STREAMING) as pipeline:
        batches = pipeline | stream.advance_processing_time(2**32).advance_watermark_to_infinity()
        results = batches | beam.Map(lambda it: it) | ScoreAccounts(SETTINGS, "1", 1)
        results | beam.Reshuffle() | beam.ParDo(_FailsTwice())
    assert _FailsTwice.failures == 0
    assert _ends()["scored"] >= 5
    assert outage.answered == {f"Company {number}": 1 for number in range(1, 6)}


def _step(engine: ScoringEngine, *, kind: type = _TryToScore, **fields: Any) -> Any:
    step = kind(ScoreAccounts(engine.settings, "1", 1), **fields)
    step.engine = engine
    return step


def test_batches_of_a_bundle_do_not_add_up_their_holds(engines: dict[str, ScoringEngine]) -> None:
    """The first one waits for the hold; while the circuit is open the others are parked without a call."""
    settings = replace(SETTINGS, circuit=replace(QUICK, probe_seconds=600.0))
    transport = _started(engines, Outage(failures=10**9), settings)
    step = _step(engines["it"])
    step.start_bundle()
    first = list(step.process(BATCH[2:]))
    made = len(transport.requests)
    others = [output for _ in range(20) for output in step.process(BATCH[2:])]
    assert len(transport.requests) == made
    assert all(isinstance(output, TaggedOutput) for output in first + others)
    assert step.hold.is_over
    step.start_bundle()
    assert not step.hold.is_over, "the next bundle may wait again"


def test_a_quota_that_one_account_meets_parks_that_account(engines: dict[str, ScoringEngine]) -> None:
    """The other accounts' calls succeed, and the circuit stays closed: the bundle is committed with their scores."""

    async def reply(request: GenerationRequest) -> Generation:
        if "Company 3" in [name for _, name in accounts_of(request)]:
            raise QuotaExhausted
        return await sound_reply(request)

    policy = CircuitPolicy(hold_seconds=0.05, service_failures=10**9)  # as if calls of other bundles succeeded between
    settings = replace(SETTINGS, outage_deadline_seconds=3_600.0, circuit=policy)
    engines["it"] = ScoringEngine(settings, FakeTransport(reply))
    step = _step(engines["it"])
    step.start_bundle()
    *scored, parked = sorted(step.process(BATCH), key=lambda output: isinstance(output, TaggedOutput))
    assert [bool(output.scored) for output in scored] == [True] * 4
    assert parked.tag == PARKED
    assert parked.value[1].change == BATCH[2].change
    assert not engines["it"]._circuit.is_open()


def test_without_parking_changes_are_given_up_when_the_hold_ends(engines: dict[str, ScoringEngine]) -> None:
    """A shadow score is not worth a wait: it has no outcome."""
    _started(engines, Outage(failures=10**9), SETTINGS)
    results = list(_step(engines["it"], kind=_Score, is_bounded=False).process(BATCH))
    assert [bool(result.scored) for result in results] == [True, True, False, False, False]


def test_a_bounded_input_waits_until_the_deadline(engines: dict[str, ScoringEngine]) -> None:
    """A backfill has no timers to wait for: batches are held in their bundle, and scored when the outage is over."""
    _results.clear()
    _started(engines, Outage(failures=60), SETTINGS)
    with TestPipeline(runner=FnApiRunner()) as pipeline:
        pipeline | beam.Create([BATCH]) | ScoreAccounts(SETTINGS, "1", 1) | beam.Map(_keep)
    assert _ends() == {"scored": 5}


def test_an_event_loop_that_dies_fails_the_bundle(
    engines: dict[str, ScoringEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of `process` does not wait for ever for answers that can't come."""
    monkeypatch.setattr(account_scoring, "_REPORT_SECONDS", 0.05)

    async def reply(request: GenerationRequest) -> Generation:
        engines["it"]._loop.stop()
        await asyncio.sleep(3_600)
        return await sound_reply(request)

    engines["it"] = ScoringEngine(SETTINGS, FakeTransport(reply))
    with pytest.raises(EngineDied, match="repeated with a new one"):
        list(_step(engines["it"]).process(BATCH))


def test_a_bundle_after_the_death_of_an_event_loop_uses_a_new_one(engines: dict[str, ScoringEngine]) -> None:
    """A DoFn outlives bundles, and the engine that it took at its set-up may have died in another thread's."""
    _started(engines, Outage(failures=0), SETTINGS)
    step = _step(engines["it"])
    _end_loop(engines["it"])
    _started(engines, Outage(failures=0), SETTINGS)
    assert len(list(step.process(BATCH))) == 5


def test_parked_changes_do_not_wait_for_a_dead_engine(engines: dict[str, ScoringEngine]) -> None:
    """While the circuit is open parked changes wait; if the event loop died, they are tried with a new one."""
    settings = replace(SETTINGS, circuit=replace(QUICK, probe_seconds=600.0))
    _started(engines, Outage(failures=10**9), settings)
    list(_step(engines["it"]).process(BATCH[2:]))
    assert engines["it"].would_wait()
    _end_loop(engines["it"])
    assert not engines["it"].would_wait()


def test_a_dead_engine_is_not_shared() -> None:
    """A dead engine is not shared any more, a live one is."""
    settings = replace(SETTINGS, project="p-another")
    first = shared_engine(settings)
    assert shared_engine(settings) is first
    _end_loop(first)
    second = shared_engine(settings)
    assert second is not first
    assert second.is_alive
    second.close()


def _end_loop(engine: ScoringEngine) -> None:
    engine._loop.call_soon_threadsafe(engine._loop.stop)
    engine._thread.join(timeout=60)
    assert not engine.is_alive


def test_parked_changes_travel_as_records() -> None:
    """Neither state nor shuffle holds a pickle, which another release could not read."""
    pipeline = beam.Pipeline(options=STREAMING)
    stream = TestStream().add_elements([[change(1)]])
    _ = pipeline | stream | beam.Map(lambda it: it) | ScoreAccounts(SETTINGS, "1")
    components = pipeline.to_runner_api().components
    (step,) = [it for it in components.transforms.values() if it.unique_name.endswith("/Score parked")]
    (parked,) = step.inputs.values()
    payload = beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload)
    assert step.spec.urn == common_urns.primitives.PAR_DO.urn
    coders = PipelineContext(components).coders
    states = {
        name: str(coders.get_by_id(spec.bag_spec.element_coder_id or spec.read_modify_write_spec.coder_id))
        for name, spec in payload.state_specs.items()
    }
    assert states == {"parked_changes": "RecordCoder", "parked_deadline": "FloatCoder"}
    shuffled = str(coders.get_by_id(components.pcollections[parked].coder_id))
    assert "RecordCoder" in shuffled
    assert "FastPrimitives" not in shuffled
