"""BigQuery refuses rows, fails or stalls: no row is lost, and none is dead-lettered before the deadline."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

import transforms.coders  # noqa: F401 - registers how the models travel
from pipeline.local.gemini import GeminiStandIn
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from pipeline.resources.tables import create_tables
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.outcome import Outcome, OutcomeKind, ScoredChange, outcome_id
from schemas.record import to_row
from schemas.score import Score, ScoreStatus, score_id
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS, CHANGE_OUTCOMES
from tests.fixtures.changes import COMMITTED_AT, NOW, account_id, change, context
from tests.fixtures.planted_secrets import VENDORS_TEXT
from tests.fixtures.shared_servers import SharedServers
from tests.integration.bigquery_proxy import ALWAYS, INSERTS, QUERIES, BigQueryProxy, Fault
from transforms.clients import bigquery as warehouse_module
from transforms.clients.bigquery import Warehouse
from transforms.clients.outage import OutageSettings
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.errors import WarehouseUnavailable
from transforms.ledger import Ledger, Received
from transforms.write import held_inserts
from transforms.write.write_rows import InsertRows, _Insert
from transforms.write.write_scores import SCORES_STAGE, WriteScores, _InsertScores

PROJECT = "account-scoring-proxied"
LEDGER = Ledger("Score accounts", "1", now=lambda: NOW)
OUTAGE = OutageSettings(deadline_seconds=60, probe_seconds=0.1)


@pytest.fixture(scope="module")
def behind(servers: SharedServers, gemini: GeminiStandIn, environment: pytest.MonkeyPatch) -> Iterator[BigQueryProxy]:
    """Return the proxy in front of an emulator with tables; this process's client uses it.

    The Gemini stand-in provides the credentials.
    """
    with BigQueryProxy(servers.bigquery.url) as proxy:
        environment.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        warehouse = Warehouse(PROJECT)
        create_tables(warehouse)
        yield proxy
        warehouse.close()


@pytest.fixture
def proxy(behind: BigQueryProxy) -> Iterator[BigQueryProxy]:
    """Return the proxy without faults."""
    behind.faults, behind.calls = [], []
    yield behind
    behind.faults = []


@pytest.fixture
def warehouse(proxy: BigQueryProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """Return a connection through the proxy, with few retries."""
    connection = Warehouse(PROJECT)
    connection.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [])
    yield connection
    connection.close()


def _scored(number: int) -> ScoredChange:
    item = change(number)
    row = Score(
        account_id=item.account_id,
        score_id=score_id(item.account_id, item.event_id, "v1", "m"),
        event_ids=(item.event_id,),
        change_committed_at=item.committed_at,
        change_sequence=item.sequence_number,
        scored_at=NOW,
        status=ScoreStatus.SCORED,
        score=50,
        prompt_version="v1",
        trace_id=item.trace_id,
        pipeline_version="1",
    )
    outcome = LEDGER.outcome(Received.of(item), OutcomeKind.SCORED)
    return ScoredChange(score=row, outcome=outcome, source=item.source)


ITEMS = [_scored(number) for number in range(6)]
IDS = [item.score.score_id for item in ITEMS]


@dataclass
class Written:
    """The outputs for scores, and the seconds that they were held."""

    outcomes: list[Outcome] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    seconds_held: float = 0.0

    def wait(self, seconds: float) -> None:
        """Count."""
        self.seconds_held += seconds


def _write(outage: OutageSettings = OUTAGE, items: list[ScoredChange] | None = None) -> Written:
    """Write six scores, or the given ones, with the step that inserts them."""
    written = Written()
    step = _InsertScores(WriteScores(PROJECT, SCORING_DATASET, ACCOUNT_SCORES, "1", outage=outage))
    step.throttled = written.wait  # type: ignore[assignment]
    for output in step.process(items or ITEMS):
        if isinstance(output, TaggedOutput):
            written.dead_letters.append(output.value)
        else:
            written.outcomes.append(output)
    return written


def _in_table(warehouse: Warehouse) -> Counter[str]:
    rows = warehouse.query(f"SELECT score_id FROM `{PROJECT}.{SCORING_DATASET}.account_scores`")  # noqa: S608 - names of ours
    return Counter(row["score_id"] for row in rows)


def test_a_row_that_is_in_the_table_is_scored(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """Six rows are sent in one request: five are recorded as scored, and the refused one is dead-lettered.

    Insert ids are the score ids.
    """
    proxy.faults = [Fault("rows", on=INSERTS, reason="invalid", rows=IDS[:1])]
    taken = sorted(it.outcome.event_id for it in ITEMS[1:])

    def check_outcomes(outcomes: list[Outcome]) -> None:
        assert sorted(it.event_id for it in outcomes) == taken
        assert {it.outcome for it in outcomes} == {OutcomeKind.SCORED}

    def check_dead_letters(dead_letters: list[DeadLetter]) -> None:
        assert [it.source for it in dead_letters] == [ITEMS[0].source]

    pipeline = TestPipeline(runner=FnApiRunner())
    scored = pipeline | beam.Create(ITEMS).with_output_types(ScoredChange)
    written = scored | WriteScores(PROJECT, SCORING_DATASET, ACCOUNT_SCORES, "1", outage=OUTAGE)
    assert_that(written.outcomes, check_outcomes, label="outcomes")
    assert_that(written.dead_letters, check_dead_letters, label="dead_letters")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(SCORES_STAGE))["counters"]
    counted = {it.key.metric.name: it.committed for it in counters}
    assert counted == {"rows_inserted_total": 5, "rows_refused_total": 1}
    assert _in_table(warehouse) == Counter(IDS[1:])
    assert proxy.count(INSERTS) == 1


def test_refused_rows_are_dead_letters_with_event_and_row(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """Two rows are refused: each has one outcome, and its dead letter has the event's bytes and the row.

    The others are in the table. No row is sent twice, and BigQuery's message, which can quote a value, is not kept.
    """
    proxy.faults = [Fault("rows", on=INSERTS, times=ALWAYS, reason="invalid", rows=IDS[:2])]
    written = _write()
    assert {it.event_id for it in written.outcomes} == {it.outcome.event_id for it in ITEMS[2:]}
    assert {it.event_id for it in written.dead_letters} == {it.outcome.event_id for it in ITEMS[:2]}
    for dead_letter in written.dead_letters:
        item = next(it for it in ITEMS if it.outcome.event_id == dead_letter.event_id)
        assert dead_letter.error_class is ErrorClass.ROW_REJECTED
        assert dead_letter.source == item.source
        assert dead_letter.rejected_row
        assert json.loads(dead_letter.rejected_row) == to_row(item.score)
        assert "invalid at score" in dead_letter.error_message
        assert VENDORS_TEXT not in dead_letter.error_message
        assert dead_letter.prompt_version == "v1"
    assert _in_table(warehouse) == Counter(IDS[2:])
    assert proxy.count(INSERTS) == 1


def test_a_score_that_comes_twice_is_one_row(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """A redelivery and its first delivery have one outcome each."""
    written = _write(items=[*ITEMS, *ITEMS[:2]])
    assert (len(written.outcomes), written.dead_letters) == (8, [])
    assert _in_table(warehouse) == Counter(IDS)


def test_rows_refused_for_a_passing_reason_are_sent_again_alone(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """Rows that are in the table are not sent again, and no row is dead-lettered."""
    proxy.faults = [Fault("rows", on=INSERTS, times=2, reason="backendError", rows=IDS[:2])]
    written = _write()
    assert (len(written.outcomes), written.dead_letters) == (6, [])
    assert _in_table(warehouse) == Counter(IDS)
    assert proxy.count(INSERTS) == 3


def test_rows_that_never_pass_can_be_replayed(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """After the deadline the rows become dead letters of a retryable class, and retries end."""
    proxy.faults = [Fault("rows", on=INSERTS, times=ALWAYS, reason="backendError", rows=IDS[:1])]
    written = _write(OutageSettings(deadline_seconds=0.5, probe_seconds=0.1))
    assert len(written.outcomes) == 5
    ((dead_letter),) = written.dead_letters
    assert (dead_letter.error_class, dead_letter.source) == (ErrorClass.BIGQUERY_UNAVAILABLE, ITEMS[0].source)
    assert written.seconds_held >= 0.4


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", on=INSERTS, status=503),
        Fault("status", on=INSERTS, status=500, times=2),
        Fault("status", on=INSERTS, status=429, reason="rateLimitExceeded"),
        Fault("status", on=INSERTS, status=403, reason="rateLimitExceeded"),
        Fault("dropped", on=INSERTS, times=2),
        Fault("cut_off", on=INSERTS),
    ],
    ids=["503", "500", "429", "403 too fast", "dropped", "cut off"],
)
def test_hiccups_of_an_insert_are_retried(warehouse: Warehouse, proxy: BigQueryProxy, fault: Fault) -> None:
    """Every row is recorded once, whatever the fault."""
    proxy.faults = [fault]
    written = _write()
    assert (len(written.outcomes), written.dead_letters) == (6, [])
    assert set(_in_table(warehouse)) == set(IDS)


@pytest.mark.parametrize(("status", "reason"), [(403, "accessDenied"), (404, "notFound")])
def test_rows_of_a_refused_request_are_held(
    warehouse: Warehouse, proxy: BigQueryProxy, status: int, reason: str
) -> None:
    """If a permission or a table is missing, the rows are held until an operator has fixed it: no dead letter."""
    proxy.faults = [Fault("status", on=INSERTS, status=status, reason=reason, times=12)]
    written = _write()
    assert (len(written.outcomes), written.dead_letters) == (6, [])
    assert _in_table(warehouse) == Counter(IDS)
    assert proxy.count(INSERTS) == 13
    assert written.seconds_held > 0


@pytest.mark.parametrize("status", [413, 400])
def test_a_row_that_a_request_can_not_carry_is_refused_alone(
    warehouse: Warehouse, proxy: BigQueryProxy, status: int
) -> None:
    """Requests are halved until it stands alone: it is no outage, the others are in the table, nothing is held."""
    proxy.faults = [Fault("status", on=INSERTS, status=status, reason="invalid", times=ALWAYS, rows=IDS[4:5])]
    written = _write()
    ((dead_letter),) = written.dead_letters
    assert (dead_letter.error_class, dead_letter.source) == (ErrorClass.ROW_REJECTED, ITEMS[4].source)
    assert f"HTTP {status}" in dead_letter.error_message
    assert _in_table(warehouse) == Counter([*IDS[:4], IDS[5]])
    assert proxy.count(INSERTS) == 7  # of 6 rows, 3 and 3, 1 and 2, 1 and 1
    assert written.seconds_held == 0


def test_a_table_that_takes_no_request_holds_its_rows(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """If every row is refused with 400, no row is the cause: they are held until an operator has fixed it."""
    proxy.faults = [Fault("status", on=INSERTS, status=400, reason="invalid", times=22)]
    written = _write()
    assert (len(written.outcomes), written.dead_letters) == (6, [])
    assert _in_table(warehouse) == Counter(IDS)
    assert written.seconds_held > 0


def test_a_column_that_is_new_is_waited_for(
    warehouse: Warehouse, proxy: BigQueryProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streaming inserts know a new column some minutes after it was added; if it never comes, the row is refused."""
    fault = Fault("rows", on=INSERTS, times=2, reason="invalid", rows=IDS, message="no such field: new_column.")
    proxy.faults = [fault]
    written = _write()
    assert (len(written.outcomes), written.dead_letters) == (6, [])
    assert _in_table(warehouse) == Counter(IDS)
    monkeypatch.setattr(held_inserts, "NEW_COLUMN_SECONDS", 0.0)
    fault.times = ALWAYS
    written = _write()
    assert {it.error_class for it in written.dead_letters} == {ErrorClass.ROW_REJECTED}
    assert len(written.dead_letters) == 6


def test_past_the_deadline_an_insert_fails_its_bundle(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """The runner repeats the bundle: it has paid scores, which are not dead-lettered."""
    proxy.faults = [Fault("status", on=INSERTS, status=403, reason="accessDenied", times=ALWAYS)]
    with pytest.raises(WarehouseUnavailable, match=r"insert into account_scoring\.account_scores: Forbidden 403"):
        _write(OutageSettings(deadline_seconds=0.3, probe_seconds=0.1))


def test_ledger_rows_are_held_too(warehouse: Warehouse, proxy: BigQueryProxy) -> None:
    """Rows of the ledger are held during an outage, and none is lost."""
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [])
    proxy.faults = [Fault("status", on=INSERTS, status=403, reason="accessDenied", times=3)]
    outcomes = [item.outcome for item in ITEMS]
    with TestPipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | beam.Create(outcomes).with_output_types(Outcome)
            | InsertRows(PROJECT, SCORING_DATASET, CHANGE_OUTCOMES, to_row, outcome_id, OUTAGE)
        )
    rows = warehouse.query(f"SELECT event_id FROM `{PROJECT}.{SCORING_DATASET}.change_outcomes`")  # noqa: S608 - names of ours
    assert sorted(row["event_id"] for row in rows) == sorted(it.event_id for it in outcomes)


@pytest.mark.parametrize(("reason", "is_repeated"), [("invalid", False), ("backendError", True)])
def test_a_refused_ledger_row_is_logged_and_a_held_one_fails_the_bundle(
    warehouse: Warehouse, proxy: BigQueryProxy, reason: str, *, is_repeated: bool
) -> None:
    """A refused row is logged, and the bundle succeeds; a row held past the deadline fails it, and it is repeated."""
    outcomes = [item.outcome for item in ITEMS]
    proxy.faults = [Fault("rows", on=INSERTS, times=ALWAYS, reason=reason, rows=[outcome_id(outcomes[0])])]
    outage = OutageSettings(deadline_seconds=0.3, probe_seconds=0.1)
    to = InsertRows(PROJECT, SCORING_DATASET, CHANGE_OUTCOMES, to_row, outcome_id, outage)
    step = _Insert(to)
    if is_repeated:
        with pytest.raises(WarehouseUnavailable, match="backendError"):
            step.process(outcomes)
    else:
        step.process(outcomes)
        assert proxy.count(INSERTS) == 1


def _look_up(warehouse: Warehouse) -> set[str]:
    found = read_account_contexts(
        warehouse, CRM_DATASET, [account_id(1)], since=COMMITTED_AT, until=NOW, bounds=ContextBounds()
    )
    return set(found)


@pytest.fixture
def mirrored(warehouse: Warehouse, proxy: BigQueryProxy) -> Warehouse:
    """Return a warehouse whose mirror has one account."""
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, [])
    warehouse.insert_rows(CRM_DATASET, ACCOUNTS, {"1": to_row(context(1).profile)})
    proxy.calls = []
    return warehouse


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", on=QUERIES, status=503, times=2),
        Fault("status", on=QUERIES, status=429),
        Fault("dropped", on=QUERIES, times=2),
        Fault("cut_off", on=QUERIES),
    ],
    ids=["503", "429", "dropped", "cut off"],
)
def test_hiccups_of_a_lookup_are_retried(mirrored: Warehouse, proxy: BigQueryProxy, fault: Fault) -> None:
    """A lookup succeeds after transient faults."""
    proxy.faults = [fault]
    assert _look_up(mirrored) == {account_id(1)}
    assert proxy.count(QUERIES) > 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refusals_of_a_lookup_are_not_retried(mirrored: Warehouse, proxy: BigQueryProxy, status: int) -> None:
    """A repeated call would be refused too; BigQuery's message is not in the error."""
    proxy.faults = [Fault("status", on=QUERIES, status=status, reason="accessDenied", times=ALWAYS)]
    with pytest.raises(WarehouseUnavailable, match=str(status)) as refusal:
        _look_up(mirrored)
    assert VENDORS_TEXT not in str(refusal.value)
    assert proxy.count(QUERIES) <= 3  # the client itself renews its credentials twice after 401


@pytest.mark.parametrize("kind", ["silence", "dripping"])
def test_no_lookup_outlasts_its_deadline(
    mirrored: Warehouse, proxy: BigQueryProxy, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither silence nor a response that arrives byte by byte delays a batch past the deadline."""
    monkeypatch.setattr(warehouse_module, "LOOKUP_DEADLINE_SECONDS", 1.0)
    proxy.faults = [Fault(kind, on=QUERIES, times=ALWAYS, seconds=120.0 if kind == "silence" else 0.05)]
    started = time.monotonic()
    with pytest.raises(WarehouseUnavailable, match="no answer within 1 s"):
        _look_up(mirrored)
    assert time.monotonic() - started < 60
