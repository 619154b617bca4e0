"""The state of an account, and the limits of a burst.

Attributes are named for readers; their names in the state's JSON are older (`field(name=...)`) and stay, since state
outlives a release.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, field

from schemas.change_event import DELETIONS, AccountChange, ChangeType, SourceMessage
from schemas.record import AwareDatetime, Record
from transforms.coalesce.burst_size import LEAST_SIZE
from transforms.coalesce.emitted_records import EmittedRecords, account_event
from transforms.ledger import Received
from transforms.record_changes import FieldVersion, Position, RecordChanges

_MIN_RECORDS: Final = 2


@dataclass(frozen=True)
class CoalescingLimits:
    """How long a burst waits, and how much is kept of one account.

    `max_records` bounds the records whose field values a burst keeps (a mass update can touch thousands of contacts).
    Values of further records are unknown, which is safe: the context is read from the mirror. `max_size` bounds the
    names and values of a burst's fields, in characters (transforms/coalesce/burst_size.py), besides one message.

    A burst with a gap event waits at least `gap_delay_seconds`, so that the mirror catches up with what the gap event
    does not say. For `keep_values_seconds` after their commit, values are laid over the mirror's in the scores of later
    bursts, too.
    """

    window_seconds: float = 20.0
    max_window_seconds: float = 120.0
    max_recent_ids: int = 64
    max_pending: int = 200
    max_records: int = 16
    max_size: int = 200_000
    gap_delay_seconds: float = 0.0
    keep_values_seconds: float = 900.0

    def __post_init__(self) -> None:
        if not 0 <= self.window_seconds <= self.max_window_seconds:
            raise ValueError("expected 0 <= window_seconds <= max_window_seconds")
        if self.gap_delay_seconds < 0 or self.keep_values_seconds < 0:
            raise ValueError("expected gap_delay_seconds >= 0 and keep_values_seconds >= 0")
        if min(self.max_recent_ids, self.max_pending) < 1 or self.max_records < _MIN_RECORDS:
            raise ValueError("expected max_recent_ids >= 1, max_pending >= 1 and max_records >= 2")
        if self.max_size < LEAST_SIZE:
            raise ValueError(f"expected max_size >= {LEAST_SIZE}: what a context shows must fit")


class Delivery(Record, frozen=True, kw_only=True):
    """What the ledger needs of a waiting event; its size does not depend on the payload."""

    event_id: str
    committed_at: AwareDatetime
    sequence_number: int
    entity_name: str
    record_id: str
    change_type: ChangeType
    trace_id: str
    message_id: str
    published_at: AwareDatetime | None
    replay_count: int

    @classmethod
    def of(cls, change: AccountChange) -> "Delivery":
        """Return the delivery of a change."""
        return Delivery(
            event_id=change.event_id,
            committed_at=change.committed_at,
            sequence_number=change.sequence_number,
            entity_name=change.entity_name,
            record_id=change.record_id,
            change_type=change.change_type,
            trace_id=change.trace_id,
            message_id=change.source.message_id,
            published_at=change.source.published_at,
            replay_count=change.source.replay_count,
        )

    @property
    def position(self) -> Position:
        """Position among the account's events."""
        return (self.committed_at, self.sequence_number, self.event_id)

    @property
    def preference(self) -> tuple[int, bool, dt.datetime, str]:
        """Sort key of an event's deliveries; the smallest is kept: the latest replay, else the first published."""
        published = self.published_at or self.committed_at
        return (-self.replay_count, self.published_at is None, published, self.message_id)

    def received(self, account_id: str) -> Received:
        """Return the (event, account) pair for the ledger, which needs no payload."""
        return Received(
            event_id=self.event_id,
            source=SourceMessage(
                payload=b"",
                attributes={"replay_count": str(self.replay_count)},
                message_id=self.message_id,
                published_at=self.published_at,
            ),
            trace_id=self.trace_id,
            account_id=account_id,
            entity_name=self.entity_name,
            record_id=self.record_id,
            change_type=self.change_type.value,
            committed_at=self.committed_at,
        )


class Pending(Record, frozen=True, kw_only=True):
    """The burst that waits: the newest event with its message, and of the others what the ledger needs.

    Most bursts have one event; then `records` is None and the fields are the event's. Records beyond `max_records` are
    evicted: `evicted_fields` keeps the names of their changed fields, `evicted_through` the newest evicted event. When
    an evicted record returns, its values from before that event are unknown.
    """

    newest: Annotated[AccountChange, Meta(description="Its fields move to `records` when a second event arrives")]
    others: Annotated[tuple[Delivery, ...], Meta(description="Newest first")] = ()
    records: dict[str, RecordChanges] | None = None
    evicted_fields: dict[str, FieldVersion] = field(name="elsewhere", default_factory=dict)
    evicted_through: Position | None = field(name="forgotten", default=None)
    flags: Annotated[tuple[str, ...], Meta(description="Of all events, sorted; of one event, it has them")] = ()
    size: Annotated[int, Meta(description="Of what is kept of the events' fields, at most")] = 0
    opened_at: Annotated[float, Meta(description="Epoch seconds")]
    ends_at: Annotated[float, Meta(description="Epoch seconds")]

    def delivery_of(self, event_id: str) -> Delivery | None:
        """Return the delivery of a waiting event; None if the event does not wait."""
        if event_id == self.newest.event_id:
            return Delivery.of(self.newest)
        return next((other for other in self.others if other.event_id == event_id), None)

    def account_event(self) -> tuple[Position, bool] | None:
        """Return the newest event of the account itself, and whether it deletes the account; None if there is none."""
        newest = self.newest
        if self.records is None:
            return account_event(newest)
        account = self.records.get(newest.account_id)
        return (account.newest, account.effective_change_type() in DELETIONS) if account else None


class AccountState(Record, frozen=True, kw_only=True):
    """The state of an account; equal states have equal JSON."""

    emitted: Annotated[
        tuple[AwareDatetime, int] | None, Meta(description="Order of the row of the last change emitted")
    ] = None
    recent: Annotated[
        tuple[tuple[str, int], ...],
        Meta(description="Events that went on or into one that did, newest first, and their replay counts"),
    ] = ()
    pending: Pending | None = None
    emitted_records: Annotated[
        EmittedRecords | None, Meta(description="None in the state of a release that did not keep it")
    ] = None

    def is_due(self, now: float) -> bool:
        """Whether the pending burst has waited long enough."""
        return self.pending is not None and self.pending.ends_at <= now


NEW_ACCOUNT: Final = AccountState()
"""The state before an account's first change, and after its state has expired."""
