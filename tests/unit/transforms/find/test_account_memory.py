"""The memory of one record: the same answers in whatever order events arrive."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.changes import COMMITTED_AT, account_id
from transforms.coders import RecordCoder
from transforms.find.account_memory import MAX_OWNERS, NEW_RECORD, Owner, Position, RecordMemory


def _position(number: int) -> Position:
    return (COMMITTED_AT + dt.timedelta(seconds=number), 1, f"{number:032x}")


def _owner(number: int, account: int | None = 1) -> Owner:
    return Owner(position=_position(number), record_id=None if account is None else account_id(account))


def _memory(*owners: Owner) -> RecordMemory:
    memory = NEW_RECORD
    for owner in owners:
        memory = memory.with_owner(owner)
    return memory


_OWNERS = st.lists(
    st.builds(_owner, st.integers(0, 9), st.one_of(st.none(), st.integers(1, 3))),
    max_size=10,
    unique_by=lambda owner: owner.position,
)


@given(_OWNERS, st.data())
def test_the_order_of_arrival_does_not_matter(owners: list[Owner], data: st.DataObject) -> None:
    """Events in any order, some of them twice, leave the same state, byte for byte."""
    shuffled = data.draw(st.permutations([*owners, *owners[:3]]))
    coder = RecordCoder(RecordMemory)
    assert coder.encode(_memory(*shuffled)) == coder.encode(_memory(*owners))


@given(_OWNERS, st.integers(-1, 10))
def test_an_answer_is_the_newest_at_or_before_the_event(owners: list[Owner], number: int) -> None:
    """Of the events that are kept; an event before all of them gets the first one's owner, as the next best."""
    kept = sorted(owners, key=lambda it: it.position)[-MAX_OWNERS:]
    position = _position(number)
    known = [it for it in kept if it.position <= position]
    assert _memory(*owners).at(position) == (known[-1] if known else kept[0] if kept else None)
    earlier = [it for it in kept if it.position < position]
    assert _memory(*owners).before(position) == (earlier[-1] if earlier else None)


def test_a_record_keeps_its_newest_owners() -> None:
    """The state is bounded."""
    memory = _memory(*(_owner(number, 1 + number % 3) for number in range(50)))
    assert [it.position for it in memory.owners] == [_position(number) for number in (49, 48, 47, 46)]
    assert len(RecordCoder(RecordMemory).encode(memory)) < 600


def test_state_is_read_by_later_versions() -> None:
    """The bytes that a running job has in its state: names and order of its JSON stay."""
    memory = _memory(_owner(1), _owner(2, None))
    expected = (
        b'{"owners":['
        b'{"position":["2026-03-02T09:30:02Z",1,"00000000000000000000000000000002"],"record_id":null},'
        b'{"position":["2026-03-02T09:30:01Z",1,"00000000000000000000000000000001"],"record_id":"001000000000001AAA"}'
        b"]}"
    )
    assert RecordCoder(RecordMemory).encode(memory) == expected
    assert RecordCoder(RecordMemory).decode(expected) == memory
