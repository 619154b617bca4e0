"""`rescore serve` as a process on a local stack: it answers, outlasts an outage, and ends in silence."""

import datetime as dt
import http.server
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from pipeline.local.stack import LocalStack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountProfile
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS
from tests.fixtures.api import AUDIENCE, READER, bearer, certs, rsa_key
from tests.fixtures.changes import account_id
from tests.fixtures.commands import COMMAND, PATIENCE_SECONDS, wait_until, without_exports
from tests.fixtures.scores import score_row

NOW: Final = dt.datetime.now(dt.UTC)


@contextmanager
def served(stack: LocalStack, log: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Run `rescore serve`, and yield its process and a client once it is ready."""
    temporary = log.parent / "temporary"
    temporary.mkdir()
    environment = without_exports() | dict(stack.environment) | {"TMPDIR": str(temporary)}
    command = [*COMMAND, "serve", "--project", stack.project, "--port", "0", "--refresh-seconds", "0.2", *arguments]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            wait_until(lambda: _address(log), process, "the address", log)
            with httpx.Client(base_url=str(_address(log)), timeout=PATIENCE_SECONDS) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200, process, "the scores", log)
                yield process, client
        finally:
            process.kill()


def _address(log: Path) -> str | None:
    found = re.search(r"^rescore: serving .* at (http://\S+);", log.read_text(), flags=re.MULTILINE)
    return found[1] if found else None


def _store(stack: LocalStack, *scores: Any) -> None:
    stack.warehouse.append_rows(SCORING_DATASET, ACCOUNT_SCORES, scores)


@pytest.fixture
def scored(stack: LocalStack) -> LocalStack:
    """Return a stack with an account that has a score."""
    profile = AccountProfile(account_id=account_id(1), name="Quillon Travel AG", modified_at=NOW)
    stack.warehouse.replace_rows(CRM_DATASET, ACCOUNTS, [profile])
    _store(stack, score_row(1, 40, NOW - dt.timedelta(days=1)))
    return stack


def test_it_serves_follows_and_ends(scored: LocalStack, tmp_path: Path) -> None:
    """New scores are there within seconds; SIGTERM ends it with 143, without a word, and leaves nothing behind."""
    log = tmp_path / "serve.log"
    with served(scored, log, "--allow-anonymous") as (process, client):
        (item,) = client.get("/v1/scores").json()["items"]
        assert (item["name"], item["score"]["score"]) == ("Quillon Travel AG", 40)
        _store(scored, score_row(1, 90, NOW), score_row(2, 70, NOW))
        wait_until(lambda: client.get("/v1/scores").json()["accounts"] == 2, process, "the new scores", log)
        changed = client.get(f"/v1/accounts/{account_id(1)}").json()["what_changed"]
        assert (changed["difference"], changed["previous"]["score"]) == (50, 40)
        assert client.get("/metrics").status_code == 200  # on a local stack, anonymous may do everything
        assert client.get("/v1/scores", headers={"Host": "evil.example.com"}).status_code == 403
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 143
        assert process.stdout
        assert process.stdout.read() == b""
    assert list((tmp_path / "temporary").iterdir()) == []
    (line,) = log.read_text().splitlines()
    assert line.endswith("Ctrl-C ends it")


@contextmanager
def _cert_server() -> Iterator[str]:
    """Serve the certificates of the tests' key, as Google does its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = certs()
            self.send_response(200)
            self.send_header("Cache-Control", "public, max-age=3600")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/certs"
    finally:
        server.shutdown()
        server.server_close()


def test_only_principals_are_answered(scored: LocalStack, tmp_path: Path) -> None:
    """By tokens that the configured certificates verify; nobody else learns anything."""
    allow_list = tmp_path / "allow-list.yaml"
    allow_list.write_text(f"principals:\n  - {{email: {READER}, roles: [reader]}}\n")
    with _cert_server() as url:
        options = ("--allow-list", str(allow_list), "--audience", AUDIENCE, "--oidc-certs-url", url)
        with served(scored, tmp_path / "serve.log", *options) as (process, client):
            expected: list[tuple[Mapping[str, str], int]] = [
                (bearer(), 200),
                ({}, 401),
                (bearer(aud="https://other.example.com"), 401),
                (bearer(key=rsa_key(2)), 401),
                (bearer("eve@example.com"), 403),
            ]
            assert [client.get("/v1/scores", headers=it).status_code for it, _ in expected] == [
                it for _, it in expected
            ]
            allow_list.write_text("principals:\n  - {email: eve@example.com, roles: [reader]}\n")
            eve = bearer("eve@example.com")
            wait_until(
                lambda: client.get("/v1/scores", headers=eve).status_code == 200,
                process,
                "the changed allow-list",
                tmp_path / "serve.log",
            )
            assert client.get("/v1/scores", headers=bearer()).status_code == 403
