"""How the service proves itself to Salesforce: settings, and the request for a session."""

import datetime as dt
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import jwt

from schemas.salesforce_fields import PROFILE_FIELDS
from transforms.clients.secrets import SecretUnavailable, is_secret_name

DEFAULT_API_VERSION: Final = "66.0"

_ASSERTION_LIFETIME: Final = dt.timedelta(minutes=3)
_SHARED_HOSTS: Final = frozenset({"https://login.salesforce.com", "https://test.salesforce.com"})
_HTTPS_HOST: Final = re.compile(r"https://[A-Za-z0-9.-]+(?::\d+)?\Z")
_FIELD: Final = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)
_VERSION: Final = re.compile(r"\d+\.\d\Z")


class AuthFlow(StrEnum):
    """How the service proves itself; neither flow needs a person."""

    CLIENT_CREDENTIALS = "client_credentials"
    JWT_BEARER = "jwt_bearer"


@dataclass(frozen=True)
class SalesforceSettings:
    """Which organisation to read, as whom, and how patiently; where its secret is kept, and never the secret.

    Args:
        login_url: The organisation's My Domain, such as https://acme.my.salesforce.com.
        client_id: Consumer key of the connected app.
        secret: Name of an environment variable (SALESFORCE_SECRET), or of a version in Secret Manager
            (projects/P/secrets/S/versions/latest), that holds the consumer secret or, in PEM, the private key.
        username: The integration user, for JWT bearer.
        audience: Of the JWT; a sandbox's is https://test.salesforce.com.
        fields: What is read of an Account. Salesforce refuses the whole query if the user may not read one of them.
        deadline_seconds: For all of a read: waits, login, retries.
        circuit_failures: So many failed reads in a row open the circuit.
        circuit_reset_seconds: Then one read is tried again after so long.
    """

    login_url: str
    client_id: str = field(repr=False)
    secret: str = field(repr=False)
    flow: AuthFlow = AuthFlow.CLIENT_CREDENTIALS
    username: str | None = field(default=None, repr=False)
    audience: str = "https://login.salesforce.com"
    api_version: str = DEFAULT_API_VERSION
    fields: tuple[str, ...] = PROFILE_FIELDS
    deadline_seconds: float = 20.0
    retry_wait_seconds: float = 0.5
    circuit_failures: int = 3
    circuit_reset_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse settings that can't work, or that hold a secret where its name belongs.

        Raises:
            ValueError: One is malformed; the message says which, and never quotes it.
        """
        if not _HTTPS_HOST.match(self.login_url):
            raise ValueError("login_url: https:// and a host is wanted, such as https://acme.my.salesforce.com")
        if not is_secret_name(self.secret):
            raise ValueError("secret: name an environment variable, or projects/P/secrets/S/versions/V")
        if not _VERSION.match(self.api_version):
            raise ValueError(f"api_version: a number such as {DEFAULT_API_VERSION} is wanted")
        if not self.fields or not all(_FIELD.match(name) for name in self.fields):
            raise ValueError("fields: names of fields are wanted, such as Name or Segment__c")
        if self.flow is AuthFlow.JWT_BEARER and not self.username:
            raise ValueError("username: JWT bearer needs the integration user's")
        if self.flow is AuthFlow.CLIENT_CREDENTIALS and self.login_url in _SHARED_HOSTS:
            raise ValueError("login_url: Salesforce takes client credentials at your My Domain only")


def token_request(settings: SalesforceSettings, secret: str, now: dt.datetime) -> dict[str, str]:
    """Return the form that asks Salesforce for a session.

    Raises:
        SecretUnavailable: The secret is no private key.
    """
    if settings.flow is AuthFlow.CLIENT_CREDENTIALS:
        return {"grant_type": "client_credentials", "client_id": settings.client_id, "client_secret": secret.strip()}
    claims = {
        "iss": settings.client_id,
        "sub": settings.username,
        "aud": settings.audience,
        "exp": int((now + _ASSERTION_LIFETIME).timestamp()),
    }
    try:
        assertion = jwt.encode(claims, secret, algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise SecretUnavailable(f"Salesforce's secret is no RSA key in PEM ({type(error).__name__})") from None
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
