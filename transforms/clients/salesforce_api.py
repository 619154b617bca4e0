"""Salesforce's REST API: settings, errors, requests and responses, independent of the client.

Without simple_salesforce, which imports a SOAP stack: options and commands need the settings and not the client.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from pydantic import AwareDatetime, Field, JsonValue

from schemas.api_names import spelled
from schemas.record import ValidatedModel
from schemas.salesforce_fields import MODIFIED_FIELD
from schemas.salesforce_ids import RecordId, normalize_record_id
from transforms.clients.secrets import SecretUnavailable, is_secret_name
from transforms.errors import SalesforceUnavailable

API_VERSION: Final = "66.0"

_ASSERTION_LIFETIME: Final = dt.timedelta(minutes=3)
_SHARED_HOSTS: Final = frozenset({"https://login.salesforce.com", "https://test.salesforce.com"})
_UNREADABLE_CODES: Final = frozenset({"INVALID_FIELD", "INVALID_TYPE"})
_API_NAME: Final = re.compile(r"[A-Za-z]\w{0,79}\Z", re.ASCII)
_HTTPS_HOST: Final = re.compile(r"https://[A-Za-z0-9.-]+(?::\d+)?\Z")


class AuthFlow(StrEnum):
    """OAuth 2.0 flows that need no person."""

    CLIENT_CREDENTIALS = "client_credentials"
    JWT_BEARER = "jwt_bearer"


@dataclass(frozen=True)
class SalesforceSettings:
    """Which organisation to read, as which app and user, and the limits of a read. Names the secret, never holds it.

    Args:
        login_url: The organisation's My Domain, such as https://acme.my.salesforce.com.
        client_id: Consumer key of the connected app.
        secret: Name of an environment variable (SALESFORCE_SECRET), or of a version in Secret Manager
            (projects/P/secrets/S/versions/latest), that holds the consumer secret or, in PEM, the private key.
        username: The integration user, for JWT bearer.
        audience: Of the JWT; https://test.salesforce.com for a sandbox.
        deadline_seconds: For a read with its waits, login and retries.
        circuit_failures: So many failed reads in a row open the circuit.
        circuit_reset_seconds: An open circuit is probed after so long.
    """

    login_url: str
    client_id: str = field(repr=False)
    secret: str = field(repr=False)
    flow: AuthFlow = AuthFlow.CLIENT_CREDENTIALS
    username: str | None = field(default=None, repr=False)
    audience: str = "https://login.salesforce.com"
    deadline_seconds: float = 20.0
    retry_wait_seconds: float = 0.5
    circuit_failures: int = 3
    circuit_reset_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: One is malformed. The message names it and does not quote it: it may be a misplaced secret.
        """
        if not _HTTPS_HOST.match(self.login_url):
            raise ValueError("login_url: expected https:// and a host, such as https://acme.my.salesforce.com")
        if not is_secret_name(self.secret):
            raise ValueError("secret: name an environment variable, or projects/P/secrets/S/versions/V")
        if self.flow is AuthFlow.JWT_BEARER and not self.username:
            raise ValueError("username: JWT bearer needs the integration user's")
        if self.flow is AuthFlow.CLIENT_CREDENTIALS and self.login_url in _SHARED_HOSTS:
            raise ValueError("login_url: Salesforce accepts client credentials at your My Domain only")


class SalesforceRecord(ValidatedModel):
    """A record as Salesforce has it now; `values` holds None for empty fields."""

    record_id: RecordId
    is_deleted: bool = Field(description="It is in the recycle bin, or was merged into another")
    modified_at: AwareDatetime
    values: dict[str, JsonValue]


class RefusedCall(SalesforceUnavailable):
    """Salesforce answered with an HTTP status other than success; `code` is its own name of the reason."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"Salesforce answered with HTTP status {status} ({code})")
        self.status = status
        self.code = code

    @property
    def is_unreadable(self) -> bool:
        """Whether the user may not read the entity or one of its fields; other queries are answered."""
        return self.status == HTTPStatus.BAD_REQUEST and self.code in _UNREADABLE_CODES


class SessionExpired(RefusedCall):
    """The session has ended: log in again."""


class ConnectionFailed(SalesforceUnavailable):
    """The connection was not established, or broke."""


class InvalidAnswer(SalesforceUnavailable):
    """Salesforce, or a server in between, returned a response that the API does not define."""


class SalesforceTimeout(SalesforceUnavailable):
    """Salesforce did not answer within the deadline."""


class SalesforceCircuitOpen(SalesforceUnavailable):
    """The read was not tried: the last ones failed, and the next probe is not due."""


class Page(ValidatedModel, extra="ignore"):
    """A page of a query's result; the next page is on the same host, whatever the response says."""

    records: tuple[dict[str, JsonValue], ...]
    next_url: str | None = Field(default=None, validation_alias="nextRecordsUrl", pattern=r"^/services/data/[\w./-]+$")


class Token(ValidatedModel, extra="ignore"):
    """The response to a login: a session id, and the host that accepts it."""

    access_token: str = Field(pattern=r"^[!-~]+$", repr=False)
    instance_url: str = Field(pattern=r"^https://[A-Za-z0-9.-]+(:\d+)?/?$")


def token_request(settings: SalesforceSettings, secret: str, now: dt.datetime) -> dict[str, str]:
    """Return the form that requests a session.

    Raises:
        SecretUnavailable: The secret is not a private key.
    """
    if settings.flow is AuthFlow.CLIENT_CREDENTIALS:
        return {"grant_type": "client_credentials", "client_id": settings.client_id, "client_secret": secret.strip()}
    import jwt  # noqa: PLC0415 - imports cryptography, which options don't need

    claims = {
        "iss": settings.client_id,
        "sub": settings.username,
        "aud": settings.audience,
        "exp": int((now + _ASSERTION_LIFETIME).timestamp()),
    }
    try:
        assertion = jwt.encode(claims, secret, algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise SecretUnavailable(f"Salesforce's secret is not an RSA key in PEM ({type(error).__name__})") from None
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def records_query(entity: str, fields: Sequence[str], record_ids: Sequence[str]) -> str:
    """Return the SOQL that reads records of one entity.

    Salesforce refuses the whole query if the user may not read one of the fields.

    Raises:
        ValueError: A name is not an API name, or an id not one of 18 characters: SOQL has no parameters.
    """
    if not all(_API_NAME.match(name) for name in (entity, *fields)):
        raise ValueError(f"expected API names of an entity and its fields, such as Account and Name; got {entity!r}")
    if any(normalize_record_id(record_id) != record_id for record_id in record_ids):
        raise ValueError("expected 18-character record ids")
    columns = ", ".join(dict.fromkeys(("Id", "IsDeleted", MODIFIED_FIELD, *fields)))
    ids = ", ".join(f"'{record_id}'" for record_id in record_ids)
    return f"SELECT {columns} FROM {entity} WHERE Id IN ({ids})"  # noqa: S608 - checked names and ids


def read_record(row: Mapping[str, JsonValue], fields: Sequence[str]) -> tuple[str, SalesforceRecord]:
    """Return a row of a query's result, by its id; a field whose value no JSON can hold is left out.

    Raises:
        ValidationError: It is not a record's.
    """
    record = SalesforceRecord.model_validate(
        {
            "record_id": row.get("Id"),
            "is_deleted": row.get("IsDeleted"),
            "modified_at": row.get(MODIFIED_FIELD),
            # Under the names that were asked for, whose case may differ from Salesforce's.
            "values": {
                name: row[given]
                for name, given in zip(fields, spelled(tuple(fields), row), strict=True)
                if given in row and _is_encodable(row[given])
            },
        }
    )
    return record.record_id, record


def _is_encodable(value: JsonValue) -> bool:
    """Return whether coders take a value: Python's json reads lone surrogates, NaN and infinity, which they refuse."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # UnicodeEncodeError is one
        return False
    return True
