"""Our transport does what google-genai does: the same request, and the same result or error for every response."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TypeVar

import pytest
from google import genai
from google.auth.credentials import AnonymousCredentials

from pipeline.local.gemini import Fault, FaultKind, GeminiStandIn
from pipeline.local.stack import PROJECT
from tests.fixtures.changes import enriched_change
from tests.fixtures.gemini_sdk import SdkTransport
from transforms.clients.gemini import RestTransport, endpoint
from transforms.clients.gemini_api import GeminiSettings, Generation, GenerationRequest, Transport
from transforms.errors import (
    AccessRefused,
    BlockedPrompt,
    BlockedResponse,
    ConnectionLost,
    EndedEarly,
    GeminiError,
    GeminiRefusedPrompt,
    InvalidResponse,
    OutputTruncated,
    QuotaExhausted,
    ServerFault,
    Unauthenticated,
)
from transforms.prompt.prompt import render_prompt

Connect = Callable[[GeminiSettings], Transport]
Result = TypeVar("Result")
TRANSPORTS: tuple[Connect, Connect] = (RestTransport, SdkTransport)


@pytest.fixture(autouse=True)
def _sound(gemini: GeminiStandIn) -> None:
    gemini.configure(faults=[], latency="instant", max_concurrency=None, retry_after_seconds=None)
    gemini.reset()


def _settings(location: str = "global") -> GeminiSettings:
    return GeminiSettings(project=PROJECT, location=location)


def _request(accounts: int = 2) -> GenerationRequest:
    return GenerationRequest(render_prompt([enriched_change(number) for number in range(accounts)]).text, accounts)


def _with_transport(
    connect: Connect, work: Callable[[Transport], Awaitable[Result]], location: str = "global"
) -> Result:
    async def session() -> Result:
        transport = connect(_settings(location))
        try:
            return await work(transport)
        finally:
            await transport.close()

    return asyncio.run(session())


def _generate(connect: Connect, location: str = "global") -> Generation:
    return _with_transport(connect, lambda transport: transport.generate(_request()), location)


class _Recorder(BaseHTTPRequestHandler):
    """Records each request and answers 400."""

    seen: ClassVar[list[tuple[str, dict[str, str], Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, dict(self.headers), body))
        self.send_response(400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""


@pytest.fixture
def recorded(
    gemini: GeminiStandIn,  # brings credentials
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[tuple[str, dict[str, str], Any]]]:
    """Return the requests that a server in place of Gemini records."""

    class Recorder(_Recorder):
        seen: ClassVar[list[tuple[str, dict[str, str], Any]]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/")
    yield Recorder.seen
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize("location", ["global", "europe-west4"])
def test_both_send_the_same_request(recorded: list[tuple[str, dict[str, str], Any]], location: str) -> None:
    """Path, body, content type and kind of credentials are equal."""
    for connect in TRANSPORTS:
        with pytest.raises(GeminiRefusedPrompt):
            _generate(connect, location)
    (path, headers, body), (sdk_path, sdk_headers, sdk_body) = recorded
    assert path == sdk_path
    assert body == sdk_body
    assert body["generationConfig"]["maxOutputTokens"] == 3_000
    for name in ("Content-Type", "Authorization"):
        assert headers[name].split(".")[0] == sdk_headers[name].split(".")[0]


@pytest.mark.parametrize("location", ["global", "us", "eu", "us-central1", "europe-west4"])
def test_both_go_to_the_same_host(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without GOOGLE_VERTEX_BASE_URL, the endpoint is the one that google-genai chooses."""
    monkeypatch.delenv("GOOGLE_VERTEX_BASE_URL")
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    client = genai.Client(vertexai=True, project=PROJECT, location=location, credentials=credentials)
    base = client._api_client._http_options.base_url
    assert base
    assert endpoint(_settings(location)).startswith(f"{base.rstrip('/')}/v1beta1/projects")


def test_both_read_the_same_answer(gemini: GeminiStandIn) -> None:
    """Text, model and tokens; the stand-in gives the same prompt the same answer."""
    answers = []
    for connect in TRANSPORTS:
        gemini.reset()
        answer = _generate(connect)
        answers.append((answer.text, answer.model_version, answer.prompt_tokens, answer.output_tokens))
        assert answer.latency_seconds > 0
    assert answers[0] == answers[1]
    assert json.loads(answers[0][0])["scores"]


@pytest.mark.parametrize("connect", TRANSPORTS)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("http_400", GeminiRefusedPrompt),
        ("http_401", Unauthenticated),
        ("http_403", AccessRefused),
        ("http_404", AccessRefused),
        ("http_429", QuotaExhausted),
        ("http_499", ServerFault),
        ("http_500", ServerFault),
        ("http_503", ServerFault),
        ("http_504", ServerFault),
        ("connection_dropped", ConnectionLost),
        ("connection_dropped_mid_answer", ConnectionLost),
        ("max_tokens", OutputTruncated),
        ("finish_safety", BlockedResponse),
        ("finish_blocklist", BlockedResponse),
        ("finish_spii", BlockedResponse),
        ("finish_prohibited_content", BlockedResponse),
        ("finish_recitation", EndedEarly),
        ("finish_other", EndedEarly),
        ("finish_language", EndedEarly),
        ("finish_malformed_function_call", EndedEarly),
        ("finish_unknown", EndedEarly),
        ("no_candidates", BlockedResponse),
        ("prompt_blocked", BlockedPrompt),
    ],
)
def test_both_map_each_fault_to_the_same_error(
    gemini: GeminiStandIn, connect: Connect, fault: str, error: type[GeminiError]
) -> None:
    """The error has the same class, the message has no text of the prompt, and there was one attempt."""
    gemini.configure(faults=[Fault(kind=FaultKind(fault))])
    with pytest.raises(GeminiError) as failure:
        _generate(connect)
    assert type(failure.value) is error
    assert "Company" not in str(failure.value)
    assert gemini.stats().calls == 1, "a transport does not retry by itself"


@pytest.mark.parametrize("connect", TRANSPORTS)
def test_both_pass_on_retry_after(gemini: GeminiStandIn, connect: Connect) -> None:
    """The error has the seconds of Retry-After."""
    gemini.configure(max_concurrency=0, retry_after_seconds=7)
    with pytest.raises(QuotaExhausted) as failure:
        _generate(connect)
    assert failure.value.retry_after_seconds == 7


@pytest.mark.parametrize("connect", TRANSPORTS)
def test_both_share_one_new_token_among_calls_that_were_refused(gemini: GeminiStandIn, connect: Connect) -> None:
    """Ten refreshes at once request one token, and the next call uses it."""

    async def work(transport: Transport) -> Generation:
        await transport.generate(_request())
        before = gemini.stats().tokens_granted
        await asyncio.gather(*(transport.refresh_credentials() for _ in range(10)))
        assert gemini.stats().tokens_granted == before + 1
        return await transport.generate(_request())

    assert _with_transport(connect, work).text


@pytest.mark.parametrize("connect", TRANSPORTS)
def test_both_report_missing_credentials(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials a call raises Unauthenticated."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(Unauthenticated):
        _generate(connect)


@pytest.mark.parametrize("connect", TRANSPORTS)
def test_both_report_a_refused_connection(
    connect: Connect, gemini: GeminiStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port on which nothing listens raises ConnectionLost."""
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionLost):
        _generate(connect)


@pytest.mark.parametrize("connect", TRANSPORTS)
def test_both_refuse_a_response_that_is_not_the_apis(
    connect: Connect, gemini: GeminiStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captive portal's HTML page raises InvalidResponse."""

    class Page(_Recorder):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            page = b"<html>portal</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(InvalidResponse):
            _generate(connect)
        server.shutdown()
