"""Made-up Salesforce record ids: valid, with checksum, and the same on every run."""

import hashlib
import string
from typing import Final

from schemas.salesforce_ids import ACCOUNT_KEY_PREFIX, id_checksum

ACCOUNT: Final = ACCOUNT_KEY_PREFIX
CONTACT: Final = "003"
USER: Final = "005"
OPPORTUNITY: Final = "006"
LEAD: Final = "00Q"
TASK: Final = "00T"
EVENT: Final = "00U"
EMAIL_MESSAGE: Final = "02s"
CASE: Final = "500"

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_INSTANCE: Final = "Hs00000"
_NUMBERS: Final = 62**5
_STRIDE: Final = 3**18  # coprime to 62, so that n → n·stride is a permutation


def numbered_record_id(prefix: str, number: int, *, seed: int = 0) -> str:
    """Return the id of record `number`, unique for numbers below 62^5 (916 million) of one seed."""
    scattered = (number * _STRIDE + seed * 7_368_787) % _NUMBERS
    return _with_checksum(f"{prefix}{_INSTANCE}{_base62(scattered, width=5)}")


def named_record_id(prefix: str, name: str) -> str:
    """Return the id that a name hashes to, one of 62^12."""
    number = int.from_bytes(hashlib.sha256(f"{prefix}/{name}".encode()).digest(), "big")
    return _with_checksum(prefix + _base62(number % 62**12, width=12))


def _base62(number: int, *, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _with_checksum(id_15: str) -> str:
    return id_15 + id_checksum(id_15)
