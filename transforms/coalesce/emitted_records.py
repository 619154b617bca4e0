"""What the emitted changes of an account said: it decides about changes that come later.

An account that was deleted stays so until an event of its own says that it exists; related records' events, such as
those of a cascading delete, say nothing about it.
"""

from typing import Annotated, Final

from msgspec import Meta

from schemas.change_event import DELETIONS, AccountChange, ChangeType
from schemas.record import Record
from transforms.coalesce.record_changes import Position, position_of


class EmittedRecords(Record, frozen=True, kw_only=True):
    """What is remembered of the changes that were emitted."""

    account: Annotated[
        tuple[Position, bool] | None, Meta(description="The newest event of the account itself; whether it deleted it")
    ] = None

    @property
    def deleted_at(self) -> Position | None:
        """The event that deleted the account; None if the account exists."""
        return self.account[0] if self.account and self.account[1] else None


NOTHING_EMITTED: Final = EmittedRecords()


def is_own(change: AccountChange) -> bool:
    """Return whether a change is of the account itself, not of a related record."""
    return change.record_id == change.account_id


def contradicts_deletion(change: AccountChange, deleted_at: Position) -> bool:
    """Return whether a change comes too early to count after the account's deletion.

    Of events with the deletion's commit order, only an UPDATE is taken for an earlier one: it can't follow a DELETE.
    """
    if not is_own(change):
        return position_of(change) < deleted_at
    if change.order == deleted_at[:2]:
        return change.change_type is ChangeType.UPDATE
    return change.order < deleted_at[:2]


def is_overtaken_deletion(change: AccountChange, account: tuple[Position, bool] | None) -> bool:
    """Return whether a newer event of the account says that it exists, or was deleted again."""
    return account is not None and change.order < account[0][:2]


def deletes_account(change: AccountChange) -> bool:
    """Return whether a change deletes its account."""
    return change.change_type in DELETIONS and is_own(change)
