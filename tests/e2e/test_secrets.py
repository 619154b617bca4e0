"""The whole pipeline with failures whose errors contain secrets: no output shows a secret."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.records import CrmRecords
from pipeline.local.crm.vocabulary import vocabulary
from pipeline.local.publishing import publish_events
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.account_context import Email
from schemas.clock import utc_now
from tests.fixtures.changes import payload
from tests.fixtures.leak_check import leaked_kinds
from tests.fixtures.planted_secrets import (
    EMAIL_BODY,
    REDIS_PASSWORD,
    SALESFORCE_CLIENT_ID,
    SALESFORCE_CLIENT_SECRET,
    SESSION_ID_IN_PAYLOAD,
)

PATIENCE_SECONDS = 150.0
NOBODY = "127.0.0.1:1"
OPTIONS = (
    *("--coalesce_seconds=0.5", "--batch_wait_seconds=0.2", "--batch_shards=1", "--accounts_per_call=1"),
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


def _run_until_done(stack: LocalStack, log: Path, messages: int, since: dt.datetime) -> None:
    environment = {**os.environ, **stack.environment, **SECRETS}
    command = [sys.executable, "-m", "pipeline", "run", f"--project={stack.project}", *OPTIONS]
    report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=since)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not report.progress().is_done(messages):
                assert process.poll() is None, "the pipeline ended"
                assert time.monotonic() < deadline, report.progress()
                time.sleep(0.3)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _letters(stack: LocalStack) -> list[Mapping[str, Any]]:
    sql = f"SELECT error_class, error_message FROM `{stack.project}.{SCORING_DATASET}.dead_letters`"  # noqa: S608 - names of ours
    return list(stack.warehouse.query(sql))


def test_no_failure_shows_a_secret(tmp_path: Path) -> None:
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
    log, since = tmp_path / "pipeline.log", utc_now()
    with local_stack(tmp_path / "stack", gemini_config={"faults": faults}) as stack:
        load_crm(stack.warehouse, crm)
        published = list(publish_events(f"projects/{stack.project}/topics/{TOPIC}", [*UNREADABLE, *changes]))
        _run_until_done(stack, log, len(published), since)
        letters = _letters(stack)
    of_messages = {"undecodable", "invalid_event", "unsupported_event"}
    assert {letter["error_class"] for letter in letters} == {*of_messages, "prompt_too_large", "invalid_response"}
    assert len(letters) == len(UNREADABLE) + 2
    assert leaked_kinds("\n".join(letter["error_message"] for letter in letters)) == set()
    told = log.read_text()
    assert "Redis" in told
    assert "Salesforce" in told
    assert leaked_kinds(told) == set()


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        (f"--redis_url={SECRETS['TEST_REDIS_URL']}", "redis_url has a password"),
        (f"--salesforce_secret={SALESFORCE_CLIENT_SECRET}", "name an environment variable"),
    ],
    ids=["Redis", "Salesforce"],
)
def test_a_secret_in_an_option_is_refused_and_not_repeated(option: str, remedy: str) -> None:
    """A secret in place of its name is refused with one line that does not quote it."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--project=my-project", *OPTIONS, option],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert remedy in done.stderr
    assert leaked_kinds(done.stdout + done.stderr) == set()
