"""Servers for integration tests; each ends with the module that started it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.gemini import GeminiStandIn
from pipeline.local.stack import PROJECT
from pipeline.resources.tables import create_tables
from transforms.clients.bigquery import Warehouse
from transforms.process import forget_shared_objects


@pytest.fixture(scope="module", autouse=True)
def _new_process() -> None:
    """Start each module without connections: its servers have new addresses."""
    forget_shared_objects()


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """Return a MonkeyPatch that sets environment variables for a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def gemini(tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch) -> Iterator[GeminiStandIn]:
    """Return a Gemini stand-in that google-genai finds, with credentials from its token endpoint."""
    with GeminiStandIn() as stand_in:
        folder = tmp_path_factory.mktemp("credentials")
        key_file = write_service_account_file(folder / "key.json", stand_in.token_url, PROJECT)
        environment.setenv("GOOGLE_VERTEX_BASE_URL", stand_in.url)
        for name, value in credentials_environment(key_file).items():
            environment.setenv(name, value)
        yield stand_in


@pytest.fixture(scope="module")
def warehouse(
    tmp_path_factory: pytest.TempPathFactory,
    environment: pytest.MonkeyPatch,
    gemini: GeminiStandIn,  # brings the credentials
) -> Iterator[Warehouse]:
    """Return a connection to a BigQuery emulator with the service's tables, all empty."""
    folder: Path = tmp_path_factory.mktemp("bigquery")
    with BigQueryEmulator(folder) as emulator:
        environment.setenv("BIGQUERY_EMULATOR_HOST", emulator.url)
        connection = Warehouse(PROJECT)
        create_tables(connection)
        yield connection
        connection.close()
