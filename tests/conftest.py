"""Fixtures and settings of the whole suite."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

if TYPE_CHECKING:
    from tests.fixtures.shared_servers import SharedServers

pytest_plugins = ["pytester", "tests.fixtures.examples", "tests.fixtures.leak_check"]


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Restore the root logger after each test: a command's handler writes to a stream that is closed by then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(autouse=True, scope="session")
def _loggers_follow_their_configuration() -> Iterator[None]:
    """Have structlog cache no logger: a cached one keeps processors of an earlier test; `capture_logs` misses it."""
    configure = structlog.configure

    def without_cache(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", without_cache)
        without_cache(**structlog.get_config())  # what modules of workers configured when they were imported
        yield


@pytest.fixture(autouse=True)
def _without_terminal_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away COLUMNS, which pytest-xdist sets in its workers: a piped table has no width without it."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM after each test: a command that runs in this process sets its own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


SHARED = Path(__file__).parents[2] / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"../shared/{name} not found: it has real input that is not part of the project")
    return folder


@pytest.fixture(scope="session")
def published_events() -> Path:
    """Return the folder of real change events, published by others."""
    return _shared("events")


@pytest.fixture(scope="session")
def crm_extract() -> Path:
    """Return the folder of the CRM extract."""
    return _shared("crm-sales-opportunities")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SharedServers]":
    """Return the servers that the tests of this process share."""
    from tests.fixtures.shared_servers import SharedServers  # noqa: PLC0415 - takes seconds to import

    with SharedServers(tmp_path_factory.mktemp("servers")) as shared:
        yield shared
