"""Parse change events: the bytes of a message → one AccountChange for each account that it is about."""

import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from pydantic import ValidationError

from schemas.change_event import (
    ACCOUNT_ENTITY,
    RELATED_ENTITIES,
    AccountChange,
    ChangeEvent,
    ChangeEventHeader,
    ChangeType,
    SourceMessage,
    event_id,
    payload_event_id,
)
from schemas.outcome import OutcomeKind, SkipReason
from schemas.salesforce_ids import names_no_record, normalize_account_id, normalize_record_id
from transforms.errors import InvalidEvent, RefusedEvent, UnsupportedEvent
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter, TaggedOutcome
from transforms.parse.avro_bitmaps import name_fields
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas
from transforms.parse.event_decoding import decode_event
from transforms.parse.field_changes import field_changes

STAGE: Final = "Parse change events"
CHANGES: Final = "changes"

_CHANGE_TYPES: Final = frozenset(ChangeType)
_CONSTANT: Final = re.compile(r"[A-Z]{1,16}(?:_[A-Z]{1,16}){0,2}")
_NUMBERS: Final = ("AnnualRevenue", "NumberOfEmployees")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


_validated_header: Final = ChangeEventHeader.__pydantic_validator__.validate_python


@dataclass(frozen=True)
class NoChange:
    """A record of an event that changes no account of ours, and what becomes of it instead."""

    received: Received
    outcome: OutcomeKind
    reason: SkipReason | None = None


@dataclass(frozen=True)
class Refusal:
    """A message, or a record of an event, that can't be read, and why."""

    received: Received
    error: RefusedEvent


ParsedRecord = AccountChange | NoChange | Refusal


def parse_message(source: SourceMessage, schemas: AvroSchemas = NO_SCHEMAS) -> list[ParsedRecord]:
    """Return what a message says, record by record; a message that can't be read is one refusal."""
    try:
        event = parse_change_event(source.payload, schemas=schemas)
    except RefusedEvent as error:
        identity = payload_event_id(source.payload)
        trace_id = _trace_id(source.attributes) or identity
        return [Refusal(Received(event_id=identity, source=source, trace_id=trace_id), error)]
    return list(account_changes(event, source))


def parse_change_event(payload: bytes, *, schemas: AvroSchemas = NO_SCHEMAS) -> ChangeEvent:
    """Read a message's bytes as a change event; `schemas` decode field bitmaps where the event brings no schema.

    Raises:
        Undecodable: No JSON.
        InvalidEvent: No change event, or one with impossible values.
        UnsupportedEvent: A changeType that is not known, or field bitmaps that can't be decoded.
    """
    raw_header, body, null_is_unset, schema = decode_event(payload)
    _refuse_unknown_change_type(raw_header.get("changeType"))
    try:
        header = _validated_header(raw_header)
    except ValidationError as error:
        raise InvalidEvent(_where_and_why(error)) from None
    for name in _NUMBERS:
        if body.get(name) is not None:
            _refuse_impossible_number(name, body[name])
    return ChangeEvent(name_fields(header, body, schema, schemas), body, null_is_unset)


def account_changes(event: ChangeEvent, source: SourceMessage) -> Iterator[ParsedRecord]:
    """Yield what an event says of each of its records; a malformed id costs that record alone."""
    committed_at = dt.datetime.fromtimestamp(event.header.commit_timestamp / 1000, dt.UTC)
    trace_id = _trace_id(source.attributes)
    for record_id in dict.fromkeys(event.header.record_ids):
        received = _received(event.header, record_id, source, committed_at, trace_id)
        try:
            yield _record_change(event, received, committed_at)
        except RefusedEvent as error:
            yield Refusal(received, error)


def _received(
    header: ChangeEventHeader, record_id: str, source: SourceMessage, committed_at: dt.datetime, trace_id: str | None
) -> Received:
    """Return the ledger's view of a record, whose id is normalised if it can be: both its forms are one record."""
    try:
        record_id = normalize_record_id(record_id)
    except ValueError:
        # Whether the id must name a record depends on the entity: that is decided, and said, in _record_change.
        record_id = record_id[:255]
    identity = event_id(header, record_id)
    return Received(
        event_id=identity,
        source=source,
        trace_id=trace_id or identity,
        entity_name=header.entity_name,
        record_id=record_id,
        change_type=header.change_type.value,
        committed_at=committed_at,
    )


def _record_change(event: ChangeEvent, received: Received, committed_at: dt.datetime) -> AccountChange | NoChange:
    header, record_id = event.header, received.record_id or ""
    if header.entity_name != ACCOUNT_ENTITY and header.entity_name not in RELATED_ENTITIES:
        return NoChange(received, OutcomeKind.SKIPPED, SkipReason.UNSUPPORTED_ENTITY)
    if names_no_record(record_id) or header.change_type is ChangeType.GAP_OVERFLOW:
        return NoChange(received, OutcomeKind.RESYNC_REQUESTED)
    account_id = record_id if header.entity_name == ACCOUNT_ENTITY else event.body.get("AccountId")
    if account_id is None:
        return NoChange(received, OutcomeKind.SKIPPED, SkipReason.UNSUPPORTED_ENTITY)
    try:
        record_id = normalize_record_id(record_id)
        account_id = normalize_account_id(str(account_id))
    except ValueError as error:
        raise InvalidEvent(str(error)) from None
    changed, nulled, values, enriched = field_changes(event)
    return AccountChange(
        event_id=received.event_id,
        account_id=account_id,
        entity_name=header.entity_name,
        record_id=record_id,
        change_type=header.change_type,
        committed_at=committed_at,
        sequence_number=header.sequence_number,
        transaction_key=header.transaction_key,
        change_origin=header.change_origin,
        changed_fields=changed,
        nulled_fields=nulled,
        values=values,
        enriched=enriched,
        trace_id=received.trace_id,
        source=received.source,
    )


def _refuse_unknown_change_type(change_type: object) -> None:
    if isinstance(change_type, str) and change_type not in _CHANGE_TYPES:
        # A new one of Salesforce's is worth naming; what is no name at all can be anything, and stays in the payload.
        name = change_type if _CONSTANT.fullmatch(change_type) else f"of {len(change_type)} characters"
        raise UnsupportedEvent(f"changeType {name} is not one of {', '.join(ChangeType)}")


def _refuse_impossible_number(name: str, value: Any) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return
    raise InvalidEvent(f"{name} is no number of 0 or more")


def _where_and_why(error: ValidationError) -> str:
    """Return where each value is wrong and why, without the values."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"ChangeEventHeader.{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details[:5])


def _trace_id(attributes: dict[str, str]) -> str | None:
    """Return the W3C trace id that the publisher sent along, if it did."""
    if not attributes:
        return None
    parent = attributes.get("traceparent") or attributes.get("googclient_traceparent") or ""
    match = _TRACEPARENT.match(parent)
    return match.group(1) if match else None


@dataclass
class ParseChangeEvents(beam.PTransform):
    """PubsubMessage → AccountChange (main), Outcome (`outcomes`), DeadLetter (`dead_letters`)."""

    pipeline_version: str
    schemas: AvroSchemas = NO_SCHEMAS

    def expand(self, messages: beam.PCollection[PubsubMessage]) -> Any:
        """Parse each message on its own: a bad one costs nobody else."""
        return messages | beam.ParDo(_ParseMessage(self.pipeline_version, self.schemas)).with_outputs(
            OUTCOMES, DEAD_LETTERS, main=CHANGES
        )


class _ParseMessage(beam.DoFn):
    def __init__(self, pipeline_version: str, schemas: AvroSchemas) -> None:
        self.ledger = Ledger(STAGE, pipeline_version)
        self.schemas = schemas
        self.messages = Metrics.counter(STAGE, "messages_total")
        self.changes = Metrics.counter(STAGE, "changes_total")
        self.without_change = Metrics.counter(STAGE, "without_change_total")
        self.refused = Metrics.counter(STAGE, "refused_total")

    def process(self, message: PubsubMessage) -> Iterator[AccountChange | TaggedOutcome | TaggedDeadLetter]:
        self.messages.inc()
        for record in parse_message(_source(message), self.schemas):
            received = Received.of(record) if isinstance(record, AccountChange) else record.received
            yield TaggedOutput(OUTCOMES, self.ledger.outcome(received, OutcomeKind.RECEIVED))
            match record:
                case AccountChange():
                    self.changes.inc()
                    yield record
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
        published_at=message.publish_time,
    )
