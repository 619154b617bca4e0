"""The BigQuery emulator with the pipeline's tables, for benchmarks that need only a warehouse."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.gemini import GeminiStandIn
from pipeline.local.stack import PROJECT
from pipeline.resources.tables import create_tables
from transforms.clients.bigquery import Warehouse


@contextmanager
def emulated_warehouse() -> Iterator[Warehouse]:
    """Yield a connection to a new emulator with empty tables; the environment names it until the end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as environment,
        GeminiStandIn() as tokens,  # for its token endpoint
    ):
        key = write_service_account_file(Path(folder) / "key.json", tokens.token_url, PROJECT)
        for name, value in credentials_environment(key).items():
            environment.setenv(name, value)
        with BigQueryEmulator(Path(folder)) as emulator:
            environment.setenv("BIGQUERY_EMULATOR_HOST", emulator.url)
            warehouse = Warehouse(PROJECT)
            create_tables(warehouse)
            yield warehouse
            warehouse.close()
