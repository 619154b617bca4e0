"""Backfill events: an account's id → the message that asks for its score as of a time, as a change event would.

The message is a gap event: "this record changed, and how is not said", which is what a backfill knows. It is parsed,
recorded and scored like any other, and a dead letter of it can be replayed. Its identity follows from the account and
the time, so that a run that is resumed says the same again. See docs/adr/041 for its place in commit order.
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
    """A backfill: the time, in whole seconds, up to which the mirror is taken to hold every change."""

    as_of: dt.datetime

    def __post_init__(self) -> None:
        """Refuse times that the identity could not carry.

        Raises:
            ValueError: The time has no zone, or parts of a second.
        """
        if self.as_of.tzinfo is None or self.as_of.microsecond:
            raise ValueError(f"as_of {self.as_of} must have a zone, and whole seconds")

    @property
    def id(self) -> str:
        """Identity: the start of its messages' ids, and their transactionKey."""
        return PREFIX + self.as_of.astimezone(dt.UTC).strftime(_FORMAT)

    @classmethod
    def from_id(cls, text: str) -> Self:
        """Return the backfill with an id.

        Raises:
            ValueError: The text is none.
        """
        match = _ID.match(text)
        if not match:
            raise ValueError(f"{text[:60]!r} is no backfill: backfill/2026-03-02T09:30:00Z is the form")
        return cls(dt.datetime.strptime(match[1], _FORMAT).replace(tzinfo=dt.UTC))


def backfill_message(account_id: str, backfill: Backfill) -> PubsubMessage:
    """Return the message that asks for an account's score; it was never published, so it has no time of that."""
    header = {
        "entityName": ACCOUNT_ENTITY,
        "recordIds": [account_id],
        "changeType": ChangeType.GAP_UPDATE.value,
        "changeOrigin": ORIGIN,
        "transactionKey": backfill.id,
        # Salesforce counts from 1: a change of the same moment is newer than the backfill.
        "sequenceNumber": 0,
        "commitTimestamp": int(backfill.as_of.timestamp() * 1000),
        "changedFields": [],
    }
    return PubsubMessage(
        orjson.dumps({"ChangeEventHeader": header}), attributes={}, message_id=f"{backfill.id}/{account_id}"
    )


@dataclass
class MakeBackfillEvents(beam.PTransform):
    """Account id → PubsubMessage, spread over the workers."""

    backfill: Backfill

    def expand(self, account_ids: beam.PCollection[str]) -> beam.PCollection[PubsubMessage]:
        """Spread the ids first: they come from one place."""
        backfill = self.backfill
        return (
            account_ids
            | "Spread accounts" >> beam.Reshuffle()
            | "Make messages"
            >> beam.Map(lambda account_id: backfill_message(account_id, backfill)).with_output_types(PubsubMessage)
        )
