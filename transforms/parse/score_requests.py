"""Requests for a score, in a change event's form: a gap event, which says that a record changed without saying how.

It is parsed, recorded and scored like any other, and its dead letter can be replayed. Its event id follows from the
account and the time, so that the same request again is the same event. docs/adr/041 explains its place in commit order.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final, Self

import orjson

from schemas.change_event import ACCOUNT_ENTITY, ChangeType

PREFIX: Final = "backfill/"
_ORIGIN: Final = "com/account-rescoring/"
_ID: Final = re.compile(r"backfill/([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)\Z")
_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Backfill:
    """A backfill, by the time (whole seconds) up to which the mirror is taken to be complete."""

    as_of: dt.datetime

    def __post_init__(self) -> None:
        """Refuse times that the id can't express.

        Raises:
            ValueError: The time has no zone, or parts of a second.
        """
        if self.as_of.tzinfo is None or self.as_of.microsecond:
            raise ValueError(f"as_of {self.as_of} must have a time zone and whole seconds")

    @property
    def id(self) -> str:
        """The prefix of its messages' ids, and their transactionKey."""
        return PREFIX + self.as_of.astimezone(dt.UTC).strftime(_FORMAT)

    @classmethod
    def from_id(cls, text: str) -> Self:
        """Return the backfill with an id.

        Raises:
            ValueError: The text is not such an id.
        """
        match = _ID.match(text)
        if not match:
            raise ValueError(f"{text[:60]!r} is not a backfill: expected the form backfill/2026-03-02T09:30:00Z")
        return cls(dt.datetime.strptime(match[1], _FORMAT).replace(tzinfo=dt.UTC))


def backfill_event(account_id: str, backfill: Backfill) -> bytes:
    """Return the event by which a backfill requests an account's score."""
    # Salesforce counts from 1, so a change of the same second is newer than the backfill.
    return _event(account_id, "backfill", backfill.id, int(backfill.as_of.timestamp() * 1000), 0)


def single_request(account_id: str, as_of: dt.datetime) -> bytes:
    """Return the event by which somebody requests one account's score, as of a time of whole seconds.

    It is a millisecond older than a change of that second. Its sequence number is not 0, which is that of backfills: it
    must not be taken for the last one, which can be resumed.
    """
    key = f"rescore/{as_of.astimezone(dt.UTC).strftime(_FORMAT)}"
    return _event(account_id, "api", key, int(as_of.timestamp() * 1000) - 1, 1)


def _event(account_id: str, origin: str, transaction_key: str, committed_ms: int, sequence_number: int) -> bytes:
    header = {
        "entityName": ACCOUNT_ENTITY,
        "recordIds": [account_id],
        "changeType": ChangeType.GAP_UPDATE.value,
        "changeOrigin": _ORIGIN + origin,
        "transactionKey": transaction_key,
        "sequenceNumber": sequence_number,
        "commitTimestamp": committed_ms,
        "changedFields": [],
    }
    return orjson.dumps({"ChangeEventHeader": header})
