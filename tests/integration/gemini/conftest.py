"""A running stand-in that this process's Google clients call."""

from collections.abc import Iterator

import pytest

from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.gemini import GeminiConfig, GeminiStandIn
from tests.integration.gemini.client import PROJECT


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeminiStandIn]:
    """Start a stand-in, and point the Google clients of this process to it, as the local stack does."""
    with GeminiStandIn(GeminiConfig(latency="instant")) as stand_in, pytest.MonkeyPatch.context() as environment:
        path = write_service_account_file(
            tmp_path_factory.mktemp("credentials") / "credentials.json", stand_in.token_url, PROJECT
        )
        environment.setenv("GOOGLE_VERTEX_BASE_URL", stand_in.url)
        for name, value in credentials_environment(path).items():
            environment.setenv(name, value)
        yield stand_in


@pytest.fixture
def stand_in(running: GeminiStandIn) -> GeminiStandIn:
    """Return the running stand-in with its initial configuration and counts."""
    running.configure(**GeminiConfig(latency="instant").model_dump())
    running.reset()
    return running
