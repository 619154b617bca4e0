"""Check of Google's application-default credentials: whose they are, their kind, and whether they get a token."""

import functools
import os
import re
from typing import Final

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests

from pipeline.doctor.advice import LOG_IN, Advice
from pipeline.doctor.check import CALL_SECONDS, Check, Finding, Status
from transforms.clients.access_tokens import SCOPE

KEY_FILE_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"

_OAUTH_CODE: Final = re.compile(r"[a-z_]{1,60}\Z")
_KINDS: Final = {
    "google.oauth2.service_account": "a service account's key",
    "google.oauth2.credentials": "a user's login",
    "google.auth.compute_engine.credentials": "this machine's service account",
    "google.auth.impersonated_credentials": "a service account, impersonated",
    "google.auth.identity_pool": "workload identity federation",
    "google.auth.external_account": "workload identity federation",
    "google.auth.external_account_authorized_user": "workforce identity federation",
}


def credentials_check(project: str) -> Check:
    """Return the check of the credentials that Google's clients find."""
    advice = Advice("Google's token endpoint", "oauth2.googleapis.com", project, refused=LOG_IN, missing=LOG_IN)
    return Check("credentials", look, advice)


def look() -> Finding:
    """Find credentials, and get a new access token with them.

    Raises:
        TransportError: The token endpoint does not answer.
    """
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except google.auth.exceptions.TransportError:
        raise
    except google.auth.exceptions.GoogleAuthError:
        named = f": {KEY_FILE_VARIABLE} names no file with credentials" if os.environ.get(KEY_FILE_VARIABLE) else ""
        return Finding(Status.FAILED, f"no credentials were found{named}", LOG_IN)
    request = functools.partial(google.auth.transport.requests.Request(), timeout=CALL_SECONDS)
    try:
        credentials.refresh(request)  # type: ignore[no-untyped-call]
    except google.auth.exceptions.TransportError:
        raise
    except google.auth.exceptions.GoogleAuthError as error:
        return Finding(Status.FAILED, f"{whose(credentials)}: no access token ({refusal_code(error)})", LOG_IN)
    return Finding(Status.OK, whose(credentials))


def whose(credentials: google.auth.credentials.Credentials) -> str:
    """Return whose credentials they are, if known without another call, and their kind."""
    module = type(credentials).__module__
    kind = _KINDS.get(module, module)
    names = (getattr(credentials, attribute, None) for attribute in ("service_account_email", "account"))
    who = next((name for name in names if name), None)
    return f"{who} ({kind})" if who else kind


def refusal_code(error: Exception) -> str:
    """Return the OAuth error code of a refused token, such as invalid_grant, without the text beside it."""
    document = error.args[1] if len(error.args) > 1 else None
    code = document.get("error") if isinstance(document, dict) else None
    return code if isinstance(code, str) and _OAUTH_CODE.match(code) else type(error).__name__
