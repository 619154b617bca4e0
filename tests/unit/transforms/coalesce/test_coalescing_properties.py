"""For any deliveries in any order: one change for each burst, one outcome for each delivery."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.change_event import DELETIONS, AccountChange, ChangeType
from schemas.field_values import context_fields
from schemas.outcome import OutcomeKind, SkipReason
from tests.fixtures.changes import COMMITTED_AT
from tests.fixtures.coalescing import LIMITS, RECORDS, Account, event, redelivered
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coalesce.tombstones import is_deletion
from transforms.coders import RecordCoder
from transforms.record_changes import position_of

NARROW = CoalescingLimits(max_recent_ids=1, max_pending=2, max_records=2)
FIELDS = ("Rating", "Name", "Name.FirstName", "Name.LastName")
NO_VALUES = {ChangeType.DELETE, *(kind for kind in ChangeType if kind.is_gap)}


@st.composite
def events(draw: st.DrawFn) -> list[AccountChange]:
    """Draw events of an account and of its related records as parsing returns them, some with equal times."""
    drawn = []
    for number in range(draw(st.integers(1, 7))):
        record_id = draw(st.sampled_from(list(RECORDS)))
        kind = draw(st.sampled_from(ChangeType) | st.just(ChangeType.UPDATE))
        names = [] if kind in NO_VALUES else draw(st.lists(st.sampled_from(FIELDS), unique=True))
        said = {name: draw(st.sampled_from(["value", "cleared", "unknown"])) for name in names}
        others = [name for name in FIELDS if not {name, name.split(".")[0]} & set(names)]
        carried = draw(st.sets(st.sampled_from(others))) if others and not kind.is_gap else set()
        drawn.append(
            event(
                number,
                draw(st.integers(0, 3)),
                sequence=draw(st.integers(1, 2)),
                record_id=record_id,
                entity_name=RECORDS[record_id],
                change_type=kind,
                changed_fields=tuple(names),
                values={name: number for name in names if said[name] == "value"},
                nulled_fields=tuple(name for name in names if said[name] == "cleared"),
                enriched=dict.fromkeys(carried, number),
                flags=tuple(sorted(draw(st.sets(st.sampled_from(["a", "b", "c"]), max_size=2)))),
            )
        )
    return drawn


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[AccountChange], list[AccountChange]]:
    """Draw two orders of the same deliveries, with some events repeated and some replayed."""
    deliveries = []
    for item in draw(events()):
        repeats = draw(st.lists(st.integers(0, 2), max_size=2))
        deliveries += [item, *(redelivered(item, replay) for replay in repeats)]
    return draw(st.permutations(deliveries)), draw(st.permutations(deliveries))


def without_ties(items: Iterable[AccountChange]) -> list[AccountChange]:
    """Return the deliveries, each event with a commit order of its own: of equal ones, the later to arrive wins."""
    return [replace(item, sequence_number=int(item.event_id, 16) + 1) for item in items]


def position(item: AccountChange) -> tuple[Any, ...]:
    """Return an event's position."""
    return (*item.order, item.event_id)


def read_in_order(items: Iterable[AccountChange]) -> dict[str, Any]:
    """Return the record's fields after applying its events in commit order: the expected result."""
    known: dict[str, tuple[str, Any]] = {}
    changed: set[str] = set()
    for item in sorted(items, key=position):
        if item.change_type is not ChangeType.UPDATE:
            known.clear()
        said = {name: ("value", value) for name, value in {**item.enriched, **item.values}.items()}
        said |= dict.fromkeys(item.nulled_fields, ("cleared", None))
        changed |= set(item.changed_fields)
        for name in {*item.changed_fields, *said}:
            for other in list(known):
                if other == name or other.startswith(f"{name}.") or name.startswith(f"{other}."):
                    del known[other]
        known |= said
    values = {name: value for name, (kind, value) in known.items() if kind == "value"}
    is_changed = {name: name in changed or name.split(".")[0] in changed for name in values}
    return {
        "values": {name: value for name, value in values.items() if is_changed[name]},
        "enriched": {name: value for name, value in values.items() if not is_changed[name]},
        "nulled_fields": {name for name, (kind, _) in known.items() if kind == "cleared"},
    }


def expected_change_type(items: Iterable[AccountChange]) -> ChangeType | None:
    """Return the expected change type of the account's own events; a gap stays until the whole record was sent."""
    reading: ChangeType | None = None
    gap: ChangeType | None = None
    for item in sorted(items, key=position):
        if item.entity_name != "Account":
            continue
        if item.change_type is ChangeType.UPDATE:
            reading = gap or item.change_type
            continue
        reading, gap = item.change_type, None
        if item.change_type.is_gap:
            is_whole = item.change_type in {ChangeType.GAP_CREATE, ChangeType.GAP_UNDELETE}
            gap = item.change_type if is_whole else ChangeType.GAP_UPDATE
    return reading


@given(arrivals())
def test_the_order_of_arrival_does_not_matter(orders: tuple[list[AccountChange], list[AccountChange]]) -> None:
    """The same deliveries in one window give the same state, byte for byte, and the same change in any order."""
    one, other = (Account().take(*order) for order in orders)
    assert RecordCoder(AccountState).encode(one.state) == RecordCoder(AccountState).encode(other.state)
    assert one.end().emitted == other.end().emitted
    assert one.state == other.state


@given(arrivals())
def test_a_burst_becomes_one_change_and_each_delivery_has_an_outcome(
    orders: tuple[list[AccountChange], list[AccountChange]],
) -> None:
    """One change is emitted; every other event is coalesced into it once, and further deliveries are duplicates."""
    account = Account().take(*orders[0]).end().end()
    ids = {item.event_id for item in orders[0]}
    (emitted,) = account.emitted
    assert account.has_one_outcome_each()
    assert Counter(account.reasons()) == Counter(
        {OutcomeKind.COALESCED: len(ids) - 1, SkipReason.DUPLICATE: len(orders[0]) - len(ids)}
    )
    assert {emitted.event_id, *emitted.coalesced} == ids
    replays = Counter({item.event_id: 0 for item in orders[0]})
    for item in orders[0]:
        replays[item.event_id] = max(replays[item.event_id], item.source.replay_count)
    kept = [decision for decision in account.decisions if decision.outcome is OutcomeKind.COALESCED]
    assert all(decision.coalesced_into == emitted.event_id for decision in kept)
    assert all(decision.received.source.replay_count == replays[decision.received.event_id] for decision in kept)
    assert emitted.source.replay_count == replays[emitted.event_id]


@given(events())
def test_a_merged_change_equals_the_events_in_commit_order(burst: list[AccountChange]) -> None:
    """Values, cleared and enriched fields are those after applying the record's events in commit order."""
    (merged,) = Account().take(*burst).end().emitted
    newest = max(burst, key=position)
    account = expected_change_type(burst)
    is_account = account in NO_VALUES
    shown = newest.account_id if is_account else newest.record_id
    expected = read_in_order(item for item in burst if item.record_id == shown)
    assert merged.values == expected["values"]
    assert merged.enriched == expected["enriched"]
    assert set(merged.nulled_fields) == expected["nulled_fields"]
    assert (merged.event_id, merged.source) == (newest.event_id, newest.source)
    assert (merged.record_id, merged.entity_name) == (shown, RECORDS[shown])
    assert merged.change_type == (account if is_account else newest.change_type)
    assert merged.flags == tuple(sorted({flag for item in burst for flag in item.flags}))
    assert merged.coalesced == tuple(item.event_id for item in sorted(burst, key=position, reverse=True)[1:])


@given(events())
def test_changed_fields_are_the_union(burst: list[AccountChange]) -> None:
    """The newest event's fields come first, without duplicates; other records' fields have their entity's name."""
    (merged,) = Account().take(*burst).end().emitted
    names = [
        name if item.record_id == merged.record_id else f"{item.entity_name}.{name}"
        for item in sorted(burst, key=position, reverse=True)
        for name in item.changed_fields
    ]
    assert merged.changed_fields == tuple(dict.fromkeys(names))


@given(events())
def test_a_change_alone_is_not_altered(burst: list[AccountChange]) -> None:
    """The only change of a burst is emitted unchanged."""
    for item in burst:
        assert Account().take(item).end().emitted == [item]


@given(arrivals(), st.data(), st.sampled_from([LIMITS, NARROW]))
def test_over_many_windows_no_older_change_follows(
    orders: tuple[list[AccountChange], list[AccountChange]], data: st.DataObject, limits: CoalescingLimits
) -> None:
    """For any ends of windows, rows are in commit order, and every delivery has one outcome, also with a small memory.

    Unless the account is deleted, the last row is as new as the newest change.
    """
    account = Account(limits)
    for item in orders[0]:
        account.take(item)
        if data.draw(st.booleans()):
            account.end()
    account.end()
    in_order = [item.row_order for item in account.emitted]
    assert in_order == sorted(in_order)
    if not any(item.change_type in DELETIONS and item.entity_name == "Account" for item in orders[0]):
        assert in_order[-1] >= max(item.order for item in orders[0])
    assert account.has_one_outcome_each()
    assert_coalesced_ends_in_emitted(account)


@given(events(), st.data(), st.sampled_from([LIMITS, NARROW]))
def test_a_deleted_account_is_tombstoned_last(
    burst: list[AccountChange], data: st.DataObject, limits: CoalescingLimits
) -> None:
    """In any order of arrival and for any ends of windows, the newest row is a tombstone if, and only if, the newest
    event of the account itself deletes it.
    """
    in_commit_order = [
        replace(item, committed_at=COMMITTED_AT + dt.timedelta(seconds=second)) for second, item in enumerate(burst)
    ]
    account = Account(limits)
    for item in data.draw(st.permutations(in_commit_order)):
        account.take(item)
        if data.draw(st.booleans()):
            account.end()
    account.end()
    own = [item.change_type for item in in_commit_order if item.entity_name == "Account"]
    rows = [(item.row_order, is_deletion(item), number) for number, item in enumerate(account.emitted)]
    assert max(rows) == rows[-1], "current_account_scores shows the last row"
    assert rows[-1][1] == (bool(own) and own[-1] in DELETIONS)
    assert account.has_one_outcome_each()


@given(arrivals(), st.data(), st.sampled_from([LIMITS, NARROW]))
def test_no_older_value_follows_a_newer_one(
    orders: tuple[list[AccountChange], list[AccountChange]], data: st.DataObject, limits: CoalescingLimits
) -> None:
    """For any ends of windows, no value that is emitted is older than the one that was emitted before.

    Of fields that a context shows; of others only their changes are remembered, not what newer events carried.
    """
    deliveries = without_ties(orders[0])
    account = Account(limits)
    for item in deliveries:
        account.take(item)
        if data.draw(st.booleans()):
            account.end()
    positions = {int(item.event_id, 16): position(item) for item in deliveries}
    shown: dict[tuple[str, str], tuple[Any, ...]] = {}
    for item in account.end().emitted:
        fields = context_fields(item.entity_name)
        for name, number in ((name, it) for name, it in item.values.items() if name in fields):
            at = shown.setdefault((item.record_id, name), positions[number])
            assert positions[number] >= at
            shown[item.record_id, name] = positions[number]


@given(arrivals(), st.data(), st.sampled_from([LIMITS, NARROW]))
def test_a_change_is_stale_only_if_its_record_has_a_newer_event(
    orders: tuple[list[AccountChange], list[AccountChange]], data: st.DataObject, limits: CoalescingLimits
) -> None:
    """However late a change arrives: what no newer event of its record has said goes on, under the newest order.

    Also of a record that is no longer remembered.
    """
    account = Account(limits)
    for item in orders[0]:
        account.take(item)
        if data.draw(st.booleans()):
            account.end()
    newest: dict[str, tuple[Any, ...]] = {}
    for item in account.end().received:
        newest[item.record_id] = max(position(item), newest.get(item.record_id, position(item)))
    is_deleted = any(item.change_type in DELETIONS and item.entity_name == "Account" for item in orders[0])
    items = {item.event_id: item for item in orders[0]}
    for decision in account.decisions:
        if decision.reason is SkipReason.STALE and not is_deleted:
            item = items[decision.received.event_id]
            if item.change_type is ChangeType.UPDATE and not item.changed_fields:
                continue  # it says nothing
            replayed = {other.event_id for other in orders[0] if other.source.replay_count}
            if limits is NARROW and [other.event_id for other in orders[0]].count(item.event_id) > 1:
                continue  # its id is no longer remembered, so it is stale, not a duplicate
            assert newest[item.record_id] > position(item) or item.event_id in replayed


def told_of(change: AccountChange) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Return the values and cleared fields that a change tells a context, by record."""
    told = {}
    for said in change.said:
        fields = context_fields(said.entity_name)
        values = {name: it for name, it in {**said.values, **said.enriched}.items() if name in fields}
        told[said.record_id] = (values, set(said.nulled_fields) & fields)
    return {record_id: it for record_id, it in told.items() if any(it)}


def expected_of(items: Iterable[AccountChange]) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Return what events tell a context, applied in commit order."""
    told = {}
    by_record: dict[str, list[AccountChange]] = {}
    for item in items:
        by_record.setdefault(item.record_id, []).append(item)
    for record_id, events_of in by_record.items():
        fields = context_fields(RECORDS[record_id])
        read = read_in_order(events_of)
        values = {name: it for name, it in (read["values"] | read["enriched"]).items() if name in fields}
        told[record_id] = (values, read["nulled_fields"] & fields)
    return {record_id: it for record_id, it in told.items() if any(it)}


@given(events())
def test_a_merged_change_tells_all_that_the_burst_says_of_a_context(burst: list[AccountChange]) -> None:
    """Values of each record, not only of the newest one; nothing if the account is deleted."""
    (merged,) = Account().take(*burst).end().emitted
    if is_deletion(merged):
        assert not merged.records
        return
    assert told_of(merged) == expected_of(burst)
    assert merged.records == tuple(sorted(merged.records, key=position_of, reverse=True))


@given(arrivals(), st.data())
def test_the_last_row_tells_the_newest_values_in_any_order_of_arrival(
    orders: tuple[list[AccountChange], list[AccountChange]], data: st.DataObject
) -> None:
    """For any ends of windows, within the time for which the mirror may lag, as long as the account is not deleted.

    Enriched values are left out: a stale change's are not kept. A late DELETE of a record that has a newer event says
    nothing: the record was restored, with the values that it had.
    """
    assume(not any(is_deletion(item) for item in orders[0]))
    account = Account()
    arrived = [replace(item, enriched={}) for item in without_ties(orders[0])]
    for item in arrived:
        account.take(item)
        if data.draw(st.booleans()):
            account.end()
    account.end()
    stale = {it.received.event_id for it in account.decisions if it.reason is SkipReason.STALE}
    told = {it.event_id: it for it in arrived if it.event_id not in stale or it.change_type not in DELETIONS}
    assert told_of(account.emitted[-1]) == expected_of(told.values())


def assert_coalesced_ends_in_emitted(account: Account) -> None:
    """Check that following `coalesced_into` leads to ever newer events, and ends at an emitted one.

    Or at the newest of a deleted account's burst: those beyond `max_pending` had left it when it was skipped.
    """
    items = {item.event_id: item for item in account.received}
    emitted = {item.event_id for item in account.emitted}
    emitted |= {it.received.event_id for it in account.decisions if it.reason is SkipReason.ACCOUNT_DELETED}
    into = {
        decision.received.event_id: decision.coalesced_into
        for decision in account.decisions
        if decision.coalesced_into is not None
    }
    for event_id, survivor in into.items():
        assert position(items[survivor]) > position(items[event_id])
        assert survivor in emitted or survivor in into


@given(events())
def test_a_small_memory_loses_values_but_keeps_no_wrong_ones(burst: list[AccountChange]) -> None:
    """If values are evicted to bound the state, those that are left are the newest; an enriched field may not count
    as changed, because its change was evicted.
    """
    (merged,) = Account(NARROW).take(*burst).end().emitted
    (full,) = Account(LIMITS).take(*burst).end().emitted
    assert (merged.event_id, merged.change_type, merged.record_id) == (full.event_id, full.change_type, full.record_id)
    assert merged.values.items() <= full.values.items()
    assert (merged.values | merged.enriched).items() <= (full.values | full.enriched).items()
    assert set(merged.nulled_fields) <= set(full.nulled_fields)
