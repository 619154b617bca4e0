"""Related records that name no account, through the whole pipeline: a won deal, a contact, a move, a stranger."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from pipeline.ledger.reconcile import reconcile
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.records import CrmRecords
from pipeline.local.demo_input import SAMPLE_COALESCING, DemoInput
from pipeline.local.stack import LocalStack
from pipeline.resources.names import SCORING_DATASET
from schemas.change_event import SourceMessage
from schemas.clock import utc_now
from tests.e2e.pipeline_process import run_sample
from tests.fixtures.changes import ACCOUNT_FIELDS, payload
from tests.fixtures.related_records import CONTACT, TASK
from transforms.clients.bigquery import Warehouse
from transforms.parse.message_parsing import parse_message

_LEDGER = """
SELECT event_id, account_id, outcome, COALESCE(reason, error_class) AS why, stage
FROM `{project}.{dataset}.change_outcomes`
WHERE recorded_at >= @since AND outcome != 'received'
"""
_MOVEMENTS = """
SELECT account_id, changed_fields FROM `{project}.{dataset}.score_movements` WHERE status = 'scored'
"""


def _event(entity: str, record_id: str, second: int, body: dict[str, Any], **header: Any) -> bytes:
    """Return an event as CometD sends it, of today: changed fields only."""
    at = utc_now().replace(microsecond=0) - dt.timedelta(minutes=10) + dt.timedelta(seconds=second)
    fields: dict[str, Any] = {
        "entityName": entity,
        "recordIds": [record_id],
        "transactionKey": f"t{second}",
        "nulledFields": None,
    }
    fields |= {"commitTimestamp": int(at.timestamp() * 1000), "diffFields": None, "changedFields": list(body)}
    return payload(body, **fields | header)


def _event_id(event: bytes) -> str:
    (record,) = parse_message(SourceMessage(payload=event), account_fields=ACCOUNT_FIELDS)
    return record.event_id  # type: ignore[union-attr]


def _query(warehouse: Warehouse, sql: str, **parameters: Any) -> list[Any]:
    return warehouse.query(sql.format(project=warehouse.project, dataset=SCORING_DATASET), parameters)


def test_related_records_rescore_the_accounts_that_they_do_not_name(stack: LocalStack, tmp_path: Path) -> None:
    """The mirror, an earlier event, and the record in between name them; a stranger is a dead letter."""
    crm = generate_crm(accounts=8, seed=3, as_of=utc_now() - dt.timedelta(days=1))
    won, moved = _two_deals_of_different_accounts(crm)
    others = [it for it in crm.accounts if it.account_id not in {won.account_id, moved.account_id}]
    new_owner, of_contact = others[0], others[1]
    contact = {"AccountId": of_contact.account_id, "Name": {"LastName": "Lovelace"}}
    events = {
        "won": _event("Opportunity", won.opportunity_id, 1, {"StageName": "Closed Won"}),
        "moved": _event("Opportunity", moved.opportunity_id, 2, {"AccountId": new_owner.account_id}),
        "created": _event("Contact", CONTACT, 3, contact, changeType="CREATE", changedFields=None),
        "titled": _event("Contact", CONTACT, 100, {"Title": "CFO"}),
        "stranger": _event("Task", TASK, 5, {"Status": "Completed"}),
        "gap": _event("Task", TASK, 6, {}, changeType="GAP_UPDATE", changedFields=None),
        "immaterial": _event("Contact", CONTACT, 7, {"Phone": "1"}),
    }
    since = utc_now()
    _, summary = run_sample(
        stack, DemoInput(crm, list(events.values()), SAMPLE_COALESCING), log=tmp_path / "pipeline.log"
    )
    names = {_event_id(event): name for name, event in events.items()}
    ended = {(names[it["event_id"]], it["account_id"]): it for it in _query(stack.warehouse, _LEDGER, since=since)}
    went_on = {"scored", "coalesced"}
    for name, account_id in (
        ("won", won.account_id),
        ("moved", moved.account_id),
        ("moved", new_owner.account_id),
        ("created", of_contact.account_id),
        ("titled", of_contact.account_id),
    ):
        assert ended[name, account_id]["outcome"] in went_on, (name, ended)
    assert ended["stranger", None]["why"] == "account_not_named"
    assert ended["gap", None]["outcome"] == "resync_requested"
    assert ended["immaterial", None]["why"] == "immaterial"
    assert len(ended) == 8
    assert sum(summary.found.values()) == 3
    assert summary.found["mirror"] >= 2
    changed = {it["account_id"]: it["changed_fields"] for it in _query(stack.warehouse, _MOVEMENTS)}
    assert changed[won.account_id] == ["StageName"]
    assert changed[moved.account_id] == changed[new_owner.account_id] == ["AccountId"]
    document = reconcile(project=stack.project, dataset=SCORING_DATASET, since="1h", grace="0s", limit=20).document()
    assert (document["unexplained"], document["double"]) == (0, 0), json.dumps(document)


def _two_deals_of_different_accounts(crm: CrmRecords) -> tuple[Any, Any]:
    first = crm.opportunities[0]
    return first, next(it for it in crm.opportunities if it.account_id != first.account_id)
