"""Backfill events: account id → a message that requests the account's score, which the same pipeline reads."""

from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage

from transforms.parse.score_requests import Backfill, backfill_event

STAGE: Final = "Make backfill events"


def backfill_message(account_id: str, backfill: Backfill) -> PubsubMessage:
    """Return the message that requests an account's score; it has no publish time, since it was never published."""
    event = backfill_event(account_id, backfill)
    return PubsubMessage(event, attributes={}, message_id=f"{backfill.id}/{account_id}")


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
