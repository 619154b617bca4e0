"""Parse change events: one Pub/Sub message → a change for each record that it is about."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import AccountChange, AccountFields, SourceMessage, UnnamedChange
from schemas.outcome import OutcomeKind
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter, TaggedOutcome
from transforms.parse.account_changes import NoChange, Refusal
from transforms.parse.avro_schemas import AvroSchemas
from transforms.parse.message_parsing import parse_message

STAGE: Final = "Parse change events"
CHANGES: Final = "changes"
UNNAMED: Final = "unnamed"


@dataclass
class ParseChangeEvents(beam.PTransform):
    """Read messages.

    Input: PubsubMessage. Outputs: AccountChange (main), UnnamedChange of related records whose account is not named
    (`unnamed`), Outcome (`outcomes`), DeadLetter (`dead_letters`).
    """

    pipeline_version: str
    account_fields: AccountFields
    schemas: AvroSchemas = field(default_factory=dict)

    def expand(self, messages: beam.PCollection[PubsubMessage]) -> Any:
        """Parse each message independently of the others."""
        return messages | beam.ParDo(
            _ParseMessage(self.pipeline_version, self.account_fields, self.schemas)
        ).with_outputs(UNNAMED, OUTCOMES, DEAD_LETTERS, main=CHANGES)


class _ParseMessage(beam.DoFn):
    def __init__(self, pipeline_version: str, account_fields: AccountFields, schemas: AvroSchemas) -> None:
        self.ledger = Ledger(STAGE, pipeline_version)
        self.account_fields = account_fields
        self.schemas = schemas
        self.messages = Metrics.counter(STAGE, "messages_total")
        self.changes = Metrics.counter(STAGE, "changes_total")
        self.unnamed = Metrics.counter(STAGE, "unnamed_total")
        self.without_change = Metrics.counter(STAGE, "without_change_total")
        self.refused = Metrics.counter(STAGE, "refused_total")

    def process(
        self, message: PubsubMessage
    ) -> Iterator[AccountChange | TaggedOutput[Literal["unnamed"], UnnamedChange] | TaggedOutcome | TaggedDeadLetter]:
        self.messages.inc()
        source, now = _source(message), self.ledger.now()
        for record in parse_message(source, self.schemas, account_fields=self.account_fields, now=now):
            received = record.received if isinstance(record, NoChange | Refusal) else Received.of(record)
            yield TaggedOutput(OUTCOMES, self.ledger.outcome(received, OutcomeKind.RECEIVED))
            match record:
                case AccountChange():
                    self.changes.inc()
                    yield record
                case UnnamedChange():
                    self.unnamed.inc()
                    yield TaggedOutput(UNNAMED, record)
                case NoChange():
                    self.without_change.inc()
                    outcome = self.ledger.outcome(received, record.outcome, reason=record.reason)
                    yield TaggedOutput(OUTCOMES, outcome)
                case Refusal():
                    self.refused.inc()
                    yield TaggedOutput(DEAD_LETTERS, self.ledger.dead_letter(received, record.error))


def _source(message: PubsubMessage) -> SourceMessage:
    return SourceMessage(
        payload=message.data or b"",
        attributes=dict(message.attributes or {}),
        message_id=message.message_id or "",
        published_at=_plain_time(message.publish_time),
    )


def _plain_time(moment: dt.datetime | None) -> dt.datetime | None:
    """Return a datetime in place of its subclass from the Pub/Sub client, which msgspec does not encode."""
    return moment and dt.datetime.combine(moment.date(), moment.timetz())
