"""Redis, then the warehouse, is killed while events flow: no event is lost or dead-lettered, and scoring resumes."""

import datetime as dt
import sys
import time
from pathlib import Path

import pytest

from pipeline.ledger.ledger_groups import Window, read_ledger
from pipeline.ledger.ledger_report import LedgerReport
from pipeline.ledger.reconciliation import judge
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.sample_events import generate_events
from pipeline.local.stack import load_crm, local_stack
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from tests.e2e.pipeline_process import SHORT_WAITS, pipeline_process
from tests.fixtures.planted_secrets import REDIS_PASSWORD
from tests.fixtures.redis_server import RedisServer

ACCOUNTS, EVENTS, SEED = 40, 75, 11
OPTIONS = (*SHORT_WAITS, "--gap_delay_seconds=1", "--redis_url=TEST_REDIS_URL")


@pytest.mark.parametrize("down_seconds", [0.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_killed_redis_and_killed_warehouse_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], down_seconds: float
) -> None:
    """Every event has one outcome, the outage causes no dead letter, and scoring resumes when BigQuery is back.

    BigQuery is gone for the given time and the seconds that the emulator takes to start. Calls are repeated for 10 s;
    after that, their batches are held.
    """
    crm = generate_crm(accounts=ACCOUNTS, seed=SEED, as_of=utc_now())
    events = list(generate_events(crm, count=EVENTS, seed=SEED, start=utc_now() - dt.timedelta(days=1)))
    log, since = tmp_path / "pipeline.log", utc_now()
    with (
        RedisServer() as redis,
        local_stack(tmp_path / "stack") as stack,
        pipeline_process(stack, *OPTIONS, log=log, environment={"TEST_REDIS_URL": redis.url}) as pipeline,
    ):
        load_crm(stack.warehouse, crm)
        report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=since)
        topic, published = f"projects/{stack.project}/topics/{TOPIC}", 0

        def publish(until: int) -> None:
            nonlocal published
            published += sum(1 for _ in publish_events(topic, events[published:until]))

        def scored() -> int:
            (row,) = stack.warehouse.query(
                f"SELECT COUNT(*) AS scores FROM `{stack.project}.{SCORING_DATASET}.account_scores`"  # noqa: S608 - names of ours
            )
            return int(row["scores"])

        publish(25)
        pipeline.wait_until(lambda: scored() >= 10, "the first scores")
        redis.kill()
        publish(50)
        pipeline.wait_until(lambda: scored() >= 20, "scores without Redis")
        publish(EVENTS)
        pipeline.wait_until(lambda: report.progress().messages > 50, "an event after the second batch of them")
        stack.bigquery.kill()
        time.sleep(down_seconds)
        stack.bigquery.start()
        redis.start()
        before = scored()
        recovered = pipeline.wait_until(lambda: scored() > before, "the first score after the outage")
        pipeline.wait_for_outcomes(report, published)
        window = Window(since=since, until=utc_now(), grace=dt.timedelta(0))
        reconciled = judge(read_ledger(stack.warehouse, SCORING_DATASET, window, limit=10), window, limit=10)
        errors = report.summary().reasons.get("dead_lettered", {})
    with capsys.disabled():
        sys.stdout.write(f"\na score {recovered:.1f} s after BigQuery was back\n")
    assert reconciled.is_ok, reconciled.document()
    assert published == EVENTS
    assert "bigquery_unavailable" not in errors
    told = log.read_text()
    assert "the circuit is open" in told
    assert REDIS_PASSWORD not in told
