"""A local stack on the servers that this process's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.stack import LocalStack
from tests.fixtures.shared_servers import SharedServers


@pytest.fixture
def stack(servers: SharedServers, tmp_path: Path) -> Iterator[LocalStack]:
    """Return a stack with a project of its own, without messages and rows; clients of this process go there, too."""
    with servers.stack(tmp_path) as started:
        yield started
