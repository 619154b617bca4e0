"""Secrets: options name an environment variable or a version in Secret Manager, and never hold a secret.

Placeholders that were not replaced are refused when the secret is read, and at the start if the variable is set then.
No message quotes a secret.
"""

import os
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import google.auth.exceptions
from google.api_core import exceptions as api
from google.cloud import secretmanager

from transforms.errors import SalesforceUnavailable

SecretReader = Callable[[str], str]
"""From a secret's name to the secret."""

SHORTEST_SECRET: Final = 12
"""Characters. Salesforce's consumer secrets have 64, and Memorystore's AUTH strings 36."""

_SECRET_MANAGER_SECONDS: Final = 10.0
# With an underscore: a consumer secret has upper-case letters and digits, and must not count as a name.
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\Z")
_SECRET_VERSION: Final = re.compile(r"projects/[^/\s]+/secrets/[\w-]+/versions/\w+\Z")
_PLACEHOLDER: Final = re.compile(
    r"change.?me.*|.*(?:place.?holder|replace.?(?:me|this)|insert.?here).*|(?:my|your|the|a|an)[ _-].*"
    r"|<.*>|\$?\{.*\}|\[.*\]"
    r"|(?:todo|tbd|fixme|dummy|example|secret|password|passwort|test|none|null|undefined)[\W\d_]*|(.)\1*",
    re.IGNORECASE | re.DOTALL,
)


def is_secret_name(text: str) -> bool:
    """Whether a text is the name of an environment variable or of a version in Secret Manager."""
    return bool(_VARIABLE.match(text) or _SECRET_VERSION.match(text))


class SecretUnavailable(SalesforceUnavailable):
    """The secret can't be read, or is a placeholder. It is handled as an outage of Salesforce.

    `status` and `reason` are Secret Manager's, if it gave any.
    """

    def __init__(self, message: str, *, status: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def read_secret(name: str) -> str:
    """Return the secret of that name. It is read at every login, so a new one takes effect without a restart.

    Raises:
        SecretUnavailable: It was not found, can't be read, or is a placeholder.
    """
    if "/" in name:
        return _usable(read_secret_version(name, secretmanager.SecretManagerServiceClient), name)
    secret = os.environ.get(name)
    if not secret:
        raise SecretUnavailable(f"the environment variable {name} is not set: set it to the secret")
    return _usable(secret, name)


def read_secret_version(name: str, connect: Callable[[], secretmanager.SecretManagerServiceClient]) -> str:
    """Return the text of a version in Secret Manager.

    Raises:
        SecretUnavailable: Secret Manager did not answer, refused, or has no text of that name.
    """
    try:
        with connect() as client:
            payload = client.access_secret_version(name=name, timeout=_SECRET_MANAGER_SECONDS).payload
        return payload.data.decode()
    except (api.GoogleAPIError, google.auth.exceptions.GoogleAuthError, UnicodeDecodeError) as error:
        raise SecretUnavailable(
            f"Secret Manager did not return the secret ({type(error).__name__})",
            status=getattr(error, "code", None),
            reason=getattr(error, "reason", None) if isinstance(error, api.GoogleAPICallError) else None,
        ) from None


def check_secret(name: str, option: str) -> None:
    """Check that the variable, if it is set here, holds a secret; it may be set on the workers only.

    Args:
        name: The option's value; versions in Secret Manager are not read here, since that needs permissions.
        option: Name of the option, for the message.

    Raises:
        ValueError: The variable holds a placeholder or a short text.
    """
    secret = os.environ.get(name)
    if secret and (fault := fault_of(secret)):
        raise ValueError(f"{option}: the variable {name} holds {fault}: put the real one there")


def fault_of(secret: str) -> str | None:
    """Return why a text can't be a secret, or None if it can; of a URL, the password is checked."""
    text = secret.strip()
    if "://" in text:
        password = urlsplit(text).password
        if password is None:
            return None
        text = password
    if _PLACEHOLDER.fullmatch(text):
        return "a placeholder"
    return None if len(text) >= SHORTEST_SECRET else f"fewer than {SHORTEST_SECRET} characters"


def _usable(secret: str, name: str) -> str:
    if fault := fault_of(secret):
        raise SecretUnavailable(f"{name} holds {fault}: put the real secret there")
    return secret
