"""The gate before the routes: who asks, how much, how often; and that nothing is a defect."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from pipeline.api import gate
from pipeline.api.auth.principals import Principal, Role
from pipeline.api.gate import MAX_BODY
from pipeline.api.rate_limits import RateLimiter, RateLimits
from pipeline.api.services import Services
from tests.fixtures.api import (
    OPERATOR,
    PUBLISHER,
    ApiClient,
    api,
    authenticator,
    bearer,
    client_of,
    read_model_services,
)
from tests.fixtures.changes import account_id
from tests.fixtures.read_model import KeptSource
from tests.fixtures.scores import score_row

NOW: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
PROBLEM: Final = "application/problem+json"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Return services with one score."""
    with read_model_services(tmp_path, KeptSource(stored=[score_row(1, 40, NOW)]), NOW) as made:
        yield made


@pytest.fixture
def client(services: Services) -> Iterator[ApiClient]:
    """Return a client of an app."""
    with client_of(services) as made:
        yield made


def _problem(answer: Any) -> tuple[int, str]:
    document = answer.json()
    assert answer.headers["content-type"] == PROBLEM
    assert document["status"] == answer.status_code
    assert {"type", "title", "detail"} <= set(document)
    return answer.status_code, document["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    "path", ["/v1/scores", f"/v1/accounts/{account_id()}", "/metrics", "/v1/nowhere", "/", "/docs", "/v1/scores/"]
)
def test_nothing_is_answered_without_credentials(client: ApiClient, path: str) -> None:
    """Not even whether there is such a path."""
    for method in ("GET", "POST", "HEAD", "BREW"):
        answer = client.request(method, path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert _problem(client.get(path)) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/nowhere", (404, "not-found")),
        ("GET", "/docs", (404, "not-found")),
        ("DELETE", "/v1/scores", (405, "method-not-allowed")),
        ("BREW", "/v1/scores", (405, "method-not-allowed")),
        ("GET", "/v1/scores?limit=0", (422, "invalid")),
        ("GET", "/v1/scores?limit=x&tier=y", (422, "invalid")),
        ("GET", "/metrics", (403, "forbidden")),
        ("GET", f"/v1/accounts/{account_id(9)}", (404, "not-found")),
        ("GET", "/v1/scores?search=" + "x" * 9_000, (400, "bad-request")),
    ],
)
def test_errors_are_problems(client: ApiClient, method: str, path: str, expected: tuple[int, str]) -> None:
    """Each with its type; 405 says which methods there are."""
    answer = client.request(method, path, headers=bearer())
    assert _problem(answer) == expected
    assert answer.status_code != 405 or answer.headers["allow"] == "GET"


def test_a_problem_quotes_nothing(client: ApiClient) -> None:
    """Neither values nor names that a client made up, which could be secrets in the wrong place."""
    for query in ("limit=hunter2", "sort=hunter2", "cursor=hunter2", "tier=hunter2"):
        answer = client.get(f"/v1/scores?{query}", headers=bearer())
        assert answer.status_code == 422
        assert "hunter2" not in answer.text
    assert "hunter2" not in client.get("/v1/accounts/hunter2hunter2h", headers=bearer()).text
    assert "hunter2" not in client.get("/v1/scores", headers={"Authorization": "Bearer hunter2"}).text


def test_a_role_sees_what_is_its_own(services: Services) -> None:
    """A publisher reads no score, and the read model is not asked."""
    asked: list[str] = []
    services.model.read = lambda sql, *_: asked.append(sql) or []  # type: ignore[method-assign,func-returns-value]
    with client_of(services) as client:
        for path in ("/v1/scores", f"/v1/accounts/{account_id()}", f"/v1/accounts/{account_id()}/scores"):
            assert _problem(client.get(path, headers=bearer(PUBLISHER))) == (403, "forbidden")
    assert asked == []


def test_open_paths_need_nobody(client: ApiClient) -> None:
    """They tell nothing of anybody."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "as_of": "2026-03-02T09:30:00Z"}
    assert "/v1/scores" in client.get("/openapi.json").json()["paths"]


def test_every_answer_has_its_headers(client: ApiClient) -> None:
    """Also a problem: no cache keeps it, no browser guesses what it is or frames it."""
    for headers in ({}, bearer()):
        answer = client.get("/v1/scores", headers=headers)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def _stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1_000):
        yield b"x" * 1_000


@pytest.mark.parametrize("headers", [{}, {"content-length": "10"}, {"content-length": "-1"}])
def test_a_large_body_is_refused(client: ApiClient, headers: dict[str, str]) -> None:
    """Whatever its length is said to be; the rest is not read."""
    content = _stream(2 * MAX_BODY) if headers.get("content-length") != "10" else b"x" * (MAX_BODY + 1)
    answer = client.post("/v1/scores", content=content, headers={**bearer(), **headers})
    assert _problem(answer) == (413, "too-large")
    lengthy = client.post("/v1/scores", content=b"", headers={**bearer(), "content-length": "9" * 30})
    assert _problem(lengthy) == (413, "too-large")


async def _slow() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.sleep(30)


def test_a_body_that_does_not_come_is_not_waited_for(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that sends a byte a minute holds nothing."""
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    answer = client.post("/v1/scores", content=_slow(), headers=bearer())
    assert _problem(answer) == (408, "timeout")


def test_each_principal_has_a_rate(services: Services) -> None:
    """Others go on; the answer says when the next request may succeed."""
    services.rate_limiter = RateLimiter(RateLimits(reads=3, writes=1))
    with client_of(services) as client:
        answers = [client.get("/v1/scores", headers=bearer()) for _ in range(4)]
        assert [it.status_code for it in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert client.get("/v1/scores", headers=bearer(OPERATOR)).status_code == 200
        assert client.post("/v1/nowhere", headers=bearer()).status_code == 404
        assert client.post("/v1/nowhere", headers=bearer()).status_code == 429


def test_a_defect_is_one_answer_and_one_line_of_the_log(services: Services) -> None:
    """The client learns no more than that there is one."""

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("the text of the defect")

    services.model.read = fail  # type: ignore[method-assign,assignment]
    with client_of(services) as client, capture_logs() as logs:
        answer = client.get("/v1/scores", headers=bearer())
    assert _problem(answer) == (500, "failed")
    assert "defect" not in answer.json()["detail"]
    assert [entry["event"] for entry in logs] == ["a request failed: a defect"]


def test_who_writes_is_in_the_log(client: ApiClient) -> None:
    """With the route, and without the body; who reads is not."""
    with capture_logs() as logs:
        client.get("/v1/scores", headers=bearer())
        client.post("/v1/scores", headers=bearer(), content=b"secret")
    (entry,) = (it for it in logs if it["event"] == "request")
    assert (entry["principal"], entry["status"]) == ("ann@example.com", 405)


def test_anonymous_is_asked_as_loopback(tmp_path: Path) -> None:
    """A page whose name was pointed at loopback (DNS rebinding) gets nothing."""
    anonymous = Principal("anonymous", frozenset({Role.READER}))
    with api(tmp_path, KeptSource(), NOW, authenticator=authenticator(anonymous=anonymous)) as client:
        assert client.get("/v1/scores").status_code == 200
        assert _problem(client.get("/v1/scores", headers={"Host": "evil.example.com"})) == (403, "forbidden")
        assert _problem(client.get("/metrics")) == (403, "forbidden")


def test_metrics_name_routes_and_nobody(client: ApiClient) -> None:
    """Paths have ids of accounts; methods and paths that are made up make no new series."""
    client.get(f"/v1/accounts/{account_id()}", headers=bearer())
    client.request("BREW", "/made-up", headers=bearer())
    text = client.get("/metrics", headers=bearer(OPERATOR)).text
    assert 'requests_total{method="GET",route="/v1/accounts/{account_id}",status="200"} 1.0' in text
    assert 'requests_total{method="other",route="other",status="404"} 1.0' in text
    assert "rescore_api_read_model_age_seconds 0.0" in text
    assert account_id() not in text
    assert "example.com" not in text
