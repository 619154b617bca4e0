"""A proxy in front of the BigQuery emulator that refuses, fails and stalls as BigQuery does.

The emulator accepts any row; BigQuery does not. Tests give the proxy faults, each for a number of calls; other calls
are passed on. The responses have the shapes of BigQuery's REST reference: tabledata.insertAll, "Error messages".
"""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.fixtures.planted_secrets import VENDORS_TEXT

INSERTS: Final = "/insertAll"
QUERIES: Final = "/queries"
ALWAYS: Final = 1_000_000

_NOT_PASSED_ON: Final = frozenset({"host", "content-length", "connection", "transfer-encoding"})


@dataclass
class Fault:
    """A fault for the next `times` calls whose path contains `on`.

    `kind` is one of: status (the call as a whole is refused with `status` and `reason`; if `rows` are listed, only a
    call with one of them), rows (the rows whose insert ids are listed are refused with `reason`, the others passed on),
    silence (no response for `seconds`), cut_off (the
    response ends half-way), dripping (one byte every `seconds`), dropped (the connection is closed).
    """

    kind: str
    on: str = "/"
    times: int = 1
    status: int = 503
    reason: str = "backendError"
    location: str = "score"
    rows: Sequence[str] = ()
    message: str = VENDORS_TEXT
    seconds: float = 30.0


class BigQueryProxy:
    """The proxy on a free loopback port; a context manager."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The value for BIGQUERY_EMULATOR_HOST."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault_for(self, path: str) -> Fault | None:
        """Return the fault for a call, and count the call."""
        with self._lock:
            self.calls.append(path)
            for fault in self.faults:
                if fault.on in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def count(self, part: str) -> int:
        """Return how many calls had a path that contains `part`."""
        return sum(part in path for path in self.calls)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: BigQueryProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: a client that gave up is expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.server.proxy.fault_for(self.path)
        match fault.kind if fault else "":
            case "":
                self._answer(*self._passed_on(body))
            case "status":
                assert fault
                if fault.rows and not any(row.encode() in body for row in fault.rows):
                    self._answer(*self._passed_on(body))
                else:
                    self._answer(fault.status, _error_document(fault))
            case "rows":
                assert fault
                self._refuse_rows(body, fault)
            case "silence":
                assert fault
                self.server.proxy.stopping.wait(fault.seconds)
                self.close_connection = True
            case "cut_off":
                status, answer = self._passed_on(body)
                self._answer(status, answer[: len(answer) // 2], length=len(answer))
                self.close_connection = True
            case "dripping":
                assert fault
                self._drip(*self._passed_on(body), fault.seconds)
            case "dropped":
                self.close_connection = True
            case kind:
                raise ValueError(f"{kind} is no fault")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 - names that http.server looks up

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""

    def _passed_on(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
        try:
            connection.request(self.command, self.path, body, {**headers, "Accept-Encoding": "identity"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _refuse_rows(self, body: bytes, fault: Fault) -> None:
        request = json.loads(body)
        refused = [index for index, row in enumerate(request["rows"]) if row["insertId"] in fault.rows]
        kept = [row for row in request["rows"] if row["insertId"] not in fault.rows]
        if kept:
            self._passed_on(json.dumps({**request, "rows": kept}).encode())
        error = {"reason": fault.reason, "location": fault.location, "message": fault.message, "debugInfo": ""}
        entries = [{"index": index, "errors": [error]} for index in refused]
        answer = {"kind": "bigquery#tableDataInsertAllResponse"} | ({"insertErrors": entries} if entries else {})
        self._answer(200, json.dumps(answer).encode())

    def _answer(self, status: int, body: bytes, *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, status: int, body: bytes, seconds: float) -> None:
        self._answer(status, b"", length=len(body))
        for byte in body:
            if self.server.proxy.stopping.is_set():
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(seconds)


def _error_document(fault: Fault) -> bytes:
    errors = [{"message": VENDORS_TEXT, "domain": "global", "reason": fault.reason}]
    return json.dumps({"error": {"code": fault.status, "message": VENDORS_TEXT, "errors": errors}}).encode()
