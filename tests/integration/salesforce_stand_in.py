"""A stand-in for Salesforce: login and queries over https on loopback, with faults on demand.

Clients trust its certificate if REQUESTS_CA_BUNDLE names `ca_file`. The responses of faults
quote the request's credentials, so that a test can tell whether a client repeats an error's text.
"""

import asyncio
import datetime as dt
import functools
import ipaddress
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl

import jwt
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fixtures.changes import account_id
from tests.fixtures.planted_secrets import (
    SALESFORCE_CLIENT_ID,
    SALESFORCE_CLIENT_SECRET,
    SALESFORCE_SESSION_PREFIX,
    SALESFORCE_USERNAME,
)
from transforms.clients.salesforce_api import SalesforceSettings

AUDIENCE: Final = "https://login.salesforce.com"
VARIABLE: Final = "SALESFORCE_TEST_SECRET"
IDS: Final = [account_id(number) for number in range(3)]

_LOOPBACK: Final = "127.0.0.1"
_SECONDS: Final = 60.0
_QUERY: Final = re.compile(r"SELECT (?P<fields>[\w, ]+) FROM (?P<entity>\w+) WHERE Id IN \((?P<ids>[^()]+)\)\Z")


@dataclass(frozen=True)
class Fault:
    """A fault for the next `times` calls: an HTTP status and a code, or the fault that `kind` names."""

    status: int = 200
    code: str = ""
    kind: str = "status"
    times: int = 1


@dataclass
class SalesforceStandIn:
    """A context manager. Tests set `records` by id, `login_faults` and `query_faults`."""

    folder: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreadable_fields: set[str] = field(default_factory=set)
    page_size: int = 2_000
    login_faults: list[Fault] = field(default_factory=list)
    query_faults: list[Fault] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    logins: int = 0
    queries: list[str] = field(default_factory=list)
    assertions: list[str] = field(default_factory=list)
    next_page: str = "/services/data/v66.0/query/01g-{start}"

    def __post_init__(self) -> None:
        """Create the certificate; the server is not started yet."""
        self._key = _private_key()
        self.private_key = _pem(self._key)
        self.ca_file = _write_certificate(self.folder, self._key)
        self.issued: list[str] = []
        self._rest: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Address of the running server."""
        return f"https://{_LOOPBACK}:{self._port}"

    def expire_sessions(self) -> None:
        """End every session, as an administrator can."""
        self.sessions.clear()

    def add(self, record_id: str, entity: str = "Account", **values: Any) -> None:
        """Add or replace a record."""
        written = {"Id": record_id, "IsDeleted": False, "SystemModstamp": "2026-03-02T09:45:00.000+0000"}
        self.records[record_id] = {"attributes": {"type": entity}, **written, **values}

    def __enter__(self) -> Self:
        listener = socket.create_server((_LOOPBACK, 0))
        self._port: int = listener.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                self._app(),
                ssl_certfile=self.ca_file,
                ssl_keyfile=self.folder / "key.pem",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=0,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        if not self._server.serving.wait(_SECONDS):
            raise RuntimeError("the Salesforce stand-in did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("the Salesforce stand-in did not stop")

    def _app(self) -> Starlette:
        data = "/services/data/v66.0"
        return Starlette(
            routes=[
                Route("/services/oauth2/token", self._log_in, methods=["POST"]),
                Route("/elsewhere", self._log_in, methods=["POST"]),
                Route(f"{data}/queryAll/", self._query),
                Route(f"{data}/query/{{cursor}}", self._next_page),
            ]
        )

    async def _log_in(self, request: Request) -> Response:
        self.logins += 1
        form = dict(parse_qsl((await request.body()).decode()))
        if request.url.path == "/elsewhere":
            raise AssertionError("the secret was sent to the target of a redirect")
        if fault := _next(self.login_faults):
            return await _failed(fault, {"error": fault.code, "error_description": f"refused: {form}"})
        if error := self._refusal(form):
            return JSONResponse({"error": error, "error_description": f"refused: {form}"}, 400)
        session_id = f"{SALESFORCE_SESSION_PREFIX}{self.logins}"
        self.sessions.add(session_id)
        self.issued.append(session_id)
        return JSONResponse({"access_token": session_id, "instance_url": self.url, "token_type": "Bearer"})

    def _refusal(self, form: dict[str, str]) -> str | None:
        if form.get("grant_type") == "client_credentials":
            is_known = (form.get("client_id"), form.get("client_secret")) == (
                SALESFORCE_CLIENT_ID,
                SALESFORCE_CLIENT_SECRET,
            )
            return None if is_known else "invalid_client"
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return "unsupported_grant_type"
        self.assertions.append(form["assertion"])
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        try:
            jwt.decode(
                form["assertion"],
                public,
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=SALESFORCE_CLIENT_ID,
                subject=SALESFORCE_USERNAME,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except jwt.InvalidTokenError:
            return "invalid_grant"
        return None

    async def _query(self, request: Request) -> Response:
        soql = request.query_params["q"]
        self.queries.append(soql)
        authorization = request.headers.get("authorization", "")
        if fault := _next(self.query_faults):
            return await _failed(fault, [{"errorCode": fault.code, "message": f"refused: {authorization} {soql}"}])
        if authorization.removeprefix("Bearer ") not in self.sessions:
            return JSONResponse([{"errorCode": "INVALID_SESSION_ID", "message": f"no session {authorization}"}], 401)
        match = _QUERY.match(soql)
        if match is None:
            return JSONResponse([{"errorCode": "MALFORMED_QUERY", "message": soql}], 400)
        fields = match["fields"].split(", ")
        if self.unreadable_fields.intersection(fields):
            return JSONResponse([{"errorCode": "INVALID_FIELD", "message": f"No such column in {soql}"}], 400)
        asked = [text.strip("'") for text in match["ids"].split(", ")]
        known = (self.records[record_id] for record_id in asked if record_id in self.records)
        rows = (row for row in known if row["attributes"]["type"] == match["entity"])
        return self._page([{"attributes": row["attributes"], **{n: row.get(n) for n in fields}} for row in rows])

    async def _next_page(self, request: Request) -> Response:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.sessions:
            return JSONResponse([{"errorCode": "INVALID_SESSION_ID", "message": "no session"}], 401)
        return self._page(self._rest)

    def _page(self, rows: list[dict[str, Any]]) -> Response:
        page, self._rest = rows[: self.page_size], rows[self.page_size :]
        answer: dict[str, Any] = {"totalSize": len(rows), "done": not self._rest, "records": page}
        if self._rest:
            answer["nextRecordsUrl"] = self.next_page.format(start=len(page))
        return JSONResponse(answer)


class _Server(uvicorn.Server):
    """Sets `serving` when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


def _next(faults: list[Fault]) -> Fault | None:
    if not faults:
        return None
    fault = faults.pop(0)
    if fault.times > 1:
        faults.insert(0, Fault(fault.status, fault.code, fault.kind, fault.times - 1))
    return fault


async def _failed(fault: Fault, document: Any) -> Response:
    match fault.kind:
        case "status":
            return JSONResponse(document, fault.status)
        case "no_json":
            return HTMLResponse(f"<html>Down for maintenance {document}</html>", fault.status)
        case "other_json":
            return JSONResponse({"surprise": str(document)}, fault.status)
        case "hanging":
            await asyncio.Event().wait()
        case "dripping":
            return StreamingResponse(_drip(), media_type="application/json")
        case "cut_off":
            return Response(b'{"done": true', headers={"content-length": "1000"})
        case "redirect":
            return RedirectResponse("/elsewhere", fault.status)
    raise ValueError(fault.kind)


async def _drip() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(0.02)


@contextmanager
def trusted_stand_in(folder: Path, environment: pytest.MonkeyPatch) -> Iterator[SalesforceStandIn]:
    """Run a stand-in with the accounts of `IDS`, its certificate trusted and its secret in the environment."""
    with SalesforceStandIn(folder) as started:
        environment.setenv("REQUESTS_CA_BUNDLE", str(started.ca_file))
        environment.setenv(VARIABLE, SALESFORCE_CLIENT_SECRET)
        for number, record_id in enumerate(IDS):
            started.add(record_id, Name=f"Company {number}", Rating="Hot")
        yield started


def settings_for(stand_in: SalesforceStandIn, **fields: Any) -> SalesforceSettings:
    """Return settings for the stand-in, with short waits between attempts."""
    defaults: dict[str, Any] = {
        "login_url": stand_in.url,
        "client_id": SALESFORCE_CLIENT_ID,
        "secret": VARIABLE,
        "username": SALESFORCE_USERNAME,
        "retry_wait_seconds": 0.001,
    }
    return SalesforceSettings(**defaults | fields)


def secrets_of(stand_in: SalesforceStandIn) -> Iterable[str]:
    """Return the texts that no log, error or repr may contain: secrets, client id, user, assertions and sessions."""
    key_lines = [line for line in stand_in.private_key.splitlines() if not line.startswith("-----")]
    return [
        SALESFORCE_CLIENT_ID,
        SALESFORCE_CLIENT_SECRET,
        SALESFORCE_USERNAME,
        *key_lines,
        *stand_in.issued,
        *stand_in.assertions,
        "PLANTED",
    ]


@functools.cache  # for all stand-ins of this process: it takes a third of a second
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _write_certificate(folder: Path, key: rsa.RSAPrivateKey) -> Path:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Salesforce stand-in")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_text(_pem(key), encoding="ascii")
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder / "certificate.pem"
