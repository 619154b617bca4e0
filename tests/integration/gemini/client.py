"""Calls of the stand-in with the real google-genai client, over HTTP."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from google import genai
from google.genai import types

from pipeline.local.gemini import GeminiStandIn
from schemas.score import ScoreAnswers
from tests.unit.pipeline.local.gemini.samples import MODEL, random_account, user_text

PROJECT = "local-project"
PATH = f"/v1/projects/{PROJECT}/locations/global/publishers/google/models/{MODEL}:generateContent"
TRIO = [random_account(seed) for seed in range(3)]
DEADLINE_SECONDS = 90.0
SHORT_DEADLINE_SECONDS = 0.5
"""For calls that are never answered."""

Result = TypeVar("Result")


def with_client(act: Callable[[genai.Client], Coroutine[Any, Any, Result]], version: str = "") -> Result:
    """Run an action with a client that does not retry, within a total deadline."""

    async def run() -> Result:
        options = types.HttpOptions(
            retry_options=types.HttpRetryOptions(attempts=1), **({"api_version": version} if version else {})
        )
        client = genai.Client(vertexai=True, project=PROJECT, location="global", http_options=options)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await act(client)
        finally:
            await client.aio.aclose()

    return asyncio.run(run())


def config_with(**fields: Any) -> types.GenerateContentConfig:
    """Return the configuration of a scoring call, with some fields replaced."""
    schema = {"response_mime_type": "application/json", "response_json_schema": ScoreAnswers.model_json_schema()}
    return types.GenerateContentConfig(
        **{"system_instruction": "You score accounts.", "temperature": 0, **schema, **fields}
    )


async def generate(
    client: genai.Client, accounts: Sequence[dict[str, Any]], config: types.GenerateContentConfig | None = None
) -> types.GenerateContentResponse:
    """Make a call for the accounts."""
    response: types.GenerateContentResponse = await client.aio.models.generate_content(
        model=MODEL, contents=user_text(accounts), config=config or config_with()
    )
    return response


def ask(
    accounts: Sequence[dict[str, Any]] = TRIO, config: types.GenerateContentConfig | None = None
) -> types.GenerateContentResponse:
    """Make a call for the accounts with a client of its own."""
    response: types.GenerateContentResponse = with_client(lambda client: generate(client, accounts, config))
    return response


def scores_of(response: types.GenerateContentResponse) -> list[dict[str, Any]]:
    """Return the items of an answer."""
    scores: list[dict[str, Any]] = json.loads(response.text or "")["scores"]
    return scores


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after `DEADLINE_SECONDS`."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


async def wait_for_calls(stand_in: GeminiStandIn, calls: int) -> None:
    """Wait until that many calls are in flight."""
    await asyncio.to_thread(wait_until, lambda: stand_in.stats().in_flight >= calls)
