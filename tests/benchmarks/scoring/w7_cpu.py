"""W7: CPU of one call: google-genai by default, with its leanest options, and our transport and engine."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from google import genai
from google.genai import types

from tests.benchmarks.scoring import ours
from tests.benchmarks.scoring.accounts import all_accounts
from tests.benchmarks.scoring.contest import report, stand_in
from tests.benchmarks.scoring.task import LOCATION, MODEL, PROJECT, config, is_valid
from tests.fixtures.gemini_sdk import SdkTransport
from transforms.clients.gemini import RestTransport
from transforms.clients.gemini_api import GenerationRequest, fixed_part, read_response
from transforms.clients.hold import Hold
from transforms.prompt.crm_text import prepare_text
from transforms.prompt.prompt import render_prompt
from transforms.score.scoring_engine import CallStats, ScoringEngine

CALLS = 1_000
AT_ONCE = 20

Call = Callable[[str], Awaitable[object]]


def run(rounds: int, accounts: int) -> None:
    """Measure; the stand-in answers at once, in a process of its own, whose CPU is not counted."""
    prompts = [render_prompt([item]).text for item in all_accounts()[:200]]
    milliseconds: dict[str, list[float]] = {}
    with stand_in(latency="instant") as gemini:
        for _ in range(rounds):
            for name, seconds in asyncio.run(_clients(prompts)).items():
                milliseconds.setdefault(name, []).append(seconds * 1000)
            milliseconds.setdefault("the whole engine: prompt, call, answers checked", []).append(_engine() * 1000)
        calls = gemini.stats()["calls"]
    medians = {name: statistics.median(times) for name, times in milliseconds.items()}
    base = medians["google-genai, raw response"]
    rows = [
        {"client": name, "CPU ms/call": round(one, 3), "to google-genai, raw response": f"x{one / base:.2f}"}
        for name, one in medians.items()
    ]
    report(f"W7: CPU of a call, {CALLS} calls a round, {calls} in all", rows)


async def _clients(prompts: list[str]) -> dict[str, float]:
    client = genai.Client(vertexai=True, project=PROJECT, location=LOCATION)
    sdk, rest = SdkTransport(ours.settings()), RestTransport(ours.settings())
    lean = _leanest_genai()

    async def plain(prompt: str) -> object:
        return is_valid((await client.aio.models.generate_content(model=MODEL, contents=prompt, config=config())).text)

    async def by_options(prompt: str) -> object:
        raw = (await client.aio.models.generate_content(model=MODEL, contents=prompt, config=lean)).sdk_http_response
        return read_response((raw.body if raw else None) or "", 0)

    calls: dict[str, Call] = {
        "google-genai": plain,
        "google-genai, raw response": lambda prompt: sdk.generate(GenerationRequest(prompt, 1)),
        "google-genai, raw response and extra_body": by_options,
        "REST over aiohttp (ours)": lambda prompt: rest.generate(GenerationRequest(prompt, 1)),
    }
    seconds = {name: await _cpu_seconds(call, prompts) for name, call in calls.items()}
    await sdk.close()
    await rest.close()
    await client.aio.aclose()
    return seconds


def _leanest_genai() -> types.GenerateContentConfig:
    """Return the configuration with which google-genai converts the least."""
    body = fixed_part(ours.settings())
    return types.GenerateContentConfig(
        should_return_http_response=True, http_options=types.HttpOptions(extra_body=body)
    )


async def _cpu_seconds(call: Call, prompts: list[str]) -> float:
    """Return the CPU seconds of this process for one of many calls."""
    await call(prompts[0])
    numbers = iter(range(CALLS))

    async def work() -> None:
        for number in numbers:
            await call(prompts[number % len(prompts)])

    started = time.process_time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return (time.process_time() - started) / CALLS


def _engine() -> float:
    engine = ScoringEngine(ours.settings(max_calls_in_flight=AT_ONCE))
    accounts = [[item] for item in all_accounts()[:CALLS]]
    engine.submit(accounts[:1], CallStats(), Hold(1_800.0)).result()
    prepare_text.cache_clear()  # each round prepares the texts anew
    started = time.process_time()
    engine.submit(accounts, CallStats(), Hold(1_800.0)).result()
    seconds = time.process_time() - started
    engine.close()
    return seconds / len(accounts)
