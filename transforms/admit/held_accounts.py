"""An account that waits for the token budget: what is kept of it, and when the budget is asked again. Pure.

Of an account one change waits, the newest, with what those before it said. It costs one score, whatever happens to the
account meanwhile.
"""

import datetime as dt
import zlib
from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from schemas.change_event import AccountChange, RecordValues
from schemas.outcome import OutcomeKind, SkipReason
from schemas.record import Record
from transforms.ledger import Received
from transforms.record_changes import (
    FieldVersion,
    RecordChanges,
    newest_first,
    newest_versions,
    position_of,
    told_values,
)

FIRST_CHECK_SECONDS: Final = 60.0
"""Near the limit an account can count twice for two minutes (`token_budget.py`): soon some tokens may be left again."""

LONGEST_WAIT_SECONDS: Final = 900.0
"""Between two checks, without the spread. Most accounts wait for the next day, so they are asked for seldom."""

RELEASE_SECONDS: Final = 900.0
"""The first minutes of a day, in which all accounts are checked: 100,000 of them in 15 minutes are 111 a second."""

MAX_COALESCED: Final = 200
"""Ids of merged changes that the waiting one names; the ledger has them all."""

MAX_RECORDS: Final = 16
"""Of so many records the values are kept; those of others are in the mirror when the account is scored."""

_DAY_SECONDS: Final = 86_400.0
_SHARE_OF_OLDER: Final = 0.1


class HeldAccount(Record, frozen=True, kw_only=True):
    """The state of an account that waits."""

    change: Annotated[AccountChange, Meta(description="The newest, with what older ones said")]
    held_at: Annotated[float, Meta(description="Epoch seconds of the first change that was held")]


class Ended(NamedTuple):
    """A change that ends because another one of its account waits."""

    received: Received
    outcome: OutcomeKind
    reason: SkipReason | None = None
    coalesced_into: str | None = None


def with_change(held: AccountChange, came: AccountChange) -> tuple[AccountChange, Ended]:
    """Return the change that stands for both, and the one of them that ends: the older one, or one that is repeated."""
    if came.event_id == held.event_id:
        kept, dropped = (came, held) if came.source.replay_count > held.source.replay_count else (held, came)
        return kept, Ended(Received.of(dropped), OutcomeKind.SKIPPED, reason=SkipReason.DUPLICATE)
    older, newer = sorted((held, came), key=position_of)
    ended = Ended(Received.of(older), OutcomeKind.COALESCED, coalesced_into=newer.event_id)
    return _merged(older, newer), ended


def _merged(older: AccountChange, newer: AccountChange) -> AccountChange:
    """Return the newer change with what the older says of each record, under the newest order that either has.

    A gap of the account's own is not hidden by a newer event of a related record: the account must be read again.
    """
    shown, other = RecordChanges.of(newer), RecordChanges.of(older)
    if newer.record_id == older.record_id:
        shown = shown.merged(other)
        versions = shown.changed
    else:
        if older.record_id == older.account_id and older.change_type.is_gap:
            shown, other = other, shown
        versions = newest_versions(shown.changed, _qualified(other))
    order = max(older.row_order, newer.row_order)
    return replace(
        newer,
        entity_name=shown.entity_name,
        record_id=shown.record_id,
        change_type=shown.effective_change_type(),
        changed_fields=newest_first(versions),
        coalesced=(*newer.coalesced, older.event_id, *older.coalesced)[:MAX_COALESCED],
        flags=tuple(sorted({*newer.flags, *older.flags})),
        records=_known_records(older, newer, shown.record_id),
        scored_as_of=None if order == newer.order else order,
        **shown.change_fields(),
    )


def _known_records(older: AccountChange, newer: AccountChange, shown_id: str) -> tuple[RecordValues, ...]:
    """Return what both say of each record; nothing if the merged change says it all of its own record."""
    records: dict[str, RecordChanges] = {}
    for said in (*older.said, *newer.said):
        known = RecordChanges.of(said)
        records[said.record_id] = records[said.record_id].merged(known) if said.record_id in records else known
    return () if records.keys() == {shown_id} else told_values(records.values(), MAX_RECORDS)


def _qualified(other: RecordChanges) -> dict[str, FieldVersion]:
    """Return the fields of another record under names that include its entity, those of a burst only once."""
    named = zip(other.changed.items(), other.qualified_versions(), strict=True)
    return {name if _is_qualified(name) else qualified: version for (name, version), qualified in named}


def _is_qualified(name: str) -> bool:
    entity, _, field = name.partition(".")
    is_compound = entity == "Name" or entity.endswith(("Address", "__c", "__pc"))
    return bool(field) and not is_compound


def next_check(account_id: str, held_at: float, now: float) -> float:
    """Return when the budget is asked for an account again, in epoch seconds.

    On the same day after as long as the account has waited already, within bounds; on the next day at a time of the
    account's own, the earlier the longer it has waited. All are spread by account, so that they don't come at once.
    """
    spread = zlib.crc32(account_id.encode()) / 2**32
    wait = min(max(now - held_at, FIRST_CHECK_SECONDS), LONGEST_WAIT_SECONDS) * (1 + spread / 2)
    midnight = _midnight_after(now)
    if now + wait < midnight:
        return now + wait
    of_day = min(max(1 - (midnight - held_at) / _DAY_SECONDS, 0.0), 1.0)
    return midnight + RELEASE_SECONDS * (_SHARE_OF_OLDER * spread + (1 - _SHARE_OF_OLDER) * of_day)


def _midnight_after(now: float) -> float:
    """Return when the next day of the budget begins, in UTC."""
    day = dt.datetime.fromtimestamp(now, dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.timestamp() + _DAY_SECONDS
