"""Salesforce record ids: the 15- and 18-character forms, their checksum, and the ids that name no record.

A 15-character id is case-sensitive. The 18-character form appends one character for each chunk of five: bit k is
set where character k of the chunk is an upper-case letter, and the five bits index into `A-Z0-5`.
Source: Salesforce Object Reference, "ID Field Type".
"""

import functools
import re
import string
from typing import Annotated, Final

from msgspec import Meta
from pydantic import StringConstraints

ACCOUNT_KEY_PREFIX: Final = "001"
OVERFLOW_RECORD_ID: Final = "000000000000000AAA"
"""The dummy id of a GAP_OVERFLOW event; it names no record."""

_OVERFLOW_RECORD_IDS: Final = frozenset({OVERFLOW_RECORD_ID, OVERFLOW_RECORD_ID[:15]})
_CHECKSUM_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_IS_UPPER_CASE: Final = {
    ord(char): "1" if char in string.ascii_uppercase else "0" for char in string.ascii_letters + string.digits
}
_ID_15: Final = re.compile(r"[0-9A-Za-z]{15}\Z")
_ID_18: Final = re.compile(r"[0-9A-Za-z]{15}[A-Za-z0-5]{3}\Z")
_WILDCARD: Final = re.compile(r"[0-9A-Za-z]{3}\*\Z")


def id_checksum(id_15: str) -> str:
    """Return the three checksum characters of a 15-character id."""
    bits = id_15.translate(_IS_UPPER_CASE)
    chunks = (bits[4::-1], bits[9:4:-1], bits[14:9:-1])
    return "".join([_CHECKSUM_ALPHABET[int(chunk, 2)] for chunk in chunks])


@functools.lru_cache(maxsize=32_768)
def normalize_record_id(text: str) -> str:
    """Return the 18-character form of a record id, and verify the checksum if it has one.

    Raises:
        ValueError: The text is not a record id, or its checksum is wrong.
    """
    if _ID_15.match(text):
        return text + id_checksum(text)
    if not _ID_18.match(text):
        # The text is not quoted: it can be anything, a session id for example.
        raise ValueError(f"not a record id: expected 15 or 18 letters and digits, got {len(text)} characters")
    expected = id_checksum(text[:15])
    if text[15:].upper() != expected:
        raise ValueError(f"the checksum of record id {text} is {text[15:]}, expected {expected}")
    return text[:15] + expected


def names_no_record(text: str) -> bool:
    """Return whether an entry of `recordIds` stands for a whole entity: `001*` or the dummy id of an overflow."""
    return text in _OVERFLOW_RECORD_IDS or ("*" in text and bool(_WILDCARD.match(text)))


@functools.lru_cache(maxsize=32_768)
def normalize_account_id(text: str) -> str:
    """Return the 18-character form of an Account's id.

    Raises:
        ValueError: The text is not a record id, or of another object.
    """
    record_id = normalize_record_id(text)
    if not record_id.startswith(ACCOUNT_KEY_PREFIX):
        raise ValueError(f"record id {record_id} is not an Account's: expected it to start with 001")
    return record_id


_RECORD_ID: Final = r"^[0-9A-Za-z]{15}[A-Z0-5]{3}$"
_ACCOUNT_ID: Final = r"^001[0-9A-Za-z]{12}[A-Z0-5]{3}$"
RecordId = Annotated[str, Meta(pattern=_RECORD_ID)]
AccountId = Annotated[str, Meta(pattern=_ACCOUNT_ID), StringConstraints(pattern=_ACCOUNT_ID)]
"""The normalised forms. The functions above verify checksums where ids come in; decoding checks only the pattern."""
