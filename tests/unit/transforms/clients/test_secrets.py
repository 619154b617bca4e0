"""Secrets are read from the place that an option names; placeholders are refused, and no secret is quoted."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations
import pytest
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service import transports
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.secrets import (
    SHORTEST_SECRET,
    SecretUnavailable,
    check_secret,
    fault_of,
    read_secret,
    read_secret_version,
)

VERSION = "projects/my-project/secrets/salesforce/versions/latest"
SECRET = "E52AD8F3C1B94D0AA7720F4411C3E09B"

PLACEHOLDERS = [
    "changeme",
    "CHANGE-ME-please",
    "change_me_in_production",
    "<your consumer secret>",
    "${SALESFORCE_SECRET}",
    "{{ consumer_secret }}",
    "your-consumer-secret",
    "my secret goes here",
    "placeholder-0123456789",
    "please replace me soon",
    "TODO!!!!!!!!!!!!",
    "password12345678",
    "secret-1234567890",
    "xxxxxxxxxxxxxxxxxxxxxxxx",
    "****************",
    "redis://:changeme@cache:6379/0",
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_no_secret(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused at the start and whenever it is read, with the name of the variable and without its text."""
    monkeypatch.setenv("SALESFORCE_SECRET", text)
    with pytest.raises(
        ValueError, match="salesforce_secret: the variable SALESFORCE_SECRET holds a placeholder"
    ) as told:
        check_secret("SALESFORCE_SECRET", "salesforce_secret")
    assert text not in str(told.value)
    with pytest.raises(SecretUnavailable, match="SALESFORCE_SECRET holds a placeholder") as refusal:
        read_secret("SALESFORCE_SECRET")
    assert text not in str(refusal.value)


@pytest.mark.parametrize("text", ["7f3K", "q8!Zp0Lw", "redis://:q8Zp0Lw@cache:6379/0"])
def test_a_short_text_is_no_secret(text: str) -> None:
    """It could be guessed."""
    assert fault_of(text) == f"fewer than {SHORTEST_SECRET} characters"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
        "redis://cache:6379/0",
        f"rediss://:{SECRET}@c/0",
    ],
)
def test_a_plausible_secret_is_accepted(text: str) -> None:
    """So is a URL without a password."""
    assert fault_of(text) is None


@given(st.text("0123456789ABCDEF", min_size=32, max_size=64).filter(lambda text: len(set(text)) > 1))
def test_salesforces_consumer_secrets_are_accepted(text: str) -> None:
    """They consist of hexadecimal digits."""
    assert fault_of(text) is None


def test_a_variable_that_is_not_set_may_be_set_where_workers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that submits a job need not have the secrets of its workers."""
    monkeypatch.delenv("SALESFORCE_SECRET", raising=False)
    check_secret("SALESFORCE_SECRET", "salesforce_secret")


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is read at each call; if it is empty, the error names it."""
    monkeypatch.setenv("SALESFORCE_SECRET", SECRET)
    assert read_secret("SALESFORCE_SECRET") == SECRET
    monkeypatch.setenv("SALESFORCE_SECRET", "")
    with pytest.raises(SecretUnavailable, match="SALESFORCE_SECRET"):
        read_secret("SALESFORCE_SECRET")


class _SecretManager(grpc.GenericRpcHandler):
    """Has one version with text and one with binary data; refuses others."""

    def service(self, details: Any) -> Any:
        assert details.method == "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"
        return grpc.unary_unary_rpc_method_handler(self._access)

    def _access(self, request: bytes, call: Any) -> Any:
        name = secretmanager.AccessSecretVersionRequest.deserialize(request).name
        secrets = {VERSION: b"from Secret Manager", f"{VERSION}-binary": b"\xff\xfe"}
        if name not in secrets:
            call.abort(grpc.StatusCode.PERMISSION_DENIED, f"PLANTED: no access to {name}")
        payload = secretmanager.SecretPayload(data=secrets[name])
        answer = secretmanager.AccessSecretVersionResponse(name=name, payload=payload)
        return secretmanager.AccessSecretVersionResponse.serialize(answer)


@pytest.fixture
def address() -> Iterator[str]:
    """Return the address of a Secret Manager on loopback."""
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[_SecretManager()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def _connect(address: str) -> secretmanager.SecretManagerServiceClient:
    channel = grpc.insecure_channel(address)
    return secretmanager.SecretManagerServiceClient(
        transport=transports.SecretManagerServiceGrpcTransport(channel=channel)
    )


def test_a_secret_comes_from_secret_manager(address: str) -> None:
    """Google's client reads the named version."""
    assert read_secret_version(VERSION, lambda: _connect(address)) == "from Secret Manager"


@pytest.mark.parametrize("name", [f"{VERSION}-binary", VERSION.replace("latest", "7")])
def test_a_secret_that_cannot_be_read_is_unavailable(address: str, name: str) -> None:
    """The error does not quote Secret Manager's message."""
    with pytest.raises(SecretUnavailable) as refusal:
        read_secret_version(name, lambda: _connect(address))
    assert "PLANTED" not in str(refusal.value)
