"""The login to Salesforce: settings that name a secret and never hold one, and the requests that prove who asks."""

import dataclasses
import datetime as dt
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fixtures.changes import NOW
from transforms.clients.salesforce_login import (
    AuthFlow,
    SalesforceSettings,
    token_request,
)
from transforms.clients.secrets import SecretUnavailable

SETTINGS = SalesforceSettings("https://acme.my.salesforce.com", "consumer-key", "SALESFORCE_SECRET")
JWT_SETTINGS = dataclasses.replace(SETTINGS, flow=AuthFlow.JWT_BEARER, username="integration@acme.example")
VERSION = "projects/my-project/secrets/salesforce/versions/latest"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("login_url", "http://acme.my.salesforce.com"),
        ("login_url", "https://acme.my.salesforce.com/"),
        ("login_url", "https://user:hunter2hunter2@acme.example"),
        ("login_url", "https://login.salesforce.com"),
        ("secret", "E52AD8F3C1B94D0AA7720F4411C3E09B"),
        ("secret", "-----BEGIN PRIVATE KEY-----"),
        ("secret", "hunter2hunter2"),
        ("secret", "projects/my-project/secrets/salesforce"),
        ("secret", ""),
        ("api_version", "v66"),
        ("fields", ()),
        ("fields", ("Name", "Id) FROM User --")),
    ],
)
def test_settings_that_cannot_work_are_refused(field: str, value: Any) -> None:
    """The error names the setting and never quotes it: a secret may stand where its name belongs."""
    with pytest.raises(ValueError, match=f"^{field}: ") as refusal:
        dataclasses.replace(SETTINGS, **{field: value})
    assert not value or str(value) not in str(refusal.value)


def test_jwt_bearer_needs_a_user() -> None:
    """The assertion is made in a user's name."""
    with pytest.raises(ValueError, match=r"^username: "):
        dataclasses.replace(JWT_SETTINGS, username=None)


@pytest.mark.parametrize("name", ["SALESFORCE_SECRET", VERSION, VERSION.replace("latest", "7")])
def test_a_secret_is_named(name: str) -> None:
    """An environment variable or a version in Secret Manager says where the secret is; the repr does not even that."""
    settings = dataclasses.replace(SETTINGS, secret=name)
    assert name not in repr(settings)
    assert settings.client_id not in repr(settings)


def test_client_credentials_are_key_and_secret() -> None:
    """The form has the consumer key and the secret, without the line break that files end with."""
    assert token_request(SETTINGS, "secret\n", NOW) == {
        "grant_type": "client_credentials",
        "client_id": "consumer-key",
        "client_secret": "secret",
    }


def test_a_jwt_says_who_asks_for_three_minutes() -> None:
    """The assertion is signed by the key, and names app, user, audience and a near end."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    request = token_request(JWT_SETTINGS, pem, NOW)
    claims = jwt.decode(
        request["assertion"],
        key.public_key(),
        algorithms=["RS256"],
        audience="https://login.salesforce.com",
        options={"verify_exp": False},
    )
    assert request["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert claims == {
        "iss": "consumer-key",
        "sub": "integration@acme.example",
        "aud": "https://login.salesforce.com",
        "exp": int((NOW + dt.timedelta(minutes=3)).timestamp()),
    }


def test_what_is_no_key_is_not_quoted() -> None:
    """A secret that is no private key is told without a word of it."""
    with pytest.raises(SecretUnavailable, match="no RSA key") as refusal:
        token_request(JWT_SETTINGS, "hunter2hunter2", NOW)
    assert "hunter2" not in str(refusal.value)
