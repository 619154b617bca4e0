"""What an event of a related record tells about its account, and what has to be looked up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.api_names import ByEntity
from schemas.change_event import AccountChange, ChangeType, UnnamedChange
from schemas.salesforce_ids import normalize_record_id
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, change
from tests.fixtures.related_records import CONTACT, OPPORTUNITY, TASK, moved, named, unnamed
from transforms.find.account_memory import NEW_RECORD, RecordMemory
from transforms.find.sightings import Sighting, Wanted, answer, sightings

LEAD = normalize_record_id("00Q000000000001")


def _sightings(change_: AccountChange | UnnamedChange) -> list[Sighting]:
    return list(sightings(change_, ACCOUNT_FIELDS))


class _Stream:
    """The memories of all records, as keyed state has them."""

    def __init__(self, *changes: AccountChange | UnnamedChange) -> None:
        self.memories: dict[str, RecordMemory] = {}
        for change_ in changes:
            self.take(change_)

    def take(self, change_: AccountChange | UnnamedChange) -> Wanted | None:
        """Take an event in, and return the answer if it asks."""
        wanted = None
        for sighting in _sightings(change_):
            memory = self.memories.get(sighting.record_id, NEW_RECORD)
            if sighting.tells:
                memory = self.memories[sighting.record_id] = memory.with_owner(sighting.tells)
            if sighting.asks:
                wanted = answer(sighting.asks, sighting.record_id, memory)
        return wanted

    def ask(self, change_: AccountChange | UnnamedChange) -> Wanted:
        """Take in an event that asks."""
        wanted = self.take(change_)
        assert wanted
        return wanted


def test_an_account_s_own_event_tells_nothing() -> None:
    """Its account is known."""
    assert _sightings(change()) == []


def test_an_event_that_names_its_account_asks_nothing() -> None:
    """Unless the record was moved: it tells the memory whose it is."""
    (sighting,) = _sightings(named(1, account=2))
    assert (sighting.record_id, sighting.asks) == (OPPORTUNITY, None)
    assert sighting.tells
    assert sighting.tells.record_id == account_id(2)


@pytest.mark.parametrize("listed", ["changed_fields", "nulled_fields"])
def test_a_move_is_seen_whatever_the_case_of_the_configured_field(listed: str) -> None:
    """The event names the field in Salesforce's case."""
    item = replace(unnamed(1), **{"entity_name": "Project__c", "changed_fields": ("Name",), listed: ("Account__c",)})
    (sighting,) = sightings(item, ByEntity([("project__c", ("account__c",))]))
    assert sighting.asks
    assert (sighting.asks.is_moved, sighting.asks.is_cleared) == (True, listed == "nulled_fields")


@pytest.mark.parametrize("change_type", list(ChangeType))
def test_a_known_account_is_answered_without_a_look_up(change_type: ChangeType) -> None:
    """Whatever happened to the record."""
    wanted = _Stream(named(1, account=2)).ask(unnamed(2, change_type=change_type))
    assert (wanted.accounts, wanted.looked_up) == ((account_id(2),), ())


def test_an_unknown_account_is_looked_up() -> None:
    """By the record's id."""
    wanted = _Stream().ask(unnamed(1))
    assert (wanted.accounts, wanted.record_ids, wanted.former_ids) == ((), (OPPORTUNITY,), ())


def test_a_moved_record_asks_for_its_former_account() -> None:
    """The stream knows it, or else the mirror may; the account that the event names has gone on already."""
    known = _Stream(named(1, account=1)).ask(moved(2, account=2))
    assert (known.named, known.accounts, known.looked_up) == (account_id(2), (account_id(1),), ())
    unknown = _Stream().ask(moved(2, account=2))
    assert (unknown.accounts, unknown.record_ids, unknown.former_ids) == ((), (), (OPPORTUNITY,))


def test_an_event_after_a_move_is_of_the_new_account() -> None:
    """And one from before it, which arrives late, of the former one."""
    stream = _Stream(named(1, account=1), moved(3, account=2))
    assert stream.ask(unnamed(4)).accounts == (account_id(2),)
    assert stream.ask(unnamed(2)).accounts == (account_id(1),)


def test_a_record_that_left_its_account_has_none() -> None:
    """The former account is rescored once; later changes of the record are about no account."""
    cleared = unnamed(2, changed_fields=("AccountId",), nulled_fields=("AccountId",), values={})
    stream = _Stream(named(1, account=1))
    wanted = stream.ask(cleared)
    assert (wanted.accounts, wanted.looked_up) == ((account_id(1),), ())
    later = stream.ask(unnamed(3))
    assert (later.accounts, later.looked_up) == ((), ())
    assert _Stream().ask(cleared).former_ids == (OPPORTUNITY,)


def test_a_move_to_an_unknown_account_asks_for_both() -> None:
    """The event says that AccountId changed, and not to what."""
    wanted = _Stream(named(1, account=1)).ask(unnamed(2, changed_fields=("AccountId",), values={}))
    assert (wanted.accounts, wanted.record_ids) == ((account_id(1),), (OPPORTUNITY,))


def test_a_task_about_an_opportunity_asks_the_opportunity() -> None:
    """Whose account the stream knows, or else is looked up; later events of the task know the way."""
    about = unnamed(2, TASK, change_type=ChangeType.CREATE, values={"WhatId": OPPORTUNITY[:15], "Subject": "Call"})
    assert _Stream(named(1, account=3)).ask(about).accounts == (account_id(3),)
    stream = _Stream(about)
    assert stream.ask(about).record_ids == (OPPORTUNITY,)
    assert stream.ask(unnamed(3, TASK, values={"Subject": "Call again"})).record_ids == (OPPORTUNITY,)


def test_a_task_of_a_lead_has_no_account() -> None:
    """It is not looked up, nor are its later changes; one that is about an opportunity besides is."""
    of_lead = {"WhoId": LEAD, "Subject": "Call"}
    stream = _Stream()
    for event in (unnamed(1, TASK, change_type=ChangeType.CREATE, values=of_lead), unnamed(2, TASK)):
        assert stream.ask(event).looked_up == ()
    about = of_lead | {"WhatId": OPPORTUNITY}
    wanted = _Stream().ask(unnamed(1, TASK, change_type=ChangeType.CREATE, values=about))
    assert wanted.record_ids == (OPPORTUNITY,)


@pytest.mark.parametrize("what", ["nonsense", "006", f"{OPPORTUNITY[:15]}ZZZ", 6, None, "a0X000000000001"])
def test_a_task_about_something_else_is_looked_up_itself(what: object) -> None:
    """A malformed id, or one of an object that does not lead to an account, is no way to it."""
    assert _Stream().ask(unnamed(1, TASK, values={"WhatId": what})).record_ids == (TASK,)


_EVENTS = st.lists(
    st.one_of(
        st.builds(lambda n, a: named(n, CONTACT, account=a), st.integers(0, 7), st.integers(1, 3)),
        st.builds(lambda n, a: moved(n, CONTACT, account=a), st.integers(0, 7), st.integers(1, 3)),
        st.builds(lambda n: unnamed(n, CONTACT), st.integers(0, 7)),
    ),
    max_size=4,
    unique_by=lambda event: event.event_id,
)


@given(_EVENTS, st.data())
def test_once_all_is_told_the_answers_do_not_depend_on_the_order(
    events: list[AccountChange | UnnamedChange], data: st.DataObject
) -> None:
    """Each event that asks again, as a redelivery or a replay does, gets the same accounts in any order of arrival."""
    one, other = _Stream(*events), _Stream(*data.draw(st.permutations(events)))
    assert one.memories == other.memories
    for event in events:
        assert one.take(event) == other.take(event)


@given(_EVENTS, st.data())
def test_no_account_that_is_named_is_missed(events: list[AccountChange | UnnamedChange], data: st.DataObject) -> None:
    """In any order, an unnamed change whose record was named before is answered, by an account that was named."""
    arrived = data.draw(st.permutations(events))
    stream, accounts = _Stream(), set[str]()
    for event in arrived:
        wanted = stream.take(event)
        if isinstance(event, UnnamedChange):
            assert wanted
            assert set(wanted.accounts) <= accounts
            assert bool(wanted.accounts) == bool(accounts)
        else:
            accounts.add(event.account_id)
