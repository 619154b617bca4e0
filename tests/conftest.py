"""What the whole suite shares."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["pytester", "tests.fixtures.leak_check"]

# Timing decides no test: a property holds on a slow machine too.
settings.register_profile("account-rescoring", deadline=None)
settings.load_profile("account-rescoring")


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Take back what a command made of the process's logs: its handler writes to a stream that is gone by then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


SHARED = Path(__file__).parents[2] / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"../shared/{name} is not here: it holds real input that is no part of the project")
    return folder


@pytest.fixture(scope="session")
def published_events() -> Path:
    """Return the folder of change events that other people published."""
    return _shared("events")


@pytest.fixture(scope="session")
def crm_extract() -> Path:
    """Return the folder of the CRM extract."""
    return _shared("crm-sales-opportunities")
