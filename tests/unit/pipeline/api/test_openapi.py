"""The OpenAPI document: it is that of the code, and every answer is as it says."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pipeline.api.application import create_app
from pipeline.api.background_replays import BackgroundReplays
from pipeline.api.gate import OPEN_PATHS
from pipeline.api.openapi import document_text
from pipeline.api.rate_limits import RateLimiter, RateLimits
from pipeline.api.services import Services
from schemas.account_context import AccountProfile
from tests.fixtures.api import EVERYBODY, Resources, bearer, read_model_services
from tests.fixtures.changes import account_id
from tests.fixtures.fuzzing import fuzz
from tests.fixtures.mutated_requests import send_mutated
from tests.fixtures.read_model import KeptSource
from tests.fixtures.scores import score_row

FILE: Final = Path(__file__).parents[4] / "docs" / "api" / "openapi.yaml"
NOW: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)


def test_the_document_is_that_of_the_code() -> None:
    """`make generate` writes it."""
    assert FILE.read_text(encoding="utf-8") == document_text()


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in yaml.safe_load(document_text())["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


@pytest.mark.parametrize(
    ("path", "method", "operation"), [*_operations()], ids=lambda it: it if isinstance(it, str) else ""
)
def test_an_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    """Who may ask, what comes back, and every parameter in words."""
    assert ("security" in operation) is (path not in OPEN_PATHS)
    assert operation["summary"]
    assert operation["description"]
    for parameter in operation.get("parameters", ()):
        assert parameter["description"]
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            assert list(answer["content"]) == ["application/problem+json"]


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Return services with some scores, without limits of rate, BigQuery and Pub/Sub."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "no-credentials.json")
    resources = Resources(is_down=True)
    source = KeptSource(
        stored=[score_row(number, 10 * number, NOW - dt.timedelta(days=number)) for number in range(1, 9)],
        accounts=[AccountProfile(account_id=account_id(number), name="A", modified_at=NOW) for number in range(5)],
    )
    limiter = RateLimiter(RateLimits(reads=10_000_000, writes=10_000_000))
    fields: dict[str, Any] = {"resources": resources, "replays": BackgroundReplays(resources)}
    with read_model_services(tmp_path, source, NOW, rate_limiter=limiter, **fields) as made:
        yield made


def test_every_answer_is_as_described(services: Services) -> None:
    """Of requests that follow the document and of those that don't; a benchmark sends more."""
    done = fuzz(services, 200, bearer(EVERYBODY))
    assert done.statuses[200] > 10
    assert sum(done.statuses.values()) == 200
    assert set(done.statuses) <= {200, 202, 400, 401, 403, 404, 405, 409, 413, 422, 503}


def test_no_request_is_a_defect(services: Services) -> None:
    """Also one that no client library would send: good ones with bytes changed."""
    statuses = send_mutated(create_app(services), 1_000, bearer(EVERYBODY), seed=1)
    assert statuses[200] > 100
    assert set(statuses) <= {200, 202, 400, 401, 403, 404, 405, 408, 409, 413, 422, 503}
