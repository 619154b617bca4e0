"""Peer, and the ceiling: pure asyncio with the server's cap known, without Beam."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from google import genai

from schemas.account_context import EnrichedChange
from tests.benchmarks.scoring.ours import settings
from tests.benchmarks.scoring.task import LOCATION, MODEL, PROJECT, config, is_valid, prompt_of
from transforms.clients.gemini import RestTransport
from transforms.clients.gemini_api import GenerationRequest


def score_with_genai(accounts: Sequence[EnrichedChange], cap: int) -> int:
    """Score accounts over google-genai, `cap` calls at once, and return how many have a valid score."""

    async def run() -> int:
        client = genai.Client(vertexai=True, project=PROJECT, location=LOCATION)

        async def call(prompt: str) -> bool:
            response = await client.aio.models.generate_content(model=MODEL, contents=prompt, config=config())
            return is_valid(response.text)

        return await _all(accounts, cap, call)

    return asyncio.run(run())


def score_with_rest(accounts: Sequence[EnrichedChange], cap: int) -> int:
    """Score accounts over our transport: nearly all of the time is the server's."""

    async def run() -> int:
        transport = RestTransport(settings())

        async def call(prompt: str) -> bool:
            return is_valid((await transport.generate(GenerationRequest(prompt, 1))).text)

        scored = await _all(accounts, cap, call)
        await transport.close()
        return scored

    return asyncio.run(run())


async def _all(accounts: Sequence[EnrichedChange], cap: int, call: Callable[[str], Awaitable[bool]]) -> int:
    waiting = iter(accounts)
    scored = 0

    async def work() -> None:
        nonlocal scored
        for item in waiting:
            is_scored = await call(prompt_of(item))
            scored += is_scored

    await asyncio.gather(*(work() for _ in range(cap)))
    return scored
