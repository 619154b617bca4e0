"""The local runner and Beam's DirectRunner give every event the same outcome."""

from pathlib import Path

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import RUNNER, LocalStack, load_crm
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from tests.e2e.pipeline_process import SHORT_WAITS, PipelineProcess, pipeline_process
from tests.fixtures.changes import account_id, payload
from tests.fixtures.shared_servers import SharedServers

LEDGER_SQL = """
SELECT DISTINCT event_id, account_id, outcome, reason, error_class
FROM `{project}.{dataset}.change_outcomes`
ORDER BY event_id, account_id, outcome
"""

Ledger = list[tuple[str | None, ...]]


def test_both_runners_write_the_same_ledger(servers: SharedServers, tmp_path: Path) -> None:
    """The outcomes of the same messages do not depend on the runner, nor on the order of arrival."""
    crm = generate_crm(accounts=6, seed=1, as_of=utc_now())
    known = [account.account_id for account in crm.accounts]
    repeated = payload(recordIds=known[:1])
    events = [
        repeated,
        *(payload(recordIds=[known[number]], transactionKey=f"key-{number}") for number in (1, 2, 3)),
        payload(recordIds=[known[4]], changedFields=["LastModifiedDate"]),
        payload({}, recordIds=[known[5]], changeType="DELETE", changedFields=[]),
        payload(recordIds=[account_id(404)]),
        payload(entityName="Contact", recordIds=["0037Q000002aGVkQAM"]),
        b"not a change event",
        repeated,
    ]
    with servers.stack(tmp_path) as first, servers.stack(tmp_path) as second:
        for stack in (first, second):
            load_crm(stack.warehouse, crm)
        with (
            pipeline_process(first, "--runner=DirectRunner", *SHORT_WAITS, log=tmp_path / "direct.log") as direct,
            pipeline_process(second, f"--runner={RUNNER}", *SHORT_WAITS, log=tmp_path / "local.log") as local,
        ):
            ledgers = [_ledger(stack, pipeline, events) for stack, pipeline in ((first, direct), (second, local))]
    assert ledgers[0] == ledgers[1]
    assert {row[2] for row in ledgers[0]} == {"received", "scored", "tombstoned", "skipped", "dead_lettered"}


def _ledger(stack: LocalStack, pipeline: PipelineProcess, events: list[bytes]) -> Ledger:
    """Publish the events, wait for their outcomes, and return the distinct rows of the ledger."""
    report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=utc_now())
    pipeline.wait_for_outcomes(
        report, sum(1 for _ in publish_events(f"projects/{stack.project}/topics/{TOPIC}", events))
    )
    rows = stack.warehouse.query(LEDGER_SQL.format(project=stack.project, dataset=SCORING_DATASET))
    return [tuple(row.values()) for row in rows]
