"""The part of Vertex AI's metadata service that experiments use, over REST, on loopback.

It stores metadata stores and contexts like the API: 404 for a missing one, 409 for an existing one, and a PATCH changes
only the fields of its mask.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.fixtures.planted_secrets import VENDORS_TEXT

_STORES: Final = re.compile(r"projects/[^/]+/locations/[^/]+/metadataStores")
_SUBGRAPH: Final[dict[str, Any]] = {"artifacts": [], "executions": [], "events": []}


class VertexExperiments:
    """The recorded contexts, by name. If `refuse` is set, every call gets this HTTP status."""

    def __init__(self) -> None:
        self.url = ""
        self.contexts: dict[str, dict[str, Any]] = {}
        self.stores: dict[str, dict[str, Any]] = {}
        self.children: dict[str, set[str]] = {}
        self.refuse: int | None = None

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return each run's metadata by the run's name."""
        return {
            context["displayName"]: context.get("metadata", {})
            for context in self.contexts.values()
            if context["schemaTitle"] == "system.ExperimentRun"
        }

    def answer(self, method: str, target: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and document for a request."""
        if self.refuse:
            return self.refuse, {"error": {"code": self.refuse, "message": VENDORS_TEXT, "status": "X"}}
        parts = urlsplit(target)
        name, query = parts.path.removeprefix("/v1/"), parse_qs(parts.query)
        if method == "GET":
            return self._get(name)
        if method == "PATCH":
            return self._patch(name, query, body)
        if method == "POST":
            return self._post(name, query, body)
        return 501, {}

    def _get(self, name: str) -> tuple[int, dict[str, Any]]:
        if name.endswith("/contexts"):
            return 200, {"contexts": list(self.contexts.values())}
        if name.endswith(":queryContextLineageSubgraph"):
            return 200, _SUBGRAPH
        found = self.contexts.get(name) or self.stores.get(name)
        return (200, found) if found else (404, {"error": {"code": 404, "message": name, "status": "NOT_FOUND"}})

    def _patch(self, name: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if name not in self.contexts:
            return self._get(name)
        mask = query.get("updateMask", [""])[0]
        fields = mask.split(",") if mask else list(body)
        self.contexts[name] |= {field: body[field] for field in fields if field in body}
        return 200, self.contexts[name]

    def _post(self, name: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if _STORES.fullmatch(name):
            store = f"{name}/{query['metadataStoreId'][0]}"
            self.stores[store] = {"name": store}
            kind = "type.googleapis.com/google.cloud.aiplatform.v1.MetadataStore"
            return 200, {"name": f"{store}/operations/1", "done": True, "response": {"@type": kind, "name": store}}
        if name.endswith("/contexts"):
            context = f"{name}/{query['contextId'][0]}"
            if context in self.contexts:
                return 409, {"error": {"code": 409, "message": context, "status": "ALREADY_EXISTS"}}
            self.contexts[context] = body | {"name": context}
            return 200, self.contexts[context]
        if name.endswith(":addContextChildren"):
            self.children.setdefault(name.rpartition(":")[0], set()).update(body["childContexts"])
            return 200, {}
        return 501, {}


@contextmanager
def vertex_experiments() -> Iterator[VertexExperiments]:
    """Serve on a thread until the context is left."""
    service = VertexExperiments()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            with lock:
                status, document = service.answer(self.command, self.path, body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - as http.server calls them

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
