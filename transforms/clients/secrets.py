"""Secrets: options name an environment variable or a version in Secret Manager, and never hold a secret.

Placeholders that were not replaced are refused when the secret is read (`secret_reader.py`), and at the start if the
variable is set then. No message quotes a secret.
"""

import os
import re
from typing import Final
from urllib.parse import urlsplit

from transforms.errors import SalesforceUnavailable

SHORTEST_SECRET: Final = 12
"""Characters. Salesforce's consumer secrets have 64, and Memorystore's AUTH strings 36."""

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
