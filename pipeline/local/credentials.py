"""Throw-away credentials: what Google's clients need to find before they call the local stack.

The key is made fresh, no one trusts it, and its `token_uri` is the local token endpoint, so no Google host is asked.
"""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

# Nobody trusts the key, and clients that Beam makes for each bundle check it anew: 5 ms at this length, 38 ms at 2,048.
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
    """Write such a file, readable by its owner only, in place of any that was there; return its path.

    The folder must exist.

    Raises:
        OSError: The file can't be written.
    """
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(service_account(token_url, project), file, indent=2)
    return path


def credentials_environment(path: Path) -> Mapping[str, str]:
    """Return the environment variables with which Google's clients use the file, and ask nobody else about it."""
    return {
        "GOOGLE_APPLICATION_CREDENTIALS": str(path),
        # Else google-auth looks the account's allowed locations up at a Google host before its first call.
        "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "false",
    }
