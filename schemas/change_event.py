"""A Salesforce change event, and the change of one account that follows from it.

Source of the fields' meaning: Change Data Capture Developer Guide, "Change Event Header Fields".
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, field
from pydantic import AliasGenerator, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from schemas.record import AwareDatetime, Record, ValidatedModel
from schemas.salesforce_ids import AccountId, RecordId

ACCOUNT_ENTITY: Final = "Account"
ACCOUNT_FIELD: Final = "AccountId"
"""The field in which most related records name their account."""

AccountFields = Mapping[str, tuple[str, ...]]
"""The entities whose changes count, each with the fields that can name its account; the first with a value counts.

An account is named by its record id. `materiality.yaml` configures it.
"""


class ChangeType(StrEnum):
    """`changeType`, without SNAPSHOT, which is reserved and never sent."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    UNDELETE = "UNDELETE"
    GAP_CREATE = "GAP_CREATE"
    GAP_UPDATE = "GAP_UPDATE"
    GAP_DELETE = "GAP_DELETE"
    GAP_UNDELETE = "GAP_UNDELETE"
    GAP_OVERFLOW = "GAP_OVERFLOW"

    # Enum's own hash, of the name, is slower, and each event is looked up in several of the sets below.
    __hash__ = str.__hash__

    @property
    def is_gap(self) -> bool:
        """Whether the event has only a header, so that the record must be read again."""
        return self in GAPS


GAPS: Final = frozenset(kind for kind in ChangeType if kind.value.startswith("GAP_"))
"""The change types of events that have only a header."""

DELETIONS: Final = frozenset({ChangeType.DELETE, ChangeType.GAP_DELETE})
"""The change types after which the record no longer exists."""

WHOLE_RECORDS: Final = frozenset({ChangeType.CREATE, ChangeType.UNDELETE})
"""The change types of events that carry every field of the record that is not empty."""

WHOLE_RECORD_GAPS: Final = frozenset({ChangeType.GAP_CREATE, ChangeType.GAP_UNDELETE})
"""The change types of gap events that stand for a whole record."""


def _text(value: object) -> object:
    # commitNumber exceeds 2^53: some senders write it as text, others as a number, some of those rounded.
    return str(int(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _whole_number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")  # noqa: TRY004 - pydantic reports ValueError only
    return value


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Values = dict[str, Any]
"""JSON values by (dotted) field name."""

MAX_RECORD_IDS: Final = 50_000
"""Of an event, which has at most 1 MB; of more than 100,000 changes Salesforce sends one GAP_OVERFLOW."""

MAX_FIELD_NAMES: Final = 2_500
"""In one of the header's lists of fields; an object has fewer fields, and a bitmap names many."""

_MAX_ORIGIN_LENGTH: Final = 1_000
EPOCH_MS_2000: Final = 946_684_800_000
EPOCH_MS_2100: Final = 4_102_444_800_000
_MAX_COUNT_DIGITS: Final = 9


FieldNames = Annotated[tuple[str, ...], Field(max_length=MAX_FIELD_NAMES, fail_fast=True)]
"""Of a header: names, or bitmaps. An event is refused at the first entry that is neither."""


class ChangeEventHeader(ValidatedModel):
    """ChangeEventHeader; `recordIds` are kept as sent, because an entry can be a wildcard or malformed."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=to_camel), extra="ignore")

    entity_name: str = Field(min_length=1, max_length=255)
    record_ids: tuple[str, ...] = Field(min_length=1, max_length=MAX_RECORD_IDS, fail_fast=True)
    change_type: ChangeType
    transaction_key: str = Field(min_length=1, max_length=255)
    sequence_number: WholeNumber = Field(ge=0, le=2**63 - 1)
    commit_timestamp: WholeNumber = Field(ge=EPOCH_MS_2000, lt=EPOCH_MS_2100, description="Epoch milliseconds")
    change_origin: str = Field(default="", max_length=_MAX_ORIGIN_LENGTH)
    commit_number: Annotated[str | None, BeforeValidator(_text)] = Field(default=None, max_length=255)
    commit_user: str | None = Field(default=None, max_length=255)
    changed_fields: FieldNames | None = Field(default=None, description="None: the sender has no such list")
    nulled_fields: FieldNames | None = Field(default=None, description="None: CometD, where null means cleared")
    diff_fields: FieldNames = ()


class ChangeEvent(NamedTuple):
    """A change event without its envelope: the header and the field values, Avro unions unwrapped."""

    header: ChangeEventHeader
    body: dict[str, Any]
    null_is_unset: bool = False
    """Whether the sender writes null for every field without a value (Kafka connectors)."""

    unusable: Mapping[str, Any] = {}
    """The values that can't be held, by (dotted) field name; the body is without them."""


class SourceMessage(Record, frozen=True, kw_only=True):
    """The Pub/Sub message of a value, which a dead letter returns byte for byte, or the value's own event of it.

    The latter where the message has several records or events (docs/adr/056).
    """

    payload: bytes
    attributes: dict[str, str] = field(default_factory=dict)
    message_id: str = ""
    published_at: AwareDatetime | None = None

    @property
    def replay_count(self) -> int:
        """How often an operator has replayed the message; 0 if the attribute is not a count."""
        text = self.attributes.get("replay_count")
        if text is None:
            return 0
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_COUNT_DIGITS else 0


class ChangeOrder(NamedTuple):
    """Commit order of a change; Pub/Sub does not keep it."""

    committed_at: AwareDatetime
    sequence_number: int


class RecordChange(Record, frozen=True, kw_only=True):
    """What one change event says about one Salesforce record: the account, or a related record."""

    event_id: str
    entity_name: str
    record_id: Annotated[RecordId, Meta(description="The changed record: the account or a related record")]
    change_type: ChangeType
    committed_at: AwareDatetime
    sequence_number: int
    transaction_key: str
    change_origin: str = ""
    changed_fields: Annotated[tuple[str, ...], Meta(description="Dotted names, in the event's order")] = ()
    nulled_fields: Annotated[tuple[str, ...], Meta(description="Changed fields that are now empty")] = ()
    values: Annotated[Values, Meta(description="Known new values of changed fields")] = field(default_factory=dict)
    enriched: Annotated[Values, Meta(description="Values of unchanged fields")] = field(default_factory=dict)
    flags: Annotated[tuple[str, ...], Meta(description="Remarks for the flags of the score's row, sorted")] = ()
    trace_id: str
    source: SourceMessage

    @property
    def order(self) -> ChangeOrder:
        """Commit order."""
        return ChangeOrder(self.committed_at, self.sequence_number)


class RecordValues(Record, frozen=True, kw_only=True):
    """What events say of one record, as far as an account context shows it; event and order are those of the newest."""

    event_id: str
    entity_name: str
    record_id: str
    change_type: ChangeType
    committed_at: AwareDatetime
    sequence_number: int
    changed_fields: tuple[str, ...] = ()
    nulled_fields: tuple[str, ...] = ()
    values: Values = field(default_factory=dict)
    enriched: Values = field(default_factory=dict)


class AccountChange(RecordChange, frozen=True, kw_only=True):
    """What one change event says about one account."""

    account_id: AccountId
    coalesced: Annotated[tuple[str, ...], Meta(description="event_ids of the changes merged into this one")] = ()
    records: Annotated[
        tuple[RecordValues, ...],
        Meta(description="What the burst, and what was emitted shortly before, says of other records, or of this one"),
    ] = ()
    scored_as_of: Annotated[ChangeOrder | None, Meta(description="Order of its row, if it is not the event's")] = None

    @property
    def said(self) -> tuple["AccountChange | RecordValues", ...]:
        """What is known of each record since the mirror may have been filled; of its own record, what `records` has."""
        if any(record.record_id == self.record_id for record in self.records):
            return self.records
        return (*self.records, self)

    @property
    def row_order(self) -> ChangeOrder:
        """Commit order of the row that follows from the change: a late change's row is the account's newest."""
        return self.scored_as_of or self.order


class UnnamedChange(RecordChange, frozen=True, kw_only=True):
    """What one change event says about a related record, whose account it does not name."""

    @classmethod
    def of(cls, change: RecordChange) -> "UnnamedChange":
        """Return a change without its account."""
        return cls(**_fields(change))

    def of_account(self, account_id: str) -> AccountChange:
        """Return the change as one of an account."""
        return AccountChange(account_id=account_id, **_fields(self))


def _fields(change: RecordChange) -> dict[str, Any]:
    return {name: getattr(change, name) for name in RecordChange.__struct_fields__}


def event_id(header: ChangeEventHeader, record_id: str) -> str:
    """Return the id of a change of one record: 32 hex digits, equal for a redelivery and a replay."""
    key, sequence, timestamp = header.transaction_key, header.sequence_number, header.commit_timestamp
    identity = f"{header.entity_name}\x1f{record_id}\x1f{key}\x1f{sequence}\x1f{timestamp}"
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def payload_event_id(payload: bytes, part: int | None = None) -> str:
    """Return the id of an unreadable message: 32 hex digits, the hash of its bytes.

    Of several events in a message, an unreadable one has its number, `part`.
    """
    identity = hashlib.sha256(payload)
    if part is not None:
        identity.update(f"\x1f{part}".encode())
    return identity.hexdigest()[:32]
