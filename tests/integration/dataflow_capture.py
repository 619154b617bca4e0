"""A capture of the Dataflow API: it records the job that a client submits, and answers as the service would.

Beam's client uses REST if the endpoint's name contains `localhost`. Only the methods that a submission calls exist.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

_JOBS: Final = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs")
_JOB: Final = re.compile(_JOBS.pattern + r"/(?P<job>[^/]+)")
_MESSAGES: Final = re.compile(_JOB.pattern + r"/messages")


@dataclass
class DataflowCapture:
    """The submitted jobs, newest last, and all calls; `running` are the jobs that are listed as active."""

    created: list[dict[str, Any]] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    most_calls: int = 50

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("localhost", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """The value for `--dataflow_endpoint`."""
        return f"http://localhost:{self._server.server_port}"

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and response of a call; a client that calls without end is refused."""
        self.calls.append(f"{method} {path}")
        if len(self.calls) > self.most_calls:
            return 403, {"error": {"message": "too many calls", "status": "PERMISSION_DENIED"}}
        if method == "POST" and _JOBS.fullmatch(path):
            return self._create(body)
        if method == "GET" and _JOBS.fullmatch(path):
            return 200, {"jobs": self.running}
        if method == "GET" and _MESSAGES.fullmatch(path):
            return 200, {}
        if method == "GET" and (job := _JOB.fullmatch(path)):
            return 200, self._job(job["job"])
        return 404, {"error": {"message": f"the capture knows no {method} {path}", "status": "NOT_FOUND"}}

    def _create(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        replaced = job.get("replaceJobId")
        for other in self.running:
            # If the name is taken, the service returns the job that has it.
            if other["name"] == job["name"] and other["id"] != replaced:
                return 200, other
        created = job | {"id": f"2026-11-25_00_00_00-{len(self.created)}", "currentState": "JOB_STATE_RUNNING"}
        self.created.append(created)
        self.running = [*(other for other in self.running if other["id"] != replaced), created]
        return 200, created

    def _job(self, job_id: str) -> dict[str, Any]:
        (job,) = (job for job in self.running if job["id"] == job_id)
        return job

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        capture = self

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size) or b"{}")
                status, answer = capture.answer(self.command, urlsplit(self.path).path, body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _respond  # noqa: N815 - the names that http.server calls

            def log_message(self, *_arguments: object) -> None:
                """Log nothing."""

        return Handler
