"""From a validated change event to the change of each account that it names, one per record id."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.api_names import spelled
from schemas.change_event import (
    ACCOUNT_ENTITY,
    AccountChange,
    AccountFields,
    ChangeEvent,
    ChangeEventHeader,
    ChangeType,
    SourceMessage,
    UnnamedChange,
    event_id,
    payload_event_id,
)
from schemas.outcome import OutcomeKind, SkipReason
from schemas.salesforce_ids import names_no_record, normalize_account_id, normalize_record_id
from transforms.errors import InvalidEvent, RefusedEvent
from transforms.ledger import Received
from transforms.parse.account_names import belongs_to_none, named_account, without_unusable_names
from transforms.parse.commit_times import refuse_future_commit
from transforms.parse.field_changes import FieldChanges, field_changes
from transforms.parse.limits import MAX_REFUSED_RECORDS
from transforms.parse.narrowed_events import NarrowedEvent, Room, narrowed

_MAX_ID_LENGTH: Final = 255
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class NoChange:
    """A record of an event that changes no account, with the outcome that it ends in."""

    received: Received
    outcome: OutcomeKind
    reason: SkipReason | None = None


@dataclass(frozen=True)
class Refusal:
    """A message, or one record of an event, that can't be read, with the error."""

    received: Received
    error: RefusedEvent


ParsedRecord = AccountChange | UnnamedChange | NoChange | Refusal


def account_changes(
    event: ChangeEvent,
    source: SourceMessage,
    account_fields: AccountFields,
    room: Room | None = None,
    now: dt.datetime | None = None,
) -> list[ParsedRecord]:
    """Return what an event says about each of its records; a malformed id refuses its own record only.

    Args:
        event: The event.
        source: Its message.
        account_fields: The entities that count, and which of their fields name the account.
        room: What is left for the changes of a message with several events; None if it holds this one only. If the
            event is not the only one, or has several records, each has the event narrowed to it as its message.
        now: Counts where the message has no time of publication: no event may be of the future.

    Raises:
        InvalidEvent: The event is of the future, and its entity counts.
        MessageTooLarge: Its records are too many, or together too large.
    """
    committed_at = dt.datetime.fromtimestamp(event.header.commit_timestamp / 1000, dt.UTC)
    naming = account_fields.get(event.header.entity_name)
    if naming is not None:
        refuse_future_commit(committed_at, source, now)
    names = spelled(naming or (), event.body)
    if event.header.entity_name != ACCOUNT_ENTITY:
        event = without_unusable_names(event, names)
    whole = None
    if room or len(event.header.record_ids) > 1:
        whole = narrowed(event, source, account_fields, room or Room())
        event = whole.event
    header = event.header
    trace_id = _trace_id(source.attributes)
    fields = whole.fields if whole else None if naming is None else field_changes(event)
    records: dict[str, ParsedRecord] = {}
    for record_id in header.record_ids:
        own = whole.message([record_id]) if whole else source
        received = _received(header, record_id, own, committed_at, trace_id)
        if fields is None:
            records[record_id] = NoChange(received, OutcomeKind.SKIPPED, SkipReason.UNSUPPORTED_ENTITY)
        else:
            records[record_id] = _record_change(event, fields, received, committed_at, names)
    if whole and len(records) > MAX_REFUSED_RECORDS:
        return _with_few_refusals(records, whole)
    return [*records.values()]


def _with_few_refusals(records: dict[str, ParsedRecord], whole: NarrowedEvent) -> list[ParsedRecord]:
    """Return the records; if many are refused, those are one refusal, of the event narrowed to all of them."""
    refused = {record_id: record for record_id, record in records.items() if isinstance(record, Refusal)}
    if len(refused) <= MAX_REFUSED_RECORDS:
        return [*records.values()]
    first = next(iter(refused.values()))
    identity = event_id(whole.event.header, ",".join(refused))
    received = first.received._replace(
        event_id=identity,
        trace_id=_trace_id(whole.source.attributes) or identity,
        source=whole.message(refused),
        record_id=None,
    )
    error = type(first.error)(f"{len(refused):,} records; the first: {first.error}", first.error.error_class)
    return [
        *(record for record_id, record in records.items() if record_id not in refused),
        Refusal(received, error),
    ]


def message_refusal(source: SourceMessage, error: RefusedEvent, part: int | None = None) -> Refusal:
    """Return the refusal of a message, or of one of its events, identified by a hash of its bytes and that number."""
    identity = payload_event_id(source.payload, part)
    trace_id = _trace_id(source.attributes) or identity
    return Refusal(Received(event_id=identity, source=source, trace_id=trace_id), error)


def _received(
    header: ChangeEventHeader, record_id: str, source: SourceMessage, committed_at: dt.datetime, trace_id: str | None
) -> Received:
    """Return the ledger's view of a record, its id normalized if possible: both forms of an id are one record."""
    try:
        record_id = normalize_record_id(record_id)
    except ValueError:
        # Wildcards are valid here, and records of other entities are skipped: _record_change decides.
        record_id = record_id[:_MAX_ID_LENGTH]
    identity = event_id(header, record_id)
    # By position, which is faster, since it is done for each record; None is the account.
    return Received(
        identity,
        source,
        trace_id or identity,
        None,
        header.entity_name,
        record_id,
        header.change_type.value,
        committed_at,
    )


def _record_change(
    event: ChangeEvent,
    fields: FieldChanges,
    received: Received,
    committed_at: dt.datetime,
    account_fields: tuple[str, ...],
) -> ParsedRecord:
    header, record_id = event.header, received.record_id or ""
    if names_no_record(record_id) or header.change_type is ChangeType.GAP_OVERFLOW:
        return NoChange(received, OutcomeKind.RESYNC_REQUESTED)
    is_account = header.entity_name == ACCOUNT_ENTITY
    account_id = None if is_account else named_account(event, account_fields)
    if account_id is None and not is_account and belongs_to_none(event, account_fields):
        return NoChange(received, OutcomeKind.SKIPPED, SkipReason.NO_ACCOUNT)
    try:
        record_id = normalize_account_id(record_id) if is_account else normalize_record_id(record_id)
    except ValueError as error:
        return Refusal(received, InvalidEvent(f"ChangeEventHeader.recordIds: {error}"))
    account_id = record_id if is_account else account_id
    said: dict[str, Any] = {
        "event_id": received.event_id,
        "entity_name": header.entity_name,
        "record_id": record_id,
        "change_type": header.change_type,
        "committed_at": committed_at,
        "sequence_number": header.sequence_number,
        "transaction_key": header.transaction_key,
        "change_origin": header.change_origin,
        "changed_fields": fields.changed,
        "nulled_fields": fields.nulled,
        "values": fields.values,
        "enriched": fields.enriched,
        "flags": fields.flags,
        "trace_id": received.trace_id,
        "source": received.source,
    }
    return UnnamedChange(**said) if account_id is None else AccountChange(account_id=account_id, **said)


def _trace_id(attributes: Mapping[str, str]) -> str | None:
    """Return the trace id of the message's W3C traceparent attribute, if it has one."""
    if not attributes:
        return None
    parent = attributes.get("traceparent") or attributes.get("googclient_traceparent") or ""
    match = _TRACEPARENT.match(parent)
    return match.group(1) if match else None
