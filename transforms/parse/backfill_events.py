"""Backfill events: account id → a message that requests the account's score as of a time, in a change event's form.

The message is a gap event, which says that a record changed without saying how. It is parsed, recorded and scored like
any other, and its dead letter can be replayed. Its event id follows from the account and the time, so a resumed run
publishes the same events. docs/adr/041 explains its place in commit order.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final, Self

import apache_beam as beam
import orjson
from apache_beam.io.gcp.pubsub import PubsubMessage

from schemas.change_event import ACCOUNT_ENTITY, ChangeType

STAGE: Final = "Make backfill events"
PREFIX: Final = "backfill/"
ORIGIN: Final = "com/account-rescoring/backfill"

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


def backfill_message(account_id: str, backfill: Backfill) -> PubsubMessage:
    """Return the message that requests an account's score; it has no publish time, since it was never published."""
    header = {
        "entityName": ACCOUNT_ENTITY,
        "recordIds": [account_id],
        "changeType": ChangeType.GAP_UPDATE.value,
        "changeOrigin": ORIGIN,
        "transactionKey": backfill.id,
        # Salesforce counts from 1, so a change of the same second is newer than the backfill.
        "sequenceNumber": 0,
        "commitTimestamp": int(backfill.as_of.timestamp() * 1000),
        "changedFields": [],
    }
    return PubsubMessage(
        orjson.dumps({"ChangeEventHeader": header}), attributes={}, message_id=f"{backfill.id}/{account_id}"
    )


@dataclass
class MakeBackfillEvents(beam.PTransform):
    """Account id → PubsubMessage, distributed over the workers."""

    backfill: Backfill

    def expand(self, account_ids: beam.PCollection[str]) -> beam.PCollection[PubsubMessage]:
        """Redistribute the ids first, since a single source produces them."""
        backfill = self.backfill
        return (
            account_ids
            | "Spread accounts" >> beam.Reshuffle()
            | "Make messages"
            >> beam.Map(lambda account_id: backfill_message(account_id, backfill)).with_output_types(PubsubMessage)
        )
