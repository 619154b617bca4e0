"""The state of one record: questions wait for an answer, in bounds, and are never lost."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.change_event import AccountChange, SourceMessage, UnnamedChange
from schemas.record import to_json
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id
from tests.fixtures.related_records import CONTACT, moved, named, unnamed
from transforms.coders import RecordCoder
from transforms.find.record_state import MAX_QUESTION_BYTES, MAX_WAITING, NEW_STATE, RecordState, end_wait, take
from transforms.find.sightings import Wanted, sightings


def _take(
    state: RecordState, change: AccountChange | UnnamedChange, *, waits: bool = True
) -> tuple[RecordState, list[Wanted]]:
    (sighting,) = sightings(change, ACCOUNT_FIELDS)
    return take(state, CONTACT, sighting, waits=waits)


def _all(changes: list[AccountChange | UnnamedChange]) -> dict[str, tuple[str, ...]]:
    """Return the accounts of each event that asks, once all have arrived and the wait is over."""
    state, answers = NEW_STATE, list[Wanted]()
    for change in changes:
        state, answered = _take(state, change)
        answers += answered
    state, answered = end_wait(state, CONTACT)
    assert state.waiting == ()
    return {it.change.event_id: it.accounts for it in [*answers, *answered]}


_NAMED = st.builds(lambda n, a: named(n, CONTACT, account=a), st.integers(0, 9), st.integers(1, 3))
_MOVED = st.builds(lambda n, a: moved(n, CONTACT, account=a), st.integers(0, 9), st.integers(1, 3))
_UNNAMED = st.builds(lambda n: unnamed(n, CONTACT), st.integers(0, 9))
_EVENTS = st.lists(st.one_of(_NAMED, _MOVED, _UNNAMED), max_size=8, unique_by=lambda it: it.event_id)


@given(_EVENTS, st.data())
def test_each_question_is_answered_once(events: list[AccountChange | UnnamedChange], data: st.DataObject) -> None:
    """In any order of arrival; within the wait, an unnamed change has an account if any event names one."""
    answers = _all(data.draw(st.permutations(events)))
    asking = {it.event_id for it in events if isinstance(it, UnnamedChange) or "AccountId" in it.changed_fields}
    assert answers.keys() == asking
    is_named = any(isinstance(it, AccountChange) for it in events)
    assert all(bool(answers[it.event_id]) == is_named for it in events if isinstance(it, UnnamedChange))


@given(st.integers(1, 3), st.lists(_UNNAMED, min_size=1, max_size=6, unique_by=lambda it: it.event_id), st.data())
def test_within_the_wait_the_order_of_arrival_does_not_matter(
    account: int, unnamed_changes: list[UnnamedChange], data: st.DataObject
) -> None:
    """A record that one event names: each of its changes has that account, whichever arrives first."""
    naming = named(20, CONTACT, account=account)
    arrived: list[AccountChange | UnnamedChange] = data.draw(st.permutations([*unnamed_changes, naming]))
    assert _all(arrived) == {it.event_id: (account_id(account),) for it in unnamed_changes}


def test_questions_wait_in_bounds() -> None:
    """Those beyond are looked up at once, and so are all where nothing waits."""
    state, answers = NEW_STATE, list[Wanted]()
    for number in range(MAX_WAITING + 3):
        state, answered = _take(state, unnamed(number, CONTACT))
        answers += answered
    assert (len(state.waiting), len(answers)) == (MAX_WAITING, 3)
    _, answered = _take(NEW_STATE, unnamed(1, CONTACT), waits=False)
    assert [it.looked_up for it in answered] == [(CONTACT,)]


def test_large_questions_are_looked_up_at_once() -> None:
    """However many come, and whether its values or its message are large, the state of a record is small."""
    numbers = count()
    for size in (6_000_000, MAX_QUESTION_BYTES, MAX_QUESTION_BYTES // 2, 1_000):
        state, looked_up = NEW_STATE, 0
        for _ in range(MAX_WAITING):
            large = replace(
                unnamed(next(numbers), CONTACT),
                source=SourceMessage(payload=b"x" * (size // 2)),
                values={"T": "x" * size},
            )
            state, answers = _take(state, large)
            looked_up += len(answers)
        assert len(state.waiting) + looked_up == MAX_WAITING
        assert len(to_json(state)) <= MAX_WAITING * MAX_QUESTION_BYTES + 1_000
    assert len(state.waiting) == MAX_WAITING


def test_state_is_read_by_later_versions() -> None:
    """The bytes that a running job has in its state: names and order of its JSON stay."""
    state, _ = _take(NEW_STATE, named(1, CONTACT))
    expected = (
        b'{"memory":{"owners":[{"position":["2026-03-02T09:30:01Z",1,"00000000000000000000000000000001"],'
        b'"record_id":"001000000000001AAA"}]},"waiting":[]}'
    )
    assert to_json(state) == expected
    waiting, _ = _take(NEW_STATE, unnamed(1, CONTACT))
    coder = RecordCoder(RecordState)
    assert coder.decode(expected) == state
    assert coder.decode(coder.encode(waiting)) == waiting
    start = b'{"memory":{"owners":[]},"waiting":[{"change":{"event_id":"00000000000000000000000000000001",'
    assert coder.encode(waiting).startswith(start)
    end = b',"named":null,"is_moved":false,"is_cleared":false,"through":null}]}'
    assert coder.encode(waiting).endswith(end)
