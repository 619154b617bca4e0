"""What the pipeline would decide about an event, by calling the pipeline's own functions.

Each event is explained by itself, without state. Whether it is a duplicate, stale, or coalesced into another, and
whether its account's context has changed, depends on other events and is not told.

decision      reason
rescore       material (an UPDATE), created, undeleted, deleted (a related record), gap; account_looked_up (a related
              record that does not name its account: `account_id` is None, since nothing is looked up here)
tombstone     deleted
skip          a SkipReason: immaterial, own_write, unsupported_entity
resync        wildcard, overflow
dead_letter   the ErrorClass; such an explanation has a message, too
"""

import datetime as dt
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pipeline.terminal.times import rfc3339
from schemas.change_event import AccountChange, ChangeType, SourceMessage, UnnamedChange
from schemas.outcome import OutcomeKind
from schemas.salesforce_ids import OVERFLOW_RECORD_ID
from transforms.coalesce.tombstones import is_deletion
from transforms.filter.materiality import Materiality
from transforms.parse.account_changes import NoChange, ParsedRecord, Refusal
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas
from transforms.parse.message_parsing import parse_events


class Decision(StrEnum):
    """What the pipeline would do with an event by itself."""

    RESCORE = "rescore"
    TOMBSTONE = "tombstone"
    SKIP = "skip"
    RESYNC = "resync"
    DEAD_LETTER = "dead_letter"


_LEFT_OUT: Final = frozenset({"message", "event_in_message"})
LOOKED_UP: Final = "account_looked_up"
"""Reason of a change whose account the pipeline looks up."""

_RESCORE_REASONS: Final = {
    ChangeType.CREATE: "created",
    ChangeType.UPDATE: "material",
    ChangeType.DELETE: "deleted",
    ChangeType.UNDELETE: "undeleted",
}


@dataclass(frozen=True)
class Explanation:
    """The decision about one (event, account), and why; the fields are empty unless it is an account change."""

    event_id: str
    account_id: str | None
    decision: Decision
    reason: str
    change_type: str | None
    changed_fields: tuple[str, ...] = ()
    material_fields: tuple[str, ...] = ()
    nulled_fields: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    committed_at: dt.datetime | None = None
    message: str | None = None
    event_in_message: int | None = None
    """Number of the event, from 1, in a message of several; None in any other."""

    def document(self) -> dict[str, Any]:
        """Return the explanation as `--json` prints it; events of a message with several have a number."""
        document = asdict(self) | {"committed_at": rfc3339(self.committed_at) if self.committed_at else None}
        return {name: it for name, it in document.items() if it is not None or name not in _LEFT_OUT}


def explain_message(
    payload: bytes, materiality: Materiality, schemas: AvroSchemas = NO_SCHEMAS, now: dt.datetime | None = None
) -> list[Explanation]:
    """Return an explanation for each record that a message is about; a message that can't be parsed has one too.

    An event of the future, seen from `now`, is refused.
    """
    source = SourceMessage(payload=payload)
    return [explanation for _, explanation in explained_records(source, materiality, schemas, now)]


def explained_records(
    source: SourceMessage,
    materiality: Materiality,
    schemas: AvroSchemas = NO_SCHEMAS,
    now: dt.datetime | None = None,
) -> list[tuple[ParsedRecord, Explanation]]:
    """Return what a message says, record by record, each with its explanation; of several events, with its number."""
    events = parse_events(source, schemas, account_fields=materiality.account_fields, now=now)
    return [
        (record, replace(explain(record, materiality), event_in_message=number if len(events) > 1 else None))
        for number, records in enumerate(events, 1)
        for record in records
    ]


def explain(record: ParsedRecord, materiality: Materiality) -> Explanation:
    """Return the explanation of one record of a message."""
    match record:
        case AccountChange() | UnnamedChange():
            return _of_change(record, materiality)
        case NoChange():
            return _of_no_change(record)
        case Refusal():
            return _of_refusal(record)


def _of_change(change: AccountChange | UnnamedChange, materiality: Materiality) -> Explanation:
    skip_reason = materiality.skip_reason(change)
    if skip_reason:
        decision, reason = Decision.SKIP, skip_reason.value
    elif isinstance(change, UnnamedChange):
        decision, reason = Decision.RESCORE, LOOKED_UP
    elif is_deletion(change):
        decision, reason = Decision.TOMBSTONE, "deleted"
    else:
        decision, reason = Decision.RESCORE, _RESCORE_REASONS.get(change.change_type, "gap")
    return Explanation(
        event_id=change.event_id,
        account_id=change.account_id if isinstance(change, AccountChange) else None,
        decision=decision,
        reason=reason,
        change_type=change.change_type.value,
        changed_fields=change.changed_fields,
        material_fields=materiality.material_fields(change),
        nulled_fields=change.nulled_fields,
        flags=change.flags,
        committed_at=change.committed_at,
    )


def _of_no_change(record: NoChange) -> Explanation:
    received = record.received
    if record.outcome is OutcomeKind.RESYNC_REQUESTED:
        is_overflow = received.change_type == ChangeType.GAP_OVERFLOW or received.record_id == OVERFLOW_RECORD_ID
        decision, reason = Decision.RESYNC, "overflow" if is_overflow else "wildcard"
    else:
        decision, reason = Decision.SKIP, record.reason.value if record.reason else ""
    return Explanation(
        event_id=received.event_id,
        account_id=received.account_id,
        decision=decision,
        reason=reason,
        change_type=received.change_type,
        committed_at=received.committed_at,
    )


def _of_refusal(record: Refusal) -> Explanation:
    received = record.received
    return Explanation(
        event_id=received.event_id,
        account_id=received.account_id,
        decision=Decision.DEAD_LETTER,
        reason=record.error.error_class.value,
        change_type=received.change_type,
        committed_at=received.committed_at,
        message=str(record.error),
    )
