"""Salesforce: each vendor error is mapped without its text, and only transient faults are retried."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import urllib3.exceptions
from pydantic import ValidationError
from simple_salesforce import exceptions as vendor

from schemas.salesforce_fields import PROFILE_FIELDS
from tests.fixtures.changes import account_id
from transforms.clients.salesforce import (
    VENDOR_ERRORS,
    Salesforce,
    is_worth_retrying,
    map_error,
    read_token,
    shared_salesforce,
)
from transforms.clients.salesforce_api import (
    ConnectionFailed,
    InvalidAnswer,
    RefusedCall,
    SalesforceCircuitOpen,
    SalesforceRecord,
    SalesforceSettings,
    SalesforceTimeout,
    SessionExpired,
)
from transforms.clients.secrets import SecretUnavailable
from transforms.errors import SalesforceUnavailable

SETTINGS = SalesforceSettings("https://acme.my.salesforce.com", "key", "SALESFORCE_SECRET")


def _refused(status: int, content: Any, kind: type[vendor.SalesforceError] = vendor.SalesforceGeneralError) -> Any:
    return kind("https://host/SECRET", status, "SECRET", content)


def _coded(status: int, code: str) -> Any:
    return _refused(status, [{"errorCode": code, "message": "the token was SECRET"}])


def _answer(status: int, content: bytes) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer._content = content
    return answer


def _invalid() -> ValidationError:
    with pytest.raises(ValidationError) as refusal:
        SalesforceRecord.model_validate({"record_id": "SECRET"})
    return refusal.value


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_transient_faults_are_retried(status: int) -> None:
    """Server faults and 429 are transient."""
    assert is_worth_retrying(map_error(_coded(status, "UNKNOWN_EXCEPTION")))


def test_a_limit_is_retried() -> None:
    """Salesforce answers 403 with this code when too many calls are under way."""
    assert is_worth_retrying(map_error(_coded(403, "REQUEST_LIMIT_EXCEEDED")))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (300, "X"),
        (400, "MALFORMED_QUERY"),
        (400, "INVALID_FIELD"),
        (401, "INVALID_SESSION_ID"),
        (403, "API_DISABLED_FOR_ORG"),
        (404, "NOT_FOUND"),
        (501, "X"),
    ],
)
def test_lasting_faults_are_not_retried(status: int, code: str) -> None:
    """The same call would be refused again; an expired session is replaced by a new login instead."""
    assert not is_worth_retrying(map_error(_coded(status, code)))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("lost"), True),
        (InvalidAnswer("html"), False),
        (SalesforceTimeout("20 s"), False),
        (SalesforceCircuitOpen("open"), False),
        (SecretUnavailable("none"), False),
        (ValueError("ours"), False),
    ],
)
def test_a_call_without_an_answer_is_retried_if_the_connection_broke(error: Exception, *, expected: bool) -> None:
    """A missing secret or an exceeded deadline is not retried."""
    assert is_worth_retrying(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_coded(401, "INVALID_SESSION_ID"), SessionExpired),
        (_coded(401, "INVALID_AUTH_HEADER"), SessionExpired),
        (_coded(403, "INVALID_SESSION_ID"), SessionExpired),
        (_coded(403, "REQUEST_LIMIT_EXCEEDED"), RefusedCall),
        (_refused(502, "<html>SECRET</html>"), RefusedCall),
        (_refused(500, []), RefusedCall),
        (_refused(500, ["SECRET"]), RefusedCall),
        (_refused(500, {"errorCode": "SECRET"}), RefusedCall),
        (_coded(400, "SECRET text, no code"), RefusedCall),
        (vendor.SalesforceAuthenticationFailed("SECRET", "SECRET"), SessionExpired),
        (requests.ConnectionError("SECRET"), ConnectionFailed),
        (requests.exceptions.SSLError("SECRET"), ConnectionFailed),
        (requests.ReadTimeout("SECRET"), ConnectionFailed),
        (requests.exceptions.ChunkedEncodingError("SECRET"), ConnectionFailed),
        (urllib3.exceptions.ProtocolError("SECRET"), ConnectionFailed),
        (requests.exceptions.JSONDecodeError("SECRET", "SECRET", 0), InvalidAnswer),
        (_invalid(), InvalidAnswer),
    ],
)
def test_vendor_errors_are_mapped_without_their_text(error: Exception, expected: type[SalesforceUnavailable]) -> None:
    """Each vendor error has our class; its text, which quotes request and response, is dropped."""
    assert isinstance(error, VENDOR_ERRORS)
    mapped = map_error(error)
    assert type(mapped) is expected
    assert "SECRET" not in str(mapped)


def _vendor_errors() -> Iterator[type[Exception]]:
    for module in (vendor, requests.exceptions, urllib3.exceptions):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ != module.__name__ or not issubclass(kind, Exception):
                continue
            if not issubclass(kind, Warning | vendor.SalesforceOperationError):
                yield kind


@pytest.mark.parametrize("kind", list(_vendor_errors()))
def test_the_map_of_vendor_errors_is_complete(kind: type[Exception]) -> None:
    """Every exception class of the libraries is mapped, except those of bulk jobs, which are not used."""
    assert issubclass(kind, VENDOR_ERRORS)
    assert len(list(_vendor_errors())) > 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Acme",
        "x') OR (Name != '",
        account_id(1)[:15],
        account_id(1).lower(),
        "00100000000000AAAA",
    ],
)
def test_only_record_ids_are_queried(text: str) -> None:
    """Anything but an 18-character id with a valid checksum is refused before any call: no text gets into a query."""
    with pytest.raises(ValueError, match="id"):
        Salesforce(SETTINGS).read_records("Account", PROFILE_FIELDS, [account_id(2), text])


@pytest.mark.parametrize(
    ("entity", "field"), [("Account WHERE", "Name"), ("Account", "Name, Secret__c"), ("Account", "1"), ("", "Name")]
)
def test_only_names_are_queried(entity: str, field: str) -> None:
    """Entity and fields come from the configuration and from events: no other text gets into a query."""
    with pytest.raises(ValueError, match="API names"):
        Salesforce(SETTINGS).read_records(entity, [field], [account_id(1)])


def test_a_token_is_read_and_hidden() -> None:
    """The response to a login has a session id and its host; the repr hides the session id."""
    token = read_token(_answer(200, b'{"access_token": "SECRET", "instance_url": "https://acme.example", "x": 1}'))
    assert (token.access_token, token.instance_url) == ("SECRET", "https://acme.example")
    assert "SECRET" not in repr(token)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"access_token": "", "instance_url": "https://acme.example"}',
        b'{"access_token": "x"}',
        b'{"access_token": "x\\ny", "instance_url": "https://acme.example"}',
        b'{"access_token": "x", "instance_url": "http://acme.example"}',
        b'{"access_token": "x", "instance_url": "https://acme.example@elsewhere.example"}',
        b'{"access_token": "x", "instance_url": "https://acme.example/path"}',
    ],
)
def test_an_invalid_token_is_refused(content: bytes) -> None:
    """A session id that is missing, or that would be sent in the clear or to a disguised host, is refused."""
    with pytest.raises(ValidationError):
        read_token(_answer(200, content))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"error": "invalid_client", "error_description": "SECRET"}', "invalid_client"),
        (b'{"error": "SECRET SECRET"}', "no reason given"),
        (b'["SECRET"]', "no reason given"),
        (b"<html>SECRET</html>", "no reason given"),
    ],
)
def test_a_refused_login_reports_only_its_code(content: bytes, code: str) -> None:
    """The error has the status and OAuth's code, and no description."""
    with pytest.raises(RefusedCall) as refusal:
        read_token(_answer(400, content))
    assert (refusal.value.status, refusal.value.code) == (400, code)
    assert "SECRET" not in str(refusal.value)


def test_a_process_shares_its_session() -> None:
    """Equal settings have one session; creating it makes no call."""
    same = SalesforceSettings("https://acme.my.salesforce.com", "key", "SALESFORCE_SECRET")
    assert shared_salesforce(SETTINGS) is shared_salesforce(same)
