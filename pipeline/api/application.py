"""The app: routes behind the gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio.to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp

from pipeline.api.gate import Gate
from pipeline.api.openapi import described
from pipeline.api.problems import add_problem_handlers
from pipeline.api.routes import change_events, dead_letters, health, outcomes, rescoring, scores
from pipeline.api.services import Services
from pipeline.version import PIPELINE_VERSION

READING_THREADS: Final = 8
"""Threads that read the read model; each has its own connection and page cache."""


def create_app(services: Services) -> ASGIApp:
    """Return the app that a server serves."""
    return Gate(create_routes(services), services)


def create_routes(services: Services | None = None) -> FastAPI:
    """Return the routes, without the gate: for the OpenAPI document, which needs no services."""
    app = FastAPI(
        title="Account rescoring",
        summary="Scores of Salesforce accounts, why they moved, and what became of the changes.",
        version=PIPELINE_VERSION,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.services = services
    for part in (scores, rescoring, change_events, dead_letters, outcomes, health):
        app.include_router(part.router)
    add_problem_handlers(app)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = READING_THREADS
    yield
