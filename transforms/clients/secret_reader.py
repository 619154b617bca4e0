"""Read a secret by its name. Alone imports Secret Manager's client, and maps its exceptions.

Apart from `secrets.py`, since options need the rules for names, and not gRPC.
"""

import os
from collections.abc import Callable
from typing import Final

import google.auth.exceptions
from google.api_core import exceptions as api
from google.cloud.secretmanager import SecretManagerServiceClient

from transforms.clients.secrets import SecretUnavailable, fault_of

SecretReader = Callable[[str], str]
"""From a secret's name to the secret."""

CALL_SECONDS: Final = 10.0


def read_secret(name: str) -> str:
    """Return the secret of that name. It is read at every login, so a new one takes effect without a restart.

    Raises:
        SecretUnavailable: It was not found, can't be read, or is a placeholder.
    """
    if "/" in name:
        return _usable(read_secret_version(name, SecretManagerServiceClient), name)
    secret = os.environ.get(name)
    if not secret:
        raise SecretUnavailable(f"the environment variable {name} is not set: set it to the secret")
    return _usable(secret, name)


def read_secret_version(name: str, connect: Callable[[], SecretManagerServiceClient]) -> str:
    """Return the text of a version in Secret Manager.

    Raises:
        SecretUnavailable: Secret Manager did not answer, refused, or has no text of that name.
    """
    try:
        with connect() as client:
            payload = client.access_secret_version(name=name, timeout=CALL_SECONDS).payload
        return payload.data.decode()
    except (api.GoogleAPIError, google.auth.exceptions.GoogleAuthError, UnicodeDecodeError) as error:
        raise SecretUnavailable(
            f"Secret Manager did not return the secret ({type(error).__name__})",
            status=getattr(error, "code", None),
            reason=getattr(error, "reason", None) if isinstance(error, api.GoogleAPICallError) else None,
        ) from None


def _usable(secret: str, name: str) -> str:
    if fault := fault_of(secret):
        raise SecretUnavailable(f"{name} holds {fault}: put the real secret there")
    return secret
