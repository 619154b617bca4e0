"""What the events of one Salesforce record say together: field by field, the newest event that says something of it.

Every part is a maximum over ranks, so that the order in which events arrive decides nothing.
"""

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, Field

from schemas.change_event import AccountChange, ChangeType, by_name
from schemas.record import Record, replaced, trusted

Rank = tuple[AwareDatetime, int, str]
"""(committed_at, sequence_number, event_id): the id only settles which of two simultaneous events is the newer."""

Mention = tuple[Rank, int]
"""The newest event that lists a field, and the field's place in its list."""

DELETIONS: Final = frozenset({ChangeType.DELETE, ChangeType.GAP_DELETE})

_WHOLE_GAPS: Final = frozenset({ChangeType.GAP_CREATE, ChangeType.GAP_UNDELETE})
_NEVER: Final[Mention] = ((dt.datetime.min.replace(tzinfo=dt.UTC), -1, ""), -1)


class FactKind(StrEnum):
    """What an event says of a field's value."""

    CHANGED = "changed"
    CARRIED = "carried"
    CLEARED = "cleared"


class Fact(Record):
    """The newest that is said of a field's value, as JSON; `place` is its place among the event's cleared fields."""

    at: Rank
    kind: FactKind
    value: Any = None
    place: int = 0


_fact: Final = trusted(Fact)


class RecordChanges(Record):
    """What the events of one Salesforce record say together, each part from the newest event that says it.

    `known_since` is the newest event other than an UPDATE: what was said before it is no longer known. After a DELETE
    nothing is left; CREATE and UNDELETE bring the whole record, so that a field they lack is not what it was; a gap
    event changed the record without saying what, so any older value may be wrong, and must be read again. None of
    them makes a field cleared that the sender did not clear.
    """

    entity_name: str
    record_id: str
    newest: Rank
    change_type: ChangeType = Field(description="Of the newest event")
    known_since: Rank | None
    gap: tuple[Rank, ChangeType] | None = Field(description="The newest gap event")
    changed: dict[str, Mention]
    facts: dict[str, Fact]

    @classmethod
    def of(cls, change: AccountChange) -> "RecordChanges":
        """Return what one event says; gap events say no values, and deletions none but the carried ones."""
        rank = rank_of(change)
        facts: dict[str, Fact] = {}
        if not change.change_type.is_gap:
            facts |= {name: _fact(at=rank, kind=FactKind.CARRIED, value=it) for name, it in change.enriched.items()}
        if not change.change_type.is_gap and change.change_type not in DELETIONS:
            facts |= {name: _fact(at=rank, kind=FactKind.CHANGED, value=it) for name, it in change.values.items()}
            cleared = enumerate(change.nulled_fields)
            facts |= {name: _fact(at=rank, kind=FactKind.CLEARED, place=place) for place, name in cleared}
        names = dict.fromkeys(change.changed_fields)
        return _record_changes(
            entity_name=change.entity_name,
            record_id=change.record_id,
            newest=rank,
            change_type=change.change_type,
            known_since=None if change.change_type is ChangeType.UPDATE else rank,
            gap=(rank, change.change_type) if change.change_type.is_gap else None,
            changed=by_name({name: (rank, place) for place, name in enumerate(names)}),
            facts=by_name(facts),
        )

    def joined(self, other: "RecordChanges") -> "RecordChanges":
        """Return what both say: associative, commutative and idempotent, since every part is a maximum."""
        newer = other if other.newest > self.newest else self
        facts = self.facts | {
            name: fact for name, fact in other.facts.items() if name not in self.facts or fact.at > self.facts[name].at
        }
        return replaced(
            newer,
            known_since=newest_of(self.known_since, other.known_since),
            gap=max((gap for gap in (self.gap, other.gap) if gap), default=None),
            changed=newest_mentions(self.changed, other.changed),
            facts=by_name(facts),
        )

    def standing(self) -> ChangeType:
        """Return the change type of all events together: the newest's, but an UPDATE does not close a gap before it.

        The record must be read again still, until an event brings all of it. After a GAP_DELETE an UPDATE says that the
        record is there, so that no more than an update was missed for certain.
        """
        if self.change_type is not ChangeType.UPDATE or self.gap is None or self.gap[0] != self.known_since:
            return self.change_type
        return self.gap[1] if self.gap[1] in _WHOLE_GAPS else ChangeType.GAP_UPDATE

    def known_facts(self) -> dict[str, Fact]:
        """Return the facts that no newer event has overtaken, be it in the field's whole or in one of its parts.

        A newer `Name` overtakes an older `Name.LastName` and the reverse; `Name.LastName` leaves `Name.FirstName` be.
        """
        said = {name: rank for name, (rank, _) in self.changed.items()}
        for name, fact in self.facts.items():
            said[name] = max(fact.at, said.get(name, fact.at))
        parts: dict[str, Rank] = {}
        for name, rank in said.items():
            parts[_whole(name)] = max(rank, parts.get(_whole(name), rank))
        return {
            name: fact
            for name, fact in self.facts.items()
            if fact.at == newest_of(fact.at, self.known_since, said[name], said.get(_whole(name)), parts.get(name))
        }

    def fields(self) -> dict[str, object]:
        """Return `values`, `nulled_fields` and `enriched` of an AccountChange.

        A field that an older event changed and a newer one merely carries did change, to the value carried.
        """
        values, enriched, cleared = {}, {}, {}
        for name, fact in self.known_facts().items():
            if fact.kind is FactKind.CLEARED:
                cleared[name] = (fact.at, fact.place)
            elif fact.kind is FactKind.CHANGED or name in self.changed or _whole(name) in self.changed:
                values[name] = fact.value
            else:
                enriched[name] = fact.value
        return {"values": values, "nulled_fields": newest_first(cleared), "enriched": enriched}

    def named_with_entity(self) -> dict[str, Mention]:
        """Return the changed fields under names that belong to no other entity's: "Opportunity.Name"."""
        return {f"{self.entity_name}.{name}": mention for name, mention in self.changed.items()}


_record_changes: Final = trusted(RecordChanges)


def rank_of(change: AccountChange) -> Rank:
    """Return an event's position among the account's."""
    return (change.committed_at, change.sequence_number, change.event_id)


def newest_of(*ranks: Rank | None) -> Rank | None:
    """Return the newest of the ranks that there are."""
    return max((rank for rank in ranks if rank is not None), default=None)


def newest_mentions(one: Mapping[str, Mention], other: Mapping[str, Mention]) -> dict[str, Mention]:
    """Return each field's newest mention, by name."""
    newer = {name: mention for name, mention in other.items() if mention > one.get(name, _NEVER)}
    return by_name({**one, **newer})


def newest_first(mentions: Mapping[str, Mention]) -> tuple[str, ...]:
    """Return the fields in the order of the newest event that lists them, then of the next, without duplicates."""
    in_place = sorted(mentions, key=lambda name: mentions[name][1])
    return tuple(sorted(in_place, key=lambda name: mentions[name][0], reverse=True))


def _whole(name: str) -> str:
    """Return the compound field that a part belongs to, or the name as it is."""
    return name.split(".", 1)[0]
