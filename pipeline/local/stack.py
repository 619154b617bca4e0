"""The local stack on loopback: Pub/Sub, BigQuery, Gemini, credentials, and the CRM mirror."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.crm.records import CrmRecords
from pipeline.local.gemini_process import GeminiProcess
from pipeline.local.pubsub import EmbeddedPubSub
from pipeline.resources.names import CRM_DATASET
from pipeline.resources.tables import create_tables
from pipeline.resources.topics import create_topics
from schemas.tables import ACCOUNTS, CALLS, EMAILS, OPPORTUNITIES
from transforms.clients.bigquery import Warehouse

PROJECT: Final = "account-scoring-local"
RUNNER: Final = "pipeline.local.runner.LocalRunner"
"""The name by which Beam finds the runner; importing it would import Beam."""


@dataclass(frozen=True)
class LocalStack:
    """A running stack; `environment` holds the variables with which clients find it."""

    project: str
    data_dir: Path
    environment: Mapping[str, str]
    gemini: GeminiProcess
    bigquery: BigQueryEmulator
    warehouse: Warehouse

    def wait_until_ready(self) -> None:
        """Wait until BigQuery answers, and create the missing tables.

        Raises:
            RuntimeError: The BigQuery emulator did not start.
        """
        self.bigquery.wait_until_ready()
        create_tables(self.warehouse)


@contextmanager
def local_stack(data_dir: Path, *, gemini_config: dict[str, Any] | None = None) -> Iterator[LocalStack]:
    """Start the stack with topics, subscriptions and tables; stop it at the end of the context.

    Within the context, the environment of this process points to it. If PUBSUB_EMULATOR_HOST is set, that Pub/Sub
    emulator is used.

    Args:
        data_dir: Folder of the warehouse and the credentials.
        gemini_config: Fields of the stand-in's configuration.
    """
    with starting_stack(data_dir, gemini_config=gemini_config) as stack:
        stack.wait_until_ready()
        yield stack


@contextmanager
def starting_stack(data_dir: Path, *, gemini_config: dict[str, Any] | None = None) -> Iterator[LocalStack]:
    """Like `local_stack`, but enter the context while BigQuery is starting, until `wait_until_ready`.

    Topics and subscriptions exist, so a pipeline can start meanwhile if nothing is published.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as parts:
        bigquery, gemini = BigQueryEmulator(data_dir), GeminiProcess(gemini_config)
        parts.callback(bigquery.stop)
        parts.callback(gemini.stop)
        bigquery.launch()
        gemini.start()
        pubsub_host = os.environ.get("PUBSUB_EMULATOR_HOST") or parts.enter_context(EmbeddedPubSub()).host
        key_file = write_service_account_file(data_dir / "credentials.json", gemini.token_url, PROJECT)
        environment = {
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "PUBSUB_EMULATOR_HOST": pubsub_host,
            "BIGQUERY_EMULATOR_HOST": bigquery.url,
            "GOOGLE_VERTEX_BASE_URL": gemini.url,
            "RESCORE_RUNNER": RUNNER,
            **credentials_environment(key_file),
        }
        parts.enter_context(_environment(environment))
        warehouse = Warehouse(PROJECT)
        parts.callback(warehouse.close)
        create_topics(PROJECT)
        yield LocalStack(PROJECT, data_dir, environment, gemini, bigquery, warehouse)


def load_crm(warehouse: Warehouse, crm: CrmRecords) -> None:
    """Replace the contents of the mirror by the records of a CRM."""
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, crm.accounts)
    warehouse.replace_rows(CRM_DATASET, OPPORTUNITIES, crm.opportunities)
    warehouse.replace_rows(CRM_DATASET, EMAILS, crm.emails)
    warehouse.replace_rows(CRM_DATASET, CALLS, crm.calls)


def crm_is_empty(warehouse: Warehouse) -> bool:
    """Whether the mirror has no account."""
    (row,) = warehouse.query(f"SELECT COUNT(*) AS accounts FROM `{warehouse.project}.{CRM_DATASET}.{ACCOUNTS.name}`")  # noqa: S608 - constant names
    return not row["accounts"]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
