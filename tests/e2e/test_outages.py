"""Redis, then the warehouse, is killed while events flow: no event is lost or dead-lettered, and scoring resumes."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.ledger.reconciliation import Window, judge, read_ledger
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.sample_events import generate_events
from pipeline.local.publishing import publish_events
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from tests.fixtures.planted_secrets import REDIS_PASSWORD
from tests.fixtures.redis_server import RedisServer
from transforms.errors import WarehouseUnavailable

ACCOUNTS, EVENTS, SEED = 40, 75, 11
DOWN_SECONDS = 8.0
PATIENCE_SECONDS = 200.0
OPTIONS = ("--batch_shards=1", "--gap_delay_seconds=1", "--coalesce_seconds=1", "--coalesce_max_seconds=2")


@contextmanager
def _pipeline(stack: LocalStack, redis: RedisServer, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "pipeline", "run", f"--project={stack.project}", *OPTIONS]
    environment = {**os.environ, **stack.environment, "TEST_REDIS_URL": redis.url}
    with log.open("wb") as errors:
        process = subprocess.Popen([*command, "--redis_url=TEST_REDIS_URL"], env=environment, stderr=errors)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_until(is_true: Callable[[], bool], pipeline: "subprocess.Popen[bytes]", what: str) -> float:
    """Return the seconds until the condition is true; query BigQuery again if it does not answer."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_SECONDS:
        assert pipeline.poll() is None, f"the pipeline ended before {what}"
        try:
            if is_true():
                return time.monotonic() - started
        except WarehouseUnavailable:
            pass
        time.sleep(0.3)
    pytest.fail(f"not after {PATIENCE_SECONDS:g} s: {what}")


def test_killed_redis_and_killed_warehouse_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every event has one outcome, the outage causes no dead letter, and scoring resumes when BigQuery is back."""
    crm = generate_crm(accounts=ACCOUNTS, seed=SEED, as_of=utc_now())
    events = list(generate_events(crm, count=EVENTS, seed=SEED, start=utc_now() - dt.timedelta(days=1)))
    log, since = tmp_path / "pipeline.log", utc_now()
    with RedisServer() as redis, local_stack(tmp_path / "stack") as stack, _pipeline(stack, redis, log) as pipeline:
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
        _wait_until(lambda: scored() >= 10, pipeline, "the first scores")
        redis.kill()
        publish(50)
        _wait_until(lambda: scored() >= 20, pipeline, "scores without Redis")
        publish(EVENTS)
        time.sleep(1)
        stack.bigquery.kill()
        time.sleep(DOWN_SECONDS)
        stack.bigquery.start()
        redis.start()
        before = scored()
        recovered = _wait_until(lambda: scored() > before, pipeline, "the first score after the outage")
        _wait_until(lambda: report.progress().is_done(published), pipeline, "an outcome for every event")
        window = Window(since=since, until=utc_now(), grace=dt.timedelta(0))
        reconciled = judge(read_ledger(stack.warehouse, SCORING_DATASET, window, limit=10), window, limit=10)
        errors = report.summary().reasons.get("dead_lettered", {})
    with capsys.disabled():
        sys.stdout.write(f"\na score {recovered:.1f} s after BigQuery was back; it was gone for {DOWN_SECONDS:g} s\n")
    assert reconciled.is_ok, reconciled.document()
    assert published == EVENTS
    assert "bigquery_unavailable" not in errors
    told = log.read_text()
    assert "the circuit is open" in told
    assert REDIS_PASSWORD not in told
