import asyncio
import logging

import aiohttp
import httpx
import pytest
from google import genai
from google.genai import errors, types

from pipeline.local.gemini import FaultKind, GeminiStandIn
from tests.integration.gemini.client import (
    PATH,
    TRIO,
    ask,
    generate,
    scores_of,
    wait_for_calls,
    wait_until,
    with_client,
)
from tests.unit.pipeline.local.gemini.samples import account, email

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]


def test_the_cap_turns_calls_away_and_can_be_lifted(stand_in: GeminiStandIn) -> None:
    """While two calls hang under a cap of two, a third gets 429 at once; without the cap it is answered."""
    stand_in.configure(max_concurrency=2, faults=[{"kind": "no_answer", "limit": 2}])

    async def act(client: genai.Client) -> types.GenerateContentResponse:
        hanging = [asyncio.create_task(generate(client, TRIO)) for _ in range(2)]
        await wait_for_calls(stand_in, 2)
        with pytest.raises(errors.ClientError) as raised:
            await generate(client, TRIO)
        assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
        stand_in.configure(max_concurrency=None)
        answered = await generate(client, TRIO)
        for task in hanging:
            task.cancel()
        return answered

    assert len(scores_of(with_client(act))) == 3
    assert stand_in.stats().peak_in_flight == 3


def test_the_administration_speaks_http(stand_in: GeminiStandIn) -> None:
    """Configuration, statistics and reset are there for other processes."""
    changed = httpx.put(f"{stand_in.url}/admin/config", json={"faults": [{"kind": "http_500", "limit": 1}], "seed": 9})
    assert (changed.status_code, changed.json()["seed"]) == (200, 9)
    assert httpx.get(f"{stand_in.url}/admin/config").json() == changed.json()
    with pytest.raises(errors.ServerError):
        ask()
    assert httpx.get(f"{stand_in.url}/admin/stats").json()["by_status"] == {"500": 1}
    assert httpx.post(f"{stand_in.url}/admin/reset").status_code == 200
    assert httpx.get(f"{stand_in.url}/admin/stats").json()["calls"] == 0


@pytest.mark.parametrize(
    "body", [b'{"faults": [{"kind": "meteor"}]}', b'{"colour": 1}', b"[]", b"no JSON"], ids=lambda body: body.decode()
)
def test_an_impossible_configuration_is_refused(stand_in: GeminiStandIn, body: bytes) -> None:
    """422, a reason, and the kinds of faults that there are; nothing changes."""
    before = stand_in.configure()
    refused = httpx.put(f"{stand_in.url}/admin/config", content=body)
    assert refused.status_code == 422
    assert refused.json()["error"]["kinds"] == list(FaultKind)
    assert stand_in.configure() == before


def test_what_is_sent_is_never_logged(stand_in: GeminiStandIn, caplog: pytest.LogCaptureFixture) -> None:
    """Neither sound calls nor refused or failing ones leave a word of the prompt in a log."""
    secret = account("Acme", emails=[email("The merger is off")])
    with caplog.at_level(logging.DEBUG):
        ask([secret])
        for body in (b'{"contents": "The merger is off"}', b"The merger is off"):
            httpx.post(stand_in.url + PATH, content=body)
        stand_in.configure(faults=[{"kind": "connection_dropped"}])
        with pytest.raises(aiohttp.ClientConnectionError):
            ask([secret])
    assert "merger" not in caplog.text


def test_a_reset_does_not_lose_track_of_calls_in_flight(stand_in: GeminiStandIn) -> None:
    """A call that began before the reset leaves the count of those in flight when it ends, and no other trace."""
    stand_in.configure(faults=[{"kind": "no_answer"}])

    async def act(client: genai.Client) -> None:
        call = asyncio.create_task(generate(client, TRIO))
        await wait_for_calls(stand_in, 1)
        stand_in.reset()
        assert stand_in.stats().in_flight == 1
        call.cancel()
        await asyncio.to_thread(wait_until, lambda: stand_in.stats().in_flight == 0)

    with_client(act)
    assert stand_in.stats().by_status == {}
