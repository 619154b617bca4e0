"""What the stream has told of a related record: to which record it belonged, and since when. Pure.

State merges by keeping the newest positions, so the order of arrival does not matter: once the same events have been
taken in, the answers are the same.
"""

from typing import Annotated, Final

from msgspec import Meta

from schemas.record import AwareDatetime, Record
from schemas.salesforce_ids import RecordId

MAX_OWNERS: Final = 4
"""How many namings are kept of a record: enough for events of one move to find the account before it."""

Position = tuple[AwareDatetime, int, str]
"""(committed_at, sequence_number, event_id): commit order, with the event id as the tie-breaker."""


class Owner(Record, frozen=True, kw_only=True):
    """The record to which a record belongs, as one event names it."""

    position: Position
    record_id: Annotated[
        RecordId | None,
        Meta(description="An account, or a record that belongs to one; None: the record belongs to no account"),
    ]


class RecordMemory(Record, frozen=True, kw_only=True):
    """The state of a related record; equal states have equal JSON."""

    owners: Annotated[tuple[Owner, ...], Meta(description="Newest first")] = ()

    def with_owner(self, owner: Owner) -> "RecordMemory":
        """Return the memory with one more naming; the same event counts once, and the oldest beyond the limit leave."""
        owners = {it.position: it for it in (owner, *self.owners)}
        newest = sorted(owners.values(), key=lambda it: it.position, reverse=True)[:MAX_OWNERS]
        return RecordMemory(owners=tuple(newest))

    def at(self, position: Position) -> Owner | None:
        """Return the owner when an event was committed: the newest that is named at or before it, else the next one.

        The next one is right unless the record was moved in between; then its account is rescored for that move, too.
        """
        before = next((it for it in self.owners if it.position <= position), None)
        return before or (self.owners[-1] if self.owners else None)

    def before(self, position: Position) -> Owner | None:
        """Return the owner before an event; None if it is not known."""
        return next((it for it in self.owners if it.position < position), None)


NEW_RECORD: Final = RecordMemory()
"""The state before a record's first event that names its owner, and after its state has expired."""
