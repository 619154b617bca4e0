"""Threads that write at once keep their connections to BigQuery, instead of opening new ones."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest
from google.auth.credentials import AnonymousCredentials

from schemas.tables import ACCOUNTS
from transforms.clients.bigquery import POOLED_CONNECTIONS, Warehouse

ROUNDS: Final = 3


class _Inserts(ThreadingHTTPServer):
    """Takes inserts; answers when as many are there as threads insert, so that each needs a connection of its own."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connections = 0
        self.meeting = threading.Barrier(POOLED_CONNECTIONS, timeout=60)
        self.request_queue_size = 2 * POOLED_CONNECTIONS
        self.socket.listen(self.request_queue_size)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Inserts
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.meeting.wait()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def inserts(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Inserts]:
    """Return a server of inserts, to which Google's client goes."""
    with _Inserts() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("google.auth.default", lambda **_: (AnonymousCredentials(), "my-project"))  # type: ignore[no-untyped-call]
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_connections_are_kept(inserts: _Inserts, caplog: pytest.LogCaptureFixture) -> None:
    """As many as threads insert at once, and no more in later rounds; none is discarded."""
    caplog.set_level(logging.WARNING, "urllib3.connectionpool")
    warehouse = Warehouse("my-project")

    def insert(number: int) -> None:
        assert warehouse.insert_rows("crm", ACCOUNTS, {str(number): {"account_id": str(number)}}) == []

    with ThreadPoolExecutor(POOLED_CONNECTIONS) as threads:
        for _ in range(ROUNDS):
            list(threads.map(insert, range(POOLED_CONNECTIONS)))
    warehouse.close()
    assert inserts.connections == POOLED_CONNECTIONS
    assert "Connection pool is full" not in caplog.text
