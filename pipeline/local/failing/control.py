"""The control of a running stack: an HTTP server on loopback, in the stack's process.

Its address has a secret, so that no other user of the machine, and no page in a browser, can use it.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pipeline.local.failing.failing_services import FailingServices
from pipeline.local.failing.failures import find_failure
from pipeline.local.loopback_server import LoopbackServer
from pipeline.local.shell_exports import CONTROL
from pipeline.terminal.times import rfc3339


@contextmanager
def served_control(services: FailingServices) -> Iterator[Mapping[str, str]]:
    """Serve the control while the body runs; yield the export that names it."""
    secret = secrets.token_urlsafe(16)
    with LoopbackServer(_app(services, secret), "the local stack's control") as server:
        yield {CONTROL: f"http://{server.address}/{secret}"}


def _app(services: FailingServices, secret: str) -> Starlette:
    def fail(request: Request) -> JSONResponse:
        asked = request.query_params
        try:
            failure = find_failure(asked["service"], asked["failure"])
            until = services.fail(failure, float(asked["seconds"]), asked.get("only"))
        except (ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"effect": failure.effect, "until": rfc3339(until)})

    def heal(_: Request) -> JSONResponse:
        try:
            ended = services.heal()
        except (OSError, RuntimeError) as error:
            return JSONResponse({"error": str(error)}, 500)
        return JSONResponse({"ended": [f"{failure.service} {failure.name}" for failure in ended]})

    # Starlette runs them on threads: they take seconds.
    return Starlette(
        routes=[
            Route(f"/{secret}/failures", fail, methods=["POST"]),
            Route(f"/{secret}/failures", heal, methods=["DELETE"]),
        ]
    )
