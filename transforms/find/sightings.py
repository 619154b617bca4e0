"""What an event of a related record tells about the record's account, and what it asks for. Pure.

A sighting is taken in by the memory of one record: of the record itself or, for an activity, of the record that the
activity is about. One that asks ends in the accounts that the event is about, or in a look-up.
"""

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta

from schemas.api_names import spelled
from schemas.change_event import (
    ACCOUNT_ENTITY,
    ACCOUNT_FIELD,
    WHOLE_RECORDS,
    AccountChange,
    AccountFields,
    ChangeType,
    RecordChange,
    UnnamedChange,
)
from schemas.record import Record
from schemas.salesforce_ids import ACCOUNT_KEY_PREFIX, AccountId, RecordId, normalize_record_id
from transforms.find.account_memory import Owner, Position, RecordMemory

BETWEEN: Final = {
    "003": "Contact",
    "006": "Opportunity",
    "02i": "Asset",
    "500": "Case",
    "800": "Contract",
    "801": "Order",
}
"""Records that can stand between a record and its account, by the key prefix of their ids; all have an `AccountId`."""

_PERSON_FIELD: Final = "WhoId"
_LEAD_PREFIX: Final = "00Q"


class Question(Record, frozen=True, kw_only=True):
    """A change that goes on once the accounts are known that it is about."""

    change: UnnamedChange
    named: Annotated[AccountId | None, Meta(description="The account that the event names, which goes on by itself")]
    is_moved: Annotated[bool, Meta(description="The event says that the record belongs to another record than before")]
    is_cleared: Annotated[bool, Meta(description="It belongs to none any more")]
    through: Annotated[RecordId | None, Meta(description="The record that it belongs to now, if that is no account")]


class Sighting(Record, frozen=True, kw_only=True):
    """What one event tells the memory of a record, and asks of it."""

    record_id: RecordId
    tells: Owner | None = None
    asks: Question | None = None


class Wanted(Record, frozen=True, kw_only=True):
    """A change with what the memory knows of its accounts, and the records whose accounts are to be looked up."""

    change: UnnamedChange
    named: Annotated[AccountId | None, Meta(description="As in Question")] = None
    accounts: Annotated[tuple[AccountId, ...], Meta(description="Known to the memory")] = ()
    record_ids: Annotated[tuple[RecordId, ...], Meta(description="Their accounts are needed")] = ()
    former_ids: Annotated[
        tuple[RecordId, ...],
        Meta(description="The account before the event, where the mirror still has it"),
    ] = ()

    @property
    def looked_up(self) -> tuple[str, ...]:
        """All records to look up."""
        return (*self.record_ids, *self.former_ids)


def sightings(change: AccountChange | UnnamedChange, account_fields: AccountFields) -> Iterator[Sighting]:
    """Return what an event tells and asks; an account's own event does neither."""
    if change.entity_name == ACCOUNT_ENTITY:
        return
    naming = account_fields.get(change.entity_name, (ACCOUNT_FIELD,))
    fields = spelled(naming, change.changed_fields, change.nulled_fields, change.values, change.enriched)
    named = change.account_id if isinstance(change, AccountChange) else None
    through = None if named else _through(change, fields)
    moves = [name for name in fields if name in change.changed_fields or name in change.nulled_fields]
    is_moved = change.change_type is ChangeType.UPDATE and bool(moves)
    owner = named or through
    is_cleared = is_moved and owner is None and all(name in change.nulled_fields for name in moves)
    tells = None
    if owner or is_cleared or _is_of_lead(change, fields):
        tells = Owner(position=position_of(change), record_id=owner)
    asks = None
    if named is None or is_moved:
        unnamed = UnnamedChange.of(change)
        asks = Question(change=unnamed, named=named, is_moved=is_moved, is_cleared=is_cleared, through=through)
    if asks and through and not is_moved:
        # The record between knows its account better than this one does.
        yield Sighting(record_id=through, asks=asks)
        asks = None
    if tells or asks:
        yield Sighting(record_id=change.record_id, tells=tells, asks=asks)


def answer(asked: Question, record_id: str, memory: RecordMemory) -> Wanted:
    """Return the accounts that the memory knows for a question, and the records that must be looked up besides.

    Args:
        asked: The question.
        record_id: The record whose memory this is.
        memory: It includes what the question's own event tells.
    """
    position = position_of(asked.change)
    if not asked.is_moved:
        at = memory.at(position)
        return _wanted(asked, at.record_id if at else record_id, None)
    before = memory.before(position)
    former = before.record_id if before else asked.change.record_id
    is_known = asked.named is not None or asked.is_cleared
    return _wanted(asked, None if is_known else asked.through or asked.change.record_id, former)


def position_of(change: RecordChange) -> Position:
    """Return an event's position among the record's events."""
    return (change.committed_at, change.sequence_number, change.event_id)


def _wanted(asked: Question, owner: str | None, former: str | None) -> Wanted:
    """Return what is wanted, given to which records the changed one belongs and belonged."""
    owners = dict.fromkeys(it for it in (owner, former) if it)
    return Wanted(
        change=asked.change,
        named=asked.named,
        accounts=tuple(it for it in owners if _is_account(it) and it != asked.named),
        record_ids=(owner,) if owner and not _is_account(owner) else (),
        former_ids=(former,) if former and former != owner and not _is_account(former) else (),
    )


def _is_account(record_id: str) -> bool:
    return record_id.startswith(ACCOUNT_KEY_PREFIX)


def _is_of_lead(change: RecordChange, fields: tuple[str, ...]) -> bool:
    """Whether a new activity is about a lead, which belongs to no account, and about nothing else."""
    person = change.values.get(_PERSON_FIELD)
    return (
        change.change_type in WHOLE_RECORDS
        and isinstance(person, str)
        and person.startswith(_LEAD_PREFIX)
        and not any(name in change.values for name in fields)
    )


def _through(change: RecordChange, fields: tuple[str, ...]) -> str | None:
    """Return the record between an unnamed change's record and its account, if the event names one."""
    for name in fields:
        owner = change.values.get(name, change.enriched.get(name))
        if name != ACCOUNT_FIELD and isinstance(owner, str) and owner[:3] in BETWEEN:
            try:
                return normalize_record_id(owner)
            except ValueError:
                continue  # a malformed id names no record
    return None
