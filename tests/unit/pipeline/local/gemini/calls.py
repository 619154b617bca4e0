"""Calls of the stand-in's service, without HTTP, for its tests."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import orjson

from pipeline.local.gemini.config import GeminiConfig
from pipeline.local.gemini.service import Answer, GeminiService, Target
from tests.unit.pipeline.local.gemini.samples import MODEL, account, request_body

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
TARGET = Target("local-project", "global", MODEL)
PAIR = [account("Acme", "a1"), account("Bolt", "b2")]


def new_service(**config: Any) -> GeminiService:
    """Return a service that needs no token, with its clock at noon."""
    return GeminiService(GeminiConfig(require_token=False, **config), lambda: NOW)


def ask(service: GeminiService, body: bytes | None = None, target: Target = TARGET) -> Answer:
    """Make one call, by default for the pair of accounts."""
    number = service.counts.arrive()
    answer = service.answer(target, "", request_body(PAIR) if body is None else body, number)
    service.counts.leave(answer.status, answer.fault)
    return answer


def body_of(answer: Answer) -> Any:
    """Return the JSON of an answer."""
    return orjson.loads(answer.body)


def text_of(answer: Answer) -> str:
    """Return the text of the candidate."""
    return str(body_of(answer)["candidates"][0]["content"]["parts"][0]["text"])


def scores_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the items of a valid answer."""
    scores: list[dict[str, Any]] = orjson.loads(text_of(answer))["scores"]
    return scores


def scores_by_id(service: GeminiService, accounts: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Ask for the accounts and return their items by id."""
    return {item["id"]: item for item in scores_of(ask(service, request_body(accounts)))}
