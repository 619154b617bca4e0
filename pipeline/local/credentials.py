"""Throw-away credentials, which Google's clients need before they call the local stack.

The key is new and trusted by nobody. Its `token_uri` is the local token endpoint, so no Google host is called.
"""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

# Short, since it protects nothing: the clients that Beam makes per bundle check it in 5 ms, at 2,048 bits in 38 ms.
_KEY_BITS: Final = 1_024
_PUBLIC_EXPONENT: Final = 65_537


def service_account(token_url: str, project: str) -> dict[str, str]:
    """Return the content of a service-account file with a fresh RSA key, whose tokens come from `token_url`."""
    key = rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=_KEY_BITS)
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": uuid.uuid4().hex,
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": f"local-stack@{project}.iam.gserviceaccount.com",
        "client_id": "100000000000000000000",
        "auth_uri": token_url,
        "token_uri": token_url,
        "universe_domain": "googleapis.com",
    }


def write_service_account_file(path: Path, token_url: str, project: str) -> Path:
    """Write a service-account file, readable by its owner only, replacing an older one; return its path.

    The folder must exist.

    Raises:
        OSError: The file can't be written.
    """
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(service_account(token_url, project), file, indent=2)
    return path


def credentials_environment(path: Path) -> Mapping[str, str]:
    """Return the environment variables with which Google's clients use the file and call no Google host about it."""
    return {
        "GOOGLE_APPLICATION_CREDENTIALS": str(path.resolve()),  # a shell in another folder uses it, too
        # Otherwise google-auth looks up the account's allowed locations at a Google host before its first call.
        "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "false",
    }
