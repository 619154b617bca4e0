"""`rescore doctor` with the local stack: what is broken is named with its remedy, and the rest is still checked."""

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations
import pytest
from google.cloud import pubsub_v1
from google.iam.v1 import iam_policy_pb2, iam_policy_pb2_grpc  # type: ignore[import-untyped]  # as grpcio
from rich.console import Console

from pipeline.doctor.check import Check, Finding, Status, examine
from pipeline.doctor.diagnosis import Diagnosis, deployment_from, diagnose
from pipeline.doctor.permissions import Persona
from pipeline.doctor.pubsub import PubSub
from pipeline.doctor.view import live_view, render
from pipeline.doctor.warehouse import ADD_COLUMNS, BigQuery
from pipeline.local.gemini import GeminiStandIn
from pipeline.local.gemini.config import Fault
from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.local.pubsub import EmbeddedPubSub
from pipeline.local.stack import PROJECT
from pipeline.resources.names import SCORING_DATASET
from pipeline.resources.tables import create_tables
from pipeline.resources.topics import create_topics
from schemas.tables import ACCOUNT_SCORES, Column, Table
from tests.fixtures.planted_secrets import REDIS_PASSWORD, SALESFORCE_CLIENT_ID
from tests.fixtures.redis_server import RedisServer
from tests.integration.salesforce_stand_in import VARIABLE, secrets_of, trusted_stand_in
from tests.integration.salesforce_stand_in import Fault as SalesforceFault
from transforms.clients.bigquery import QueryLimits, Warehouse
from transforms.clients.gemini_api import DEFAULT_MODEL

NAMES: Final = (
    "credentials",
    "topic account-changes",
    "topic account-changes-dead-letter",
    "topic account-changes-parking-lot",
    "subscription account-changes-rescoring",
    "subscription account-changes-dead-letter-hold",
    "subscription account-changes-parking-lot-hold",
    "dataset account_scoring",
    "dataset crm",
    "table account_scoring.account_scores",
    "table account_scoring.change_outcomes",
    "table account_scoring.dead_letters",
    "table account_scoring.dead_letter_replays",
    "table account_scoring.dead_letter_replay_lease",
    "table crm.accounts",
    "table crm.opportunities",
    "table crm.emails",
    "table crm.calls",
    "table crm.contacts",
    "view account_scoring.current_account_scores",
    "view account_scoring.score_movements",
    "queries",
    "permissions on topic account-changes",
    "permissions on topic account-changes-dead-letter",
    "permissions on topic account-changes-parking-lot",
    "permissions on subscription account-changes-rescoring",
    "permissions on subscription account-changes-dead-letter-hold",
    "permissions on subscription account-changes-parking-lot-hold",
    "permissions on table account_scoring.account_scores",
    "permissions on table account_scoring.change_outcomes",
    "permissions on table account_scoring.dead_letters",
    "permissions on table account_scoring.dead_letter_replays",
    "permissions on table account_scoring.dead_letter_replay_lease",
    "permissions on table crm.accounts",
    "permissions on table crm.opportunities",
    "permissions on table crm.emails",
    "permissions on table crm.calls",
    "permissions on table crm.contacts",
    f"model {DEFAULT_MODEL}",
    "Redis",
    "secrets",
    "Salesforce",
)


@pytest.fixture
def stack(
    monkeypatch: pytest.MonkeyPatch, gemini: GeminiStandIn, warehouse: Warehouse
) -> Iterator[tuple[EmbeddedPubSub, Warehouse]]:
    """Return a stack with new topics for each test, and with all tables."""
    create_tables(warehouse)
    gemini.configure(faults=[])
    gemini.reset()
    with EmbeddedPubSub() as broker:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.host)
        create_topics(PROJECT)
        yield broker, warehouse


def _doctor(persona: str = "both", **options: str) -> Diagnosis:
    given = {"project": PROJECT} | options
    arguments = [f"--{name}={value}" for name, value in given.items()]
    return diagnose(deployment_from(arguments, persona), live_view)


def _found(diagnosis: Diagnosis) -> Mapping[str, Finding]:
    return {result.name: result.finding for result in diagnosis.results}


def _failed(diagnosis: Diagnosis) -> dict[str, Finding]:
    """Return the failed checks by name; each has a remedy of one line."""
    failed = {name: finding for name, finding in _found(diagnosis).items() if finding.status is Status.FAILED}
    for finding in failed.values():
        assert finding.remedy
        assert "\n" not in finding.detail + finding.remedy
    assert diagnosis.is_ok is not bool(failed)
    return failed


def _shown(diagnosis: Diagnosis) -> str:
    """Return everything that a user can see."""
    console = Console(record=True, width=200, quiet=True)
    console.print(render(diagnosis))
    return json.dumps(diagnosis.document()) + console.export_text()


@pytest.mark.usefixtures("stack")
def test_a_healthy_stack_passes_every_check(gemini: GeminiStandIn) -> None:
    """All checks run, in order; permissions that an emulator does not report don't fail; Gemini is called once."""
    diagnosis = _doctor()
    assert _failed(diagnosis) == {}
    assert tuple(result.name for result in diagnosis.results) == NAMES
    found = _found(diagnosis)
    assert {finding.status for name, finding in found.items() if name.startswith("permissions")} == {Status.NOT_TOLD}
    assert {name for name, finding in found.items() if finding.status is Status.SKIPPED} == {
        "Redis",
        "secrets",
        "Salesforce",
    }
    assert f"local-stack@{PROJECT}.iam.gserviceaccount.com" in found["credentials"].detail
    assert gemini.stats().calls == 1


def test_a_deleted_topic_is_found_with_its_subscription(stack: tuple[EmbeddedPubSub, Warehouse]) -> None:
    """The subscription exists and receives nothing; no other check fails."""
    with pubsub_v1.PublisherClient() as publisher:
        publisher.delete_topic(topic=f"projects/{PROJECT}/topics/account-changes")
    failed = _failed(_doctor())
    assert set(failed) == {"topic account-changes", "subscription account-changes-rescoring"}
    assert "terraform apply" in (failed["topic account-changes"].remedy or "")
    assert "deleted" in failed["subscription account-changes-rescoring"].detail


def test_drifted_tables_are_found(stack: tuple[EmbeddedPubSub, Warehouse]) -> None:
    """A table that lacks a column, has another type or no partitions, and a missing table are found."""
    _, warehouse = stack
    crm = f"`{PROJECT}.crm"
    statements = (
        f"DROP TABLE {crm}.calls`",
        f"DROP TABLE {crm}.emails`",
        f"CREATE TABLE {crm}.emails` (email_id INT64 NOT NULL, account_id STRING NOT NULL)",
    )
    for sql in statements:
        list(warehouse.query(sql))
    try:
        failed = _failed(_doctor())
    finally:
        list(warehouse.query(f"DROP TABLE {crm}.emails`"))
        create_tables(warehouse)
    assert set(failed) == {"table crm.emails", "table crm.calls"}
    drift = failed["table crm.emails"].detail
    assert "column email_id is INTEGER, not STRING" in drift
    assert "column sent_at is missing" in drift
    assert "partitioned by nothing, not DAY of sent_at" in drift
    assert "terraform apply" in (failed["table crm.calls"].remedy or "")
    assert _failed(_doctor()) == {}


class _OlderScores(Table):
    """The table of scores before three of its columns existed."""

    @property
    def columns(self) -> list[Column]:
        return [column for column in super().columns if column["name"] not in {"drivers", "summary", "flags"}]


def test_columns_that_a_release_adds_are_named_with_the_statement_that_adds_them(
    stack: tuple[EmbeddedPubSub, Warehouse],
) -> None:
    """A table of an older release lacks columns: doctor says which, and the statement that it prints adds them."""
    _, warehouse = stack
    name = f"`{PROJECT}.account_scoring.account_scores`"
    list(warehouse.query(f"DROP TABLE {name}"))
    warehouse.create_table(SCORING_DATASET, _OlderScores(**vars(ACCOUNT_SCORES)))
    try:
        diagnosis = diagnose(deployment_from([f"--project={PROJECT}"], "both", only_tables=True), live_view)
        failed = _failed(diagnosis)
        assert set(failed) == {"table account_scoring.account_scores"}
        (finding,) = failed.values()
        assert finding.detail == "column drivers is missing; column summary is missing; column flags is missing"
        statement = f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS drivers ARRAY<STRUCT<factor STRING, "
        assert (finding.remedy or "").startswith(f"{ADD_COLUMNS}; or: bq query --use_legacy_sql=false '{statement}")
    finally:
        list(warehouse.query(f"DROP TABLE {name}"))
        create_tables(warehouse)
    names = [result.name for result in diagnosis.results]
    assert all(name.startswith(("dataset ", "table ", "view ")) for name in names)
    assert len(names) == len([name for name in NAMES if name.startswith(("dataset ", "table ", "view "))])


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (FaultKind.HTTP_403, "aiplatform.endpoints.predict"),
        (FaultKind.HTTP_404, f"--model {DEFAULT_MODEL}"),
        (FaultKind.HTTP_401, "gcloud auth application-default login"),
        (FaultKind.HTTP_429, "more quota"),
        (FaultKind.HTTP_503, "reaches aiplatform.googleapis.com"),
        (FaultKind.CONNECTION_DROPPED, "reaches aiplatform.googleapis.com"),
        (FaultKind.PROSE, "another --model"),
        (FaultKind.ITEM_MISSING, "another --model"),
    ],
)
def test_a_model_that_does_not_score_is_found(gemini: GeminiStandIn, fault: FaultKind, remedy: str) -> None:
    """Refused, not found, or an invalid answer: each has its own remedy, and one call is made."""
    gemini.configure(faults=[Fault(kind=fault)])
    failed = _failed(_doctor())
    assert set(failed) == {f"model {DEFAULT_MODEL}"}
    assert remedy in (failed[f"model {DEFAULT_MODEL}"].remedy or "")
    assert gemini.stats().calls == 1


@pytest.mark.usefixtures("stack")
def test_redis_is_checked_if_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its password in a variable: up, then down; the password is never shown."""
    with RedisServer() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        well = _doctor(redis_url="REDIS_URL")
        assert _failed(well) == {}
        assert _found(well)["Redis"].status is Status.OK
        assert _found(well)["secret REDIS_URL"].status is Status.OK
        server.kill()
        down = _doctor(redis_url="REDIS_URL")
    assert set(_failed(down)) == {"Redis"}
    assert "--redis_url" in (_found(down)["Redis"].remedy or "")
    assert REDIS_PASSWORD not in _shown(well) + _shown(down)


@pytest.mark.usefixtures("stack")
def test_a_variable_that_is_not_set_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret's check names it; checks that need the secret fail, too."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    failed = _failed(_doctor(redis_url="REDIS_URL"))
    assert set(failed) == {"secret REDIS_URL", "Redis"}
    assert failed["secret REDIS_URL"].remedy == "set the variable REDIS_URL, here and on the workers"


@pytest.mark.usefixtures("stack")
def test_a_salesforce_login_succeeds_or_fails_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused login is reported by Salesforce's code; neither key nor secret is shown."""
    with trusted_stand_in(tmp_path, monkeypatch) as salesforce:
        options = {
            "salesforce_login_url": salesforce.url,
            "salesforce_client_id": SALESFORCE_CLIENT_ID,
            "salesforce_secret": VARIABLE,
        }
        well = _doctor(**options)
        assert _failed(well) == {}
        assert _found(well)["Salesforce"].status is Status.OK
        salesforce.login_faults.append(SalesforceFault(400, "invalid_client"))
        refused = _doctor(**options)
        assert set(_failed(refused)) == {"Salesforce"}
        assert "invalid_client" in _found(refused)["Salesforce"].detail
        shown = _shown(well) + _shown(refused)
        assert not [secret for secret in secrets_of(salesforce) if secret in shown]


@pytest.mark.usefixtures("stack")
def test_without_credentials_the_rest_is_still_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """BigQuery and Gemini fail with the remedy to log in; the Pub/Sub emulator needs no credentials."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    found = _found(_doctor())
    assert tuple(found) == NAMES
    assert found["credentials"].detail == "no credentials were found"
    for name in ("credentials", "dataset crm", "table crm.accounts", f"model {DEFAULT_MODEL}"):
        assert "gcloud auth application-default login" in (found[name].remedy or ""), name
    assert found["topic account-changes"].status is Status.OK


@pytest.mark.usefixtures("stack")
def test_a_broken_key_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable that names the file is named."""
    (tmp_path / "key.json").write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    finding = _found(_doctor())["credentials"]
    assert finding.status is Status.FAILED
    assert "GOOGLE_APPLICATION_CREDENTIALS" in finding.detail


@pytest.mark.usefixtures("stack")
def test_a_service_that_is_down_leaves_the_others_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at BigQuery's address: only its checks fail."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr("transforms.clients.bigquery.LOOKUP_LIMITS", QueryLimits(retry_seconds=0.5))
    failed = _failed(_doctor())
    assert {name.split()[0] for name in failed} == {"dataset", "table", "view", "queries", "permissions"}
    assert not [name for name in failed if "topic" in name or "subscription" in name]
    assert "reaches bigquery.googleapis.com" in (failed["dataset crm"].remedy or "")


class _Policies(iam_policy_pb2_grpc.IAMPolicyServicer):
    """Grants everything except publishing."""

    def TestIamPermissions(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        granted = [name for name in request.permissions if name != "pubsub.topics.publish"]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=granted)


def test_permissions_on_pubsub_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Google's own client: consuming is granted, publishing is not, and the remedy is the role."""
    server = grpc.server(ThreadPoolExecutor(2))
    iam_policy_pb2_grpc.add_IAMPolicyServicer_to_server(_Policies(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    pubsub = PubSub(PROJECT)
    try:
        results = examine(list(pubsub.permission_checks(Persona.PIPELINE)))
    finally:
        pubsub.close()
        server.stop(None)
    found = {result.name: result.finding for result in results}
    topic = found["permissions on topic account-changes-dead-letter"]
    assert topic.detail == "not granted: pubsub.topics.publish"
    assert "roles/pubsub.publisher" in (topic.remedy or "")
    assert found["permissions on subscription account-changes-rescoring"].status is Status.OK


@contextmanager
def _bigquery_that_answers(status: int, document: Mapping[str, Any]) -> Iterator[str]:
    """Answer every request like BigQuery's REST API with one document; yield the address."""
    body = json.dumps(document).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer()

        def _answer(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _bigquery_results(checks: list[Check], bigquery: BigQuery) -> Mapping[str, Finding]:
    try:
        return {result.name: result.finding for result in examine(checks)}
    finally:
        bigquery.close()


@pytest.mark.usefixtures("gemini")  # for the credentials
def test_permissions_on_bigquery_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Google's own client: reading is granted, writing is not, and the remedy is the role."""
    with _bigquery_that_answers(200, {"permissions": ["bigquery.tables.getData"]}) as address:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
        bigquery = BigQuery(PROJECT, "account_scoring", "crm")
        found = _bigquery_results(list(bigquery.permission_checks(Persona.PIPELINE)), bigquery)
    assert found["permissions on table crm.accounts"].status is Status.OK
    scores = found["permissions on table account_scoring.account_scores"]
    assert scores.detail == "not granted: bigquery.tables.updateData"
    assert "roles/bigquery.dataEditor" in (scores.remedy or "")


@pytest.mark.usefixtures("gemini")  # for the credentials
def test_a_disabled_api_is_reported_by_each_of_its_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """BigQuery's response has the reason code; checks of datasets, tables, queries and permissions use it."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}
    document = {
        "error": {"code": 403, "message": "has not been used", "status": "PERMISSION_DENIED", "details": [info]}
    }
    with _bigquery_that_answers(403, document) as address:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
        bigquery = BigQuery(PROJECT, "account_scoring", "crm")
        found = _bigquery_results([*bigquery.checks(), *bigquery.permission_checks(Persona.REPLAY)], bigquery)
    remedies = {finding.remedy for finding in found.values()}
    assert remedies == {f"gcloud services enable bigquery.googleapis.com --project {PROJECT}"}
