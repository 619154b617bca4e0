"""The whole pipeline with failures whose errors contain secrets: no output shows a secret."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.records import CrmRecords
from pipeline.local.crm.vocabulary import vocabulary
from pipeline.local.stack import LocalStack, load_crm
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.account_context import Email
from schemas.clock import utc_now
from tests.e2e.pipeline_process import SHORT_WAITS, pipeline_process
from tests.fixtures.changes import payload
from tests.fixtures.leak_check import leaked_kinds
from tests.fixtures.planted_secrets import (
    EMAIL_BODY,
    REDIS_PASSWORD,
    SALESFORCE_CLIENT_ID,
    SALESFORCE_CLIENT_SECRET,
    SESSION_ID_IN_PAYLOAD,
)

NOBODY = "127.0.0.1:1"
OPTIONS = (
    *SHORT_WAITS,
    "--accounts_per_call=1",
    "--redis_url=TEST_REDIS_URL",
    *(f"--salesforce_login_url=https://{NOBODY}", f"--salesforce_client_id={SALESFORCE_CLIENT_ID}"),
    "--salesforce_secret=TEST_SALESFORCE_SECRET",
)
SECRETS = {
    "TEST_REDIS_URL": f"redis://:{REDIS_PASSWORD}@{NOBODY}/0",
    "TEST_SALESFORCE_SECRET": SALESFORCE_CLIENT_SECRET,
}
UNREADABLE = [
    f"<soapenv:Envelope><sessionId>{SESSION_ID_IN_PAYLOAD}</sessionId></soapenv:Envelope>".encode(),
    f'{{"sessionId": "{SESSION_ID_IN_PAYLOAD}",}}'.encode(),
    f'{{"sessionId": "{SESSION_ID_IN_PAYLOAD}"}}'.encode(),
    payload(changeType=SESSION_ID_IN_PAYLOAD),
    payload(commitTimestamp=SESSION_ID_IN_PAYLOAD),
    payload(recordIds=[SESSION_ID_IN_PAYLOAD]),
]


def _with_hostile_emails(crm: CrmRecords) -> CrmRecords:
    """Give each account an email with an instruction for the model, on which the stand-in can fail."""
    emails = tuple(
        Email(
            email_id=f"02s-{number}",
            account_id=account.account_id,
            direction="inbound",
            subject="Offer",
            body=f"{EMAIL_BODY}\n\n{vocabulary().prompt_injections[number]}",
            sent_at=utc_now() - dt.timedelta(days=1),
        )
        for number, account in enumerate(crm.accounts)
    )
    return CrmRecords(accounts=crm.accounts, emails=emails)


def _letters(stack: LocalStack) -> list[Mapping[str, Any]]:
    sql = f"SELECT error_class, error_message FROM `{stack.project}.{SCORING_DATASET}.dead_letters`"  # noqa: S608 - names of ours
    return list(stack.warehouse.query(sql))


def test_no_failure_shows_a_secret(stack: LocalStack, tmp_path: Path) -> None:
    """Credentials and the texts of CRM and messages stay out of logs, output and error messages of dead letters."""
    crm = _with_hostile_emails(generate_crm(accounts=4, seed=5, as_of=utc_now()))
    refused, prose, gap, _ = (account.account_id for account in crm.accounts)
    faults = [
        {"kind": "http_401", "limit": 1},
        {"kind": "http_400", "match": vocabulary().prompt_injections[0]},
        {"kind": "prose", "match": vocabulary().prompt_injections[1]},
    ]
    changes = [
        payload(recordIds=[refused]),
        payload(recordIds=[prose]),
        payload({}, recordIds=[gap], changeType="GAP_UPDATE"),
    ]
    log = tmp_path / "pipeline.log"
    stack.gemini.configure(faults=faults)
    load_crm(stack.warehouse, crm)
    report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=utc_now())
    published = list(publish_events(f"projects/{stack.project}/topics/{TOPIC}", [*UNREADABLE, *changes]))
    with pipeline_process(stack, *OPTIONS, log=log, environment=SECRETS) as pipeline:
        pipeline.wait_for_outcomes(report, len(published))
    letters = _letters(stack)
    of_messages = {"undecodable", "invalid_event", "unsupported_event"}
    assert {letter["error_class"] for letter in letters} == {*of_messages, "prompt_too_large", "invalid_response"}
    assert len(letters) == len(UNREADABLE) + 2
    assert leaked_kinds("\n".join(letter["error_message"] for letter in letters)) == set()
    told = log.read_text()
    assert "Redis" in told
    assert "Salesforce" in told
    assert leaked_kinds(told) == set()
