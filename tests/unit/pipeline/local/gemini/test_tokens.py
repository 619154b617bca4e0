import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from google.auth.crypt import RSASigner
from google.oauth2 import service_account as google_service_account

from pipeline.local.credentials import credentials_environment, service_account, write_service_account_file
from pipeline.local.gemini.tokens import JWT_BEARER, GrantRefusedError, Tokens, claims_of_grant

NOW = 1_800_000_000.0
CLAIMS = {"iss": "somebody", "aud": "a token endpoint", "exp": NOW + 3_600}


def _jwt(claims: object, signature: str = "c2lnbmVk") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"alg": "RS256"}, claims)]
    return ".".join([*(part.rstrip("=") for part in parts), signature])


def _form(assertion: str, grant: str = JWT_BEARER) -> bytes:
    return urlencode({"grant_type": grant, "assertion": assertion}).encode()


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def test_a_granted_token_is_accepted_until_it_expires() -> None:
    """A granted token is accepted during its lifetime and refused from then on."""
    clock = _Clock()
    tokens = Tokens(clock)
    granted = tokens.grant(_form(_jwt(CLAIMS)), 60)
    assert (granted["expires_in"], granted["token_type"]) == (60, "Bearer")
    assert tokens.accept(f"Bearer {granted['access_token']}")
    clock.now += 60
    assert not tokens.accept(f"Bearer {granted['access_token']}")


def test_each_grant_is_a_new_token() -> None:
    """A second grant leaves the first token valid."""
    tokens = Tokens(_Clock())
    first, second = (tokens.grant(_form(_jwt(CLAIMS)), 60)["access_token"] for _ in range(2))
    assert first != second
    assert tokens.accept(f"Bearer {first}")
    assert tokens.accept(f"bearer {second}")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer made-up", "Basic local.x"])
def test_what_was_not_granted_is_not_accepted(authorization: str) -> None:
    """A missing header, a missing token and an unknown token are refused."""
    tokens = Tokens(_Clock())
    tokens.grant(_form(_jwt(CLAIMS)), 60)
    assert not tokens.accept(authorization)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "unsupported_grant_type"),
        (_form(_jwt(CLAIMS), "refresh_token"), "unsupported_grant_type"),
        (_form("no jwt"), "invalid_grant"),
        (_form("a.b.c"), "invalid_grant"),
        (_form(_jwt(CLAIMS, signature="")), "invalid_grant"),
        (_form(_jwt([])), "invalid_grant"),
        (_form(_jwt({**CLAIMS, "iss": ""})), "invalid_grant"),
        (_form(_jwt({**CLAIMS, "exp": NOW})), "invalid_grant"),
        (_form(_jwt({**CLAIMS, "exp": "tomorrow"})), "invalid_grant"),
        ("é".encode(), "unsupported_grant_type"),
    ],
)
def test_an_invalid_token_request_is_refused(body: bytes, error: str) -> None:
    """Other grants, and assertions that are not a JWT, incomplete or expired, get OAuth's error codes."""
    with pytest.raises(GrantRefusedError) as refused:
        claims_of_grant(body, now=NOW)
    assert refused.value.error == error


def test_google_auth_signs_an_assertion_that_is_granted(tmp_path: Path) -> None:
    """The throw-away file loads as a service account, and what it signs is granted a token."""
    path = write_service_account_file(tmp_path / "credentials.json", "http://127.0.0.1:9/token", "local-project")
    credentials: Any = google_service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
        str(path), scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    assertion = credentials._make_authorization_grant_assertion()
    claims = claims_of_grant(_form(assertion.decode()), now=time.time())
    assert claims["iss"] == "local-stack@local-project.iam.gserviceaccount.com"
    assert credentials._token_uri == "http://127.0.0.1:9/token"


def test_each_file_has_a_key_of_its_own() -> None:
    """Each file gets a new key."""
    first, second = (service_account("http://127.0.0.1:9/token", "local-project") for _ in range(2))
    assert first["private_key"] != second["private_key"]
    assert RSASigner.from_service_account_info(first).key_id == first["private_key_id"]  # type: ignore[no-untyped-call]


def test_the_file_is_for_its_owner_only_and_replaces_an_older_one(tmp_path: Path) -> None:
    """Even where a file with wider rights was there before."""
    path = tmp_path / "credentials.json"
    path.write_text("old")
    path.chmod(0o644)
    write_service_account_file(path, "http://127.0.0.1:9/token", "local-project")
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["type"] == "service_account"


def test_the_environment_keeps_googles_clients_local() -> None:
    """The variables name the file for a shell in any folder, and turn off the look-up at a Google host."""
    assert credentials_environment(Path("c.json")) == {
        "GOOGLE_APPLICATION_CREDENTIALS": str(Path.cwd() / "c.json"),
        "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "false",
    }
