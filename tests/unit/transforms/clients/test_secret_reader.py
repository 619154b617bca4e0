"""Secrets are read from the place that an option names, and no vendor's error is quoted."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations
import pytest
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service import transports

from transforms.clients.secret_reader import read_secret, read_secret_version
from transforms.clients.secrets import SecretUnavailable

VERSION = "projects/my-project/secrets/salesforce/versions/latest"
SECRET = "E52AD8F3C1B94D0AA7720F4411C3E09B"


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
