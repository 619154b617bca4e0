"""Smoke test of a deployment: a published change gets a score, and a deletion removes it.

    python -m pipeline.smoke_test --project my-project

The account exists nowhere else: the event carries enough to score it. The test makes one small call to Gemini.
"""

import datetime as dt
import json
import secrets
import string
import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from pipeline.resources.names import SCORING_DATASET, TOPIC
from pipeline.terminal.exit_codes import one_line_errors, refuse
from schemas.salesforce_ids import normalize_account_id
from transforms.clients.bigquery import Warehouse
from transforms.clients.messages import Message
from transforms.clients.pubsub import MessagePublisher

POLL_SECONDS: Final = 5.0
_ACCOUNT_PREFIX: Final = "001SMOKE"
_ALPHABET: Final = string.ascii_letters + string.digits

# Names are constants; values are bound. A duplicate is not a fault: Pub/Sub may deliver a message twice.
_OUTCOMES_SQL: Final = """
SELECT outcome, COALESCE(reason, error_class, '') AS detail
FROM `{dataset}.change_outcomes`
WHERE account_id = @account_id AND recorded_at >= @since AND outcome != 'received' AND IFNULL(reason, '') != 'duplicate'
ORDER BY recorded_at
"""
_SCORES_SQL: Final = "SELECT score FROM `{dataset}.current_account_scores` WHERE account_id = @account_id"


def new_account_id() -> str:
    """Return a random account id that no organisation has."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(15 - len(_ACCOUNT_PREFIX)))
    return normalize_account_id(_ACCOUNT_PREFIX + random)


def change_event(account_id: str, change_type: str, committed_at: dt.datetime) -> bytes:
    """Return a change event as the Salesforce Pub/Sub API sends it; a CREATE carries the fields that a score needs."""
    header = {
        "entityName": "Account",
        "recordIds": [account_id],
        "changeType": change_type,
        "changeOrigin": "",
        "transactionKey": str(uuid.uuid4()),
        "sequenceNumber": 1,
        "commitTimestamp": int(committed_at.timestamp() * 1000),
        "commitUser": "005000000000000AAA",
        "changedFields": [],
    }
    fields = {"Name": "Smoke test", "Industry": "Technology", "AnnualRevenue": 1_000_000, "NumberOfEmployees": 10}
    return json.dumps({"ChangeEventHeader": header, **(fields if change_type == "CREATE" else {})}).encode()


def wait_for(
    warehouse: Warehouse, dataset: str, account_id: str, outcome: str, *, after: frozenset[str], seconds: float
) -> str | None:
    """Wait for an outcome of the account; return None when it is there, else an error.

    Another outcome that is not in `after` ends the wait at once, since it says more than a timeout.
    """
    deadline = time.monotonic() + seconds
    while outcome not in (found := _outcomes(warehouse, dataset, account_id)):
        if unexpected := {name: detail for name, detail in found.items() if name not in after}:
            return f"the change was {unexpected} and not {outcome}"
        if time.monotonic() > deadline:
            return f"the change was not {outcome} within {seconds:.0f} s; so far: {found or 'nothing'}"
        time.sleep(min(POLL_SECONDS, seconds))
    return None


def _outcomes(warehouse: Warehouse, dataset: str, account_id: str) -> Mapping[str, str]:
    since = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    rows = warehouse.query(_OUTCOMES_SQL.format(dataset=dataset), {"account_id": account_id, "since": since})
    return {row["outcome"]: row["detail"] for row in rows}


def current_scores(warehouse: Warehouse, dataset: str, account_id: str) -> list[Any]:
    """Return the account's scores in the view of current scores: one or none."""
    return [row["score"] for row in warehouse.query(_SCORES_SQL.format(dataset=dataset), {"account_id": account_id})]


def smoke_test(project: str, *, topic: str, dataset: str, seconds: float) -> str | None:
    """Publish a change and then a deletion of a new account; return an error, or None if both took effect."""
    warehouse, publisher = Warehouse(project), MessagePublisher()
    try:
        table_path, topic_path = f"{project}.{dataset}", f"projects/{project}/topics/{topic}"
        account_id, now = new_account_id(), dt.datetime.now(dt.UTC).replace(microsecond=0)
        publisher.publish(topic_path, [Message(change_event(account_id, "CREATE", now))])
        if wrong := wait_for(warehouse, table_path, account_id, "scored", after=frozenset(), seconds=seconds):
            return wrong
        (score,) = current_scores(warehouse, table_path, account_id) or (None,)
        if score is None:
            return "the change was scored, but current_account_scores does not show the score"
        typer.echo(f"account {account_id} was scored: {score}")
        publisher.publish(topic_path, [Message(change_event(account_id, "DELETE", now + dt.timedelta(seconds=1)))])
        if wrong := wait_for(
            warehouse, table_path, account_id, "tombstoned", after=frozenset({"scored"}), seconds=seconds
        ):
            return wrong
        if current_scores(warehouse, table_path, account_id):
            return "the account was deleted, but current_account_scores still shows its score"
        typer.echo("its deletion removed the score")
        return None
    finally:
        publisher.close()
        warehouse.close()


def main(
    *,
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project to test.")],
    topic: Annotated[str, typer.Option(help="Topic of the change events.")] = TOPIC,
    dataset: Annotated[str, typer.Option(help="Dataset of scores and ledger.")] = SCORING_DATASET,
    timeout_seconds: Annotated[float, typer.Option(help="Longest wait for each outcome.")] = 600.0,
) -> None:
    """Publish a change of a new account and check that it is scored; exit 1 if it is not."""
    if timeout_seconds <= 0:
        refuse(f"--timeout-seconds is {timeout_seconds}: expected more than 0")
    with one_line_errors():
        wrong = smoke_test(project, topic=topic, dataset=dataset, seconds=timeout_seconds)
    if wrong:
        typer.echo(f"smoke test: {wrong}", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
