import asyncio

import httpx
import pytest
from google import genai

from pipeline.local.gemini import GeminiStandIn
from tests.integration.gemini.client import (
    PATH,
    TRIO,
    generate,
    with_client,
)
from tests.unit.pipeline.local.gemini.samples import request_body

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]


def test_one_token_serves_many_calls(stand_in: GeminiStandIn) -> None:
    """The client fetches a token from the local endpoint once, and no Google host."""

    async def calls(client: genai.Client) -> None:
        await asyncio.gather(*(generate(client, TRIO) for _ in range(5)))

    with_client(calls)
    stats = stand_in.stats()
    assert (stats.calls, stats.tokens_granted) == (5, 1)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer made-up"}])
def test_a_call_without_a_valid_token_gets_401(stand_in: GeminiStandIn, headers: dict[str, str]) -> None:
    """As Google answers it."""
    response = httpx.post(stand_in.url + PATH, headers=headers, content=request_body(TRIO))
    assert (response.status_code, response.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_the_token_endpoint_refuses_other_grants(stand_in: GeminiStandIn) -> None:
    """With OAuth's error."""
    response = httpx.post(stand_in.token_url, data={"grant_type": "password"})
    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")
