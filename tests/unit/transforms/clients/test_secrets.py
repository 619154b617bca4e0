"""Placeholders and short texts are refused as secrets, and no secret is quoted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.secret_reader import read_secret
from transforms.clients.secrets import SHORTEST_SECRET, SecretUnavailable, check_secret, fault_of

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
