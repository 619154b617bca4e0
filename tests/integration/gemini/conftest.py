"""A running stand-in that this process's Google clients call."""

import pytest

from pipeline.local.gemini import GeminiConfig, GeminiStandIn
from tests.fixtures.shared_servers import SharedServers


@pytest.fixture
def stand_in(gemini: GeminiStandIn, servers: SharedServers) -> GeminiStandIn:
    """Return the running stand-in with its initial configuration and counts, and without latency."""
    return servers.gemini(GeminiConfig(latency="instant"))
