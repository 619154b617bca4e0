"""Salesforce's settings name a secret and never hold one; the forms that request a session."""

import dataclasses
import datetime as dt
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import JsonValue

from schemas.salesforce_fields import PROFILE_FIELDS
from tests.fixtures.changes import NOW, account_id
from transforms.clients.salesforce_api import (
    AuthFlow,
    SalesforceSettings,
    read_record,
    records_query,
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
    ],
)
def test_settings_that_cannot_work_are_refused(field: str, value: Any) -> None:
    """The error names the setting and does not quote its value, which may be a misplaced secret."""
    with pytest.raises(ValueError, match=f"^{field}: ") as refusal:
        dataclasses.replace(SETTINGS, **{field: value})
    assert not value or str(value) not in str(refusal.value)


def test_jwt_bearer_needs_a_user() -> None:
    """The assertion names a user."""
    with pytest.raises(ValueError, match=r"^username: "):
        dataclasses.replace(JWT_SETTINGS, username=None)


@pytest.mark.parametrize("name", ["SALESFORCE_SECRET", VERSION, VERSION.replace("latest", "7")])
def test_a_secret_is_named(name: str) -> None:
    """It is an environment variable or a version in Secret Manager; the repr shows neither it nor the client id."""
    settings = dataclasses.replace(SETTINGS, secret=name)
    assert name not in repr(settings)
    assert settings.client_id not in repr(settings)


def test_client_credentials_are_key_and_secret() -> None:
    """The form has the consumer key and the secret, without a trailing line break."""
    assert token_request(SETTINGS, "secret\n", NOW) == {
        "grant_type": "client_credentials",
        "client_id": "consumer-key",
        "client_secret": "secret",
    }


def test_a_jwt_is_valid_for_three_minutes() -> None:
    """The assertion is signed with the key, and names app, user, audience and expiry."""
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


def test_an_invalid_key_is_not_quoted() -> None:
    """The error about a secret that is not a private key does not quote it."""
    with pytest.raises(SecretUnavailable, match="not an RSA key") as refusal:
        token_request(JWT_SETTINGS, "hunter2hunter2", NOW)
    assert "hunter2" not in str(refusal.value)


def test_a_field_is_read_whatever_the_case_of_its_name() -> None:
    """SOQL takes any case, and the answer has Salesforce's: the value goes by the name that was asked for."""
    said: dict[str, JsonValue] = {
        "IsDeleted": False,
        "SystemModstamp": "2026-03-02T09:30:00.000+0000",
        "Account__c": "x",
    }
    row: dict[str, JsonValue] = {"Id": account_id(1), **said}
    _, record = read_record(row, ("account__c", "Sponsor__c"))
    assert record.values == {"account__c": "x"}


def test_a_query_reads_each_field_once() -> None:
    """The query selects id, deletion and modification time, then the given fields, without repetition."""
    query = records_query("Account", ("Id", *PROFILE_FIELDS, "Name"), [account_id(1), account_id(2)])
    selected, condition = query.split(" FROM Account ")
    columns = selected.removeprefix("SELECT ").split(", ")
    assert columns == ["Id", "IsDeleted", "SystemModstamp", *PROFILE_FIELDS]
    assert len(set(columns)) == len(columns)
    assert condition == f"WHERE Id IN ('{account_id(1)}', '{account_id(2)}')"


@pytest.mark.parametrize("value", ["cut \ud83d", float("nan"), float("inf"), {"\ud800": 1}])
def test_a_value_that_no_coder_takes_is_left_out(value: Any) -> None:
    """One field of one record may not stop the stream; the record's other fields are known."""
    row = {"Id": account_id(), "IsDeleted": False, "SystemModstamp": NOW.isoformat(), "Rating": "Hot", "Type": value}
    _, record = read_record(row, ("Rating", "Type", "Website"))
    assert record.values == {"Rating": "Hot"}
