"""The local stack on loopback: Pub/Sub, BigQuery, Gemini, credentials, and the CRM mirror."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.crm.records import CrmRecords
from pipeline.local.gemini_process import GeminiProcess
from pipeline.local.stack_processes import PROJECT, RUNNER, StackProcesses, stack_processes
from pipeline.resources.names import CRM_DATASET
from pipeline.resources.tables import create_tables
from schemas.tables import ACCOUNTS, CALLS, CONTACTS, EMAILS, OPPORTUNITIES
from transforms.clients.bigquery import Warehouse

__all__ = ["PROJECT", "RUNNER", "LocalStack", "connected_stack", "crm_is_empty", "load_crm", "local_stack"]


@dataclass(frozen=True)
class LocalStack:
    """A running stack; `environment` holds the variables with which clients find it."""

    project: str
    data_dir: Path
    environment: Mapping[str, str]
    gemini: GeminiProcess
    bigquery: BigQueryEmulator
    warehouse: Warehouse


@contextmanager
def local_stack(data_dir: Path, *, gemini_config: dict[str, Any] | None = None) -> Iterator[LocalStack]:
    """Start the stack with topics, subscriptions and tables; stop it at the end of the context.

    Within the context, the environment of this process points to it. If PUBSUB_EMULATOR_HOST alone is set, that
    Pub/Sub emulator is used.

    Args:
        data_dir: Folder of the warehouse and the credentials.
        gemini_config: Fields of the stand-in's configuration.
    """
    with stack_processes(data_dir, gemini_config=gemini_config) as processes, connected_stack(processes) as stack:
        yield stack


@contextmanager
def connected_stack(processes: StackProcesses) -> Iterator[LocalStack]:
    """Wait until the servers answer, and create the missing tables; end the connection at the end of the context.

    Raises:
        RuntimeError: The BigQuery emulator or the Gemini stand-in did not start.
    """
    processes.gemini.wait_until_ready()
    processes.bigquery.wait_until_ready()
    warehouse = Warehouse(processes.project)
    try:
        create_tables(warehouse)
        yield LocalStack(
            project=processes.project,
            data_dir=processes.data_dir,
            environment=processes.environment,
            gemini=processes.gemini,
            bigquery=processes.bigquery,
            warehouse=warehouse,
        )
    finally:
        warehouse.close()


def load_crm(warehouse: Warehouse, crm: CrmRecords) -> None:
    """Replace the contents of the mirror by the records of a CRM."""
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, crm.accounts)
    warehouse.replace_rows(CRM_DATASET, OPPORTUNITIES, crm.opportunities)
    warehouse.replace_rows(CRM_DATASET, EMAILS, crm.emails)
    warehouse.replace_rows(CRM_DATASET, CALLS, crm.calls)
    warehouse.replace_rows(CRM_DATASET, CONTACTS, crm.contacts)


def crm_is_empty(warehouse: Warehouse) -> bool:
    """Whether the mirror has no account."""
    (row,) = warehouse.query(f"SELECT COUNT(*) AS accounts FROM `{warehouse.project}.{CRM_DATASET}.{ACCOUNTS.name}`")  # noqa: S608 - constant names
    return not row["accounts"]
