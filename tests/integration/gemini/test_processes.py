import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from google import genai

from pipeline.local.credentials import write_service_account_file
from pipeline.local.gemini import GeminiConfig, GeminiStandIn
from pipeline.local.gemini_process import GeminiProcess
from tests.integration.gemini.client import (
    DEADLINE_SECONDS,
    PATH,
    PROJECT,
    TRIO,
    generate,
    wait_for_calls,
    wait_until,
    with_client,
)
from tests.unit.pipeline.local.gemini.samples import request_body

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]


def test_it_stops_with_calls_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Hanging, sleeping and dripping calls are all cut off when it stops; then it may start again."""
    stand_in = GeminiStandIn(GeminiConfig(latency="instant")).start()
    path = write_service_account_file(tmp_path / "credentials.json", stand_in.token_url, PROJECT)
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", stand_in.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    async def act(client: genai.Client) -> list[Any]:
        kinds = ("no_answer", "half_open", "dripping")
        stand_in.configure(faults=[{"kind": kind, "limit": 1} for kind in kinds])
        pending = [asyncio.create_task(generate(client, TRIO)) for _ in kinds]
        await wait_for_calls(stand_in, 3)
        stand_in.configure(faults=[], latency={"mean_seconds": 3_600})
        pending.append(asyncio.create_task(generate(client, TRIO)))
        await wait_for_calls(stand_in, 4)
        await asyncio.to_thread(stand_in.stop)
        return await asyncio.gather(*pending, return_exceptions=True)

    outcomes = with_client(act)
    assert len(outcomes) == 4
    assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    with pytest.raises(RuntimeError, match="not running"):
        _ = stand_in.url
    with stand_in:
        assert httpx.get(f"{stand_in.url}/admin/stats").json()["calls"] == 0


def test_it_runs_as_a_process_until_sigterm() -> None:
    """One line of JSON tells the addresses; SIGTERM ends it with 0 even while a call hangs."""
    command = [sys.executable, "-m", "pipeline.local.gemini"]
    config = json.dumps({"latency": "instant", "seed": 4, "faults": [{"kind": "no_answer"}], "require_token": False})
    with subprocess.Popen([*command, "--config", config], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        address = httpx.URL(ready["url"])
        body = request_body(TRIO)
        with socket.create_connection((address.host, address.port or 0)) as hanging:
            hanging.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: httpx.get(f"{address}/admin/stats").json()["in_flight"] == 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_SECONDS) == 0
        assert process.stdout.read() == ""


def test_calls_wait_until_a_launched_process_serves() -> None:
    """Its address is known at once, so that other processes can be given it while it starts."""
    stand_in = GeminiProcess()
    stand_in.launch()
    try:
        answer = httpx.get(f"{stand_in.url}/admin/stats", timeout=DEADLINE_SECONDS)
        assert answer.json()["calls"] == 0
        assert httpx.post(stand_in.token_url, data={"grant_type": "nothing"}).status_code < 500
        stand_in.wait_until_ready()
    finally:
        stand_in.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{stand_in.url}/admin/stats")


def test_a_process_that_does_not_start_is_reported() -> None:
    """Whoever waits for it is told."""
    stand_in = GeminiProcess({"faults": [{"kind": "meteor"}]})
    stand_in.launch()
    with pytest.raises(RuntimeError, match="did not start"):
        stand_in.wait_until_ready()


@pytest.mark.parametrize("config", ['{"faults": [{"kind": "meteor"}]}', "[]", "no JSON"])
def test_a_process_with_a_bad_configuration_says_so(config: str) -> None:
    """Exit code 2, a reason on standard error, nothing on standard output."""
    command = [sys.executable, "-m", "pipeline.local.gemini", "--config", config]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--config" in ended.stderr
