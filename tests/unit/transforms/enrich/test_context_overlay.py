"""The overlay: newer values of an event replace the mirror's, and older ones do not."""

import datetime as dt
from typing import Any

import pytest

from schemas.account_context import AccountContext, AccountProfile, Opportunity
from schemas.change_event import AccountChange, ChangeType, RecordValues
from schemas.field_values import ACCOUNT_COLUMNS
from schemas.salesforce_fields import PROFILE_FIELDS
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from transforms.enrich.context_overlay import UNKNOWN, context_from_change, known_at, overlay

SECOND = dt.timedelta(seconds=1)
LATER = COMMITTED_AT + SECOND
OPPORTUNITY_ID = "006000000000001AAA"
OWNER_15, OWNER = "0057Q000002aGVk", "0057Q000002aGVkQAM"


def _account(values: dict[str, Any] | None = None, **fields: Any) -> AccountChange:
    defaults: dict[str, Any] = {"committed_at": LATER, "values": values or {}, "changed_fields": tuple(values or ())}
    return change(**defaults | fields)


def _opportunity_change(values: dict[str, Any] | None = None, **fields: Any) -> AccountChange:
    return _account(values, **{"entity_name": "Opportunity", "record_id": OPPORTUNITY_ID} | fields)


def _with_deal(**fields: Any) -> AccountContext:
    (deal,) = context().opportunities
    return context(opportunities=(deal.model_copy(update={"opportunity_id": OPPORTUNITY_ID, **fields}), deal))


def _deal(within: AccountContext) -> Opportunity:
    (deal,) = (it for it in within.opportunities if it.opportunity_id == OPPORTUNITY_ID)
    return deal


@pytest.mark.parametrize(
    ("field", "value", "column", "expected"),
    [
        ("Name", "New name", "name", "New name"),
        ("Type", "Customer", "type", "Customer"),
        ("Industry", "Mining", "industry", "Mining"),
        ("AnnualRevenue", 1.5e6, "annual_revenue", 1_500_000.0),
        ("NumberOfEmployees", 40, "number_of_employees", 40),
        ("NumberOfEmployees", 40.0, "number_of_employees", 40),
        ("Rating", "Hot", "rating", "Hot"),
        ("Ownership", "Public", "ownership", "Public"),
        ("AccountSource", "Web", "account_source", "Web"),
        ("Website", "example.com", "website", "example.com"),
        ("ParentId", account_id(7)[:15], "parent_id", account_id(7)),
        ("OwnerId", OWNER_15, "owner_id", OWNER),
        ("BillingAddress.City", "Bern", "billing_city", "Bern"),
        ("BillingAddress.State", "BE", "billing_state", "BE"),
        ("BillingAddress.PostalCode", "3011", "billing_postal_code", "3011"),
        ("BillingAddress.Country", "Switzerland", "billing_country", "Switzerland"),
        ("BillingCity", "Bern", "billing_city", "Bern"),
        ("BillingState", "BE", "billing_state", "BE"),
        ("BillingPostalCode", "3011", "billing_postal_code", "3011"),
        ("BillingCountry", "Switzerland", "billing_country", "Switzerland"),
        ("YearStarted", "1987", "year_started", 1987),
        ("YearStarted", 1987, "year_started", 1987),
        ("CreatedDate", 1_696_444_513_000, "created_at", dt.datetime(2023, 10, 4, 18, 35, 13, tzinfo=dt.UTC)),
        ("CreatedDate", "2023-10-04T18:35:13.000Z", "created_at", dt.datetime(2023, 10, 4, 18, 35, 13, tzinfo=dt.UTC)),
        (
            "CreatedDate",
            "2023-10-04T18:35:13.000+0000",
            "created_at",
            dt.datetime(2023, 10, 4, 18, 35, 13, tzinfo=dt.UTC),
        ),
    ],
)
def test_a_newer_value_replaces_the_mirrors(field: str, value: Any, column: str, expected: Any) -> None:
    """Each field of the profile takes the event's value, converted to the profile's type."""
    event = _account({field: value})
    assert getattr(overlay(context(), event).profile, column) == expected


def test_every_profile_column_has_its_field() -> None:
    """An event can give every column of the profile, except the id and the time of the last write."""
    values: dict[str, Any] = dict.fromkeys(PROFILE_FIELDS, "Text")
    values |= {"AnnualRevenue": 1, "NumberOfEmployees": 1, "YearStarted": "2000", "CreatedDate": 0}
    values |= {"ParentId": account_id(2), "OwnerId": OWNER}
    profile = overlay(context(), _account(values)).profile
    assert all(value is not None for value in profile.model_dump().values())


def test_salesforce_is_asked_for_the_fields_that_the_overlay_takes() -> None:
    """By their names in SOQL, where compound fields are flat."""
    assert tuple(name for name in ACCOUNT_COLUMNS if "." not in name) == PROFILE_FIELDS


def test_fields_without_a_new_value_stay() -> None:
    """Fields whose new value is unknown, other records and the history are the mirror's."""
    before = context()
    after = overlay(before, _account({"Rating": "Cold"}, changed_fields=("Rating", "Industry")))
    assert after.profile == before.profile.model_copy(update={"rating": "Cold", "modified_at": LATER})
    assert (after.opportunities, after.emails, after.calls) == (before.opportunities, before.emails, before.calls)


def test_enriched_values_are_used_too() -> None:
    """An enriched value was true at the commit, although it did not change; a changed value wins over it."""
    after = overlay(context(), _account({"Rating": "Hot"}, enriched={"Industry": "Mining", "Rating": "Cold"}))
    assert (after.profile.industry, after.profile.rating) == ("Mining", "Hot")


def test_cleared_fields_are_empty() -> None:
    """A cleared field is None, a cleared compound field is None in its parts, and a name is never cleared."""
    cities = {"billing_city": "Bern", "billing_country": "Switzerland", "rating": "Hot"}
    before = context(profile=context().profile.model_copy(update=cities))
    after = overlay(before, _account(nulled_fields=("Industry", "BillingAddress", "Name")))
    profile = after.profile
    assert (profile.industry, profile.billing_city, profile.billing_country) == (None, None, None)
    assert (profile.rating, profile.name) == ("Hot", "Company 1")


@pytest.mark.parametrize(
    ("change_type", "values", "nulled", "expected"),
    [
        ("UPDATE", {"Name.FirstName": "Ada", "Name.LastName": "King"}, (), "Ada King"),
        ("UPDATE", {"Name.Salutation": "Ms.", "Name.FirstName": "Ada", "Name.LastName": "King"}, (), "Ada King"),
        ("UPDATE", {"FirstName": "Ada", "LastName": "King", "Name.Suffix": "Jr."}, (), "Ada King Jr."),
        ("UPDATE", {"Name.LastName": "King"}, ("Name.FirstName",), "King"),
        ("CREATE", {"Name.LastName": "King"}, (), "King"),
        ("CREATE", {"Name.FirstName": "Ada", "Name.MiddleName": "B.", "Name.LastName": "King"}, (), "Ada B. King"),
        ("UPDATE", {"Name.LastName": "King"}, (), "Company 1"),
        ("UPDATE", {"Name.FirstName": "Ada"}, (), "Company 1"),
        ("UPDATE", {"Name.Salutation": "Ms."}, (), "Company 1"),
        ("CREATE", {"Name.FirstName": "Ada"}, (), "Company 1"),
        ("UPDATE", {"Name.FirstName": 3, "Name.LastName": "King"}, (), "Company 1"),
    ],
)
def test_a_persons_name_is_composed(
    change_type: str, values: dict[str, Any], nulled: tuple[str, ...], expected: str
) -> None:
    """Of first, middle, last name and suffix, without salutation; with half a name the mirror's stays."""
    event = _account(values, change_type=ChangeType(change_type), nulled_fields=nulled)
    assert overlay(context(), event).profile.name == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Name", ""),
        ("Name", ["Acme"]),
        ("Name", "x" * 256),
        ("Rating", 3),
        ("Rating", "\ud800"),
        ("AnnualRevenue", "1000"),
        ("AnnualRevenue", True),
        ("AnnualRevenue", -1),
        ("AnnualRevenue", float("nan")),
        ("AnnualRevenue", float("inf")),
        ("AnnualRevenue", 10**400),
        ("NumberOfEmployees", 1.5),
        ("NumberOfEmployees", 10**9),
        ("OwnerId", "somebody"),
        ("YearStarted", "87"),
        ("YearStarted", "²⁰¹⁹"),
        ("YearStarted", 3),
        ("CreatedDate", "yesterday"),
        ("CreatedDate", "2023-10-04T18:35:13"),
        ("CreatedDate", "0001-01-01T00:00:00+14:00"),
        ("CreatedDate", 10**15),
        ("BillingAddress.City", {"nested": "Bern"}),
    ],
)
def test_a_value_of_the_wrong_type_is_left_out(field: str, value: Any) -> None:
    """The mirror's value stays, and the other values of the event still count."""
    event = _account({field: value, "Industry": "Mining"})
    after = overlay(context(), event)
    assert after.profile == context().profile.model_copy(update={"industry": "Mining", "modified_at": LATER})


def test_an_older_event_changes_nothing() -> None:
    """The mirror's later write wins; at equal times the event wins."""
    older = _account({"Rating": "Cold"}, committed_at=COMMITTED_AT - SECOND)
    assert overlay(context(), older) == context()
    assert overlay(context(), _account({"Rating": "Cold"}, committed_at=COMMITTED_AT)).profile.rating == "Cold"


def test_two_events_may_be_overlaid_in_any_order() -> None:
    """Once a newer event is in the context, an older one no longer changes the same field."""
    newer, older = _account({"Rating": "Hot"}, committed_at=LATER + SECOND), _account({"Rating": "Cold"})
    assert overlay(overlay(context(), newer), older).profile.rating == "Hot"
    assert overlay(overlay(context(), older), newer).profile.rating == "Hot"


@pytest.mark.parametrize("kind", [ChangeType.DELETE, ChangeType.GAP_DELETE])
def test_a_deleted_account_has_no_new_values(kind: ChangeType) -> None:
    """The values of a DELETE are those of the record before it."""
    assert overlay(context(), _account(change_type=kind, enriched={"Rating": "Cold"})) == context()


def test_a_record_that_was_read_again_is_as_new_as_its_last_write() -> None:
    """A gap event older than the mirror's record has newer values if Salesforce wrote the record after that."""
    early = COMMITTED_AT - dt.timedelta(hours=1)
    values = {"Rating": "Hot", "SystemModstamp": LATER.strftime("%Y-%m-%dT%H:%M:%S.000+0000")}
    event = _account(values, change_type=ChangeType.GAP_UPDATE, committed_at=early, changed_fields=())
    assert known_at(event) == LATER
    assert overlay(context(), event).profile.rating == "Hot"
    stale = _account(
        values | {"SystemModstamp": early.isoformat()}, change_type=ChangeType.GAP_UPDATE, committed_at=early
    )
    assert overlay(context(), stale) == context()
    broken = _account(values | {"SystemModstamp": "soon"}, change_type=ChangeType.GAP_UPDATE, committed_at=early)
    assert overlay(context(), broken) == context()
    ordinary = _account(values, committed_at=early)
    assert overlay(context(), ordinary) == context()


def test_other_records_leave_the_context_alone() -> None:
    """Only accounts and opportunities have an overlay."""
    assert overlay(context(), _account({"Title": "CEO", "Name": "X"}, entity_name="Contact")) == context()


@pytest.mark.parametrize(
    ("field", "value", "column", "expected"),
    [
        ("Name", "Extension", "name", "Extension"),
        ("StageName", "Closed Won", "stage", "Closed Won"),
        ("Amount", 5, "amount", 5.0),
        ("Amount", -5, "amount", -5.0),
        ("Probability", 100, "probability", 100.0),
        ("CloseDate", 1_777_593_600_000, "closed_on", dt.date(2026, 5, 1)),
        ("CloseDate", "2026-05-01", "closed_on", dt.date(2026, 5, 1)),
        ("CloseDate", "2026-05-01T00:00:00.000Z", "closed_on", dt.date(2026, 5, 1)),
        ("IsClosed", True, "is_closed", True),
        ("IsWon", True, "is_won", True),
    ],
)
def test_a_known_opportunity_is_updated(field: str, value: Any, column: str, expected: Any) -> None:
    """Each field of the opportunity with the event's record id takes the event's value; the others are untouched."""
    before = _with_deal()
    after = overlay(before, _opportunity_change({field: value}))
    assert _deal(after) == _deal(before).model_copy(update={column: expected, "modified_at": LATER})
    assert after.opportunities[1] == before.opportunities[1]
    assert after.profile == before.profile


@pytest.mark.parametrize(
    ("field", "value"), [("Probability", 101), ("IsWon", "true"), ("CloseDate", "2026-02-30"), ("StageName", None)]
)
def test_an_opportunitys_wrong_value_is_left_out(field: str, value: Any) -> None:
    """The opportunity keeps its value if the event's is of the wrong type."""
    assert _deal(overlay(_with_deal(), _opportunity_change({field: value}))) == _deal(_with_deal())


def test_an_opportunitys_cleared_fields_are_empty() -> None:
    """Amount and dates can be cleared, name and stage can't."""
    event = _opportunity_change(nulled_fields=("Amount", "CloseDate", "Name", "StageName"))
    deal = _deal(overlay(_with_deal(), event))
    assert (deal.amount, deal.closed_on, deal.name, deal.stage) == (None, None, "Renewal", "Negotiation/Review")


def test_an_older_event_leaves_the_opportunity() -> None:
    """Whether an event is newer is decided by the opportunity's own last write, also for a DELETE."""
    before = _with_deal(modified_at=LATER + SECOND)
    assert overlay(before, _opportunity_change({"Amount": 9})) == before
    assert overlay(before, _opportunity_change(change_type=ChangeType.DELETE)) == before


def test_a_moved_opportunity_leaves_the_context_of_its_former_account() -> None:
    """It went to another account, or to none; the account that it went to keeps it."""
    for moved in (_opportunity_change({"AccountId": account_id(9)}), _opportunity_change(nulled_fields=("AccountId",))):
        assert overlay(_with_deal(), moved).opportunities == _with_deal().opportunities[1:]
    here = _opportunity_change({"AccountId": account_id()[:15], "StageName": "Closed Won"})
    assert _deal(overlay(_with_deal(), here)).stage == "Closed Won"


@pytest.mark.parametrize("kind", [ChangeType.DELETE, ChangeType.GAP_DELETE])
def test_a_deleted_opportunity_leaves_the_context(kind: ChangeType) -> None:
    """A deleted opportunity is gone, one that the context lacks stays away, and the others remain."""
    after = overlay(_with_deal(), _opportunity_change(change_type=kind))
    assert after.opportunities == _with_deal().opportunities[1:]
    assert overlay(after, _opportunity_change(change_type=kind)) == after


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"Name": "Extension", "StageName": "Proposal", "IsClosed": False},
            ("Extension", "Proposal", False, False),
        ),
        ({"StageName": "Closed Won"}, (UNKNOWN, "Closed Won", True, True)),
        ({"StageName": "Closed Lost"}, (UNKNOWN, "Closed Lost", True, False)),
        ({"StageName": "Gewonnen", "IsClosed": True, "IsWon": True}, (UNKNOWN, "Gewonnen", True, True)),
        ({"Name": "Extension"}, ("Extension", UNKNOWN, False, False)),
    ],
)
def test_a_new_opportunity_comes_first(values: dict[str, Any], expected: tuple[str, str, bool, bool]) -> None:
    """An opportunity that the mirror lacks is added, newest first, if the event has its name or stage."""
    after = overlay(context(), _opportunity_change(values))
    added = after.opportunities[0]
    assert (added.opportunity_id, added.account_id) == (OPPORTUNITY_ID, account_id())
    assert (added.name, added.stage, added.is_closed, added.is_won) == expected
    assert after.opportunities[1:] == context().opportunities


def test_an_opportunity_is_not_added_without_reason() -> None:
    """Not without name and stage, and not if the mirror has newer opportunities than the event."""
    assert overlay(context(), _opportunity_change({"Amount": 5})) == context()
    late = _opportunity_change({"Name": "Extension"}, committed_at=COMMITTED_AT - SECOND)
    assert overlay(context(), late) == context()


def test_an_account_that_the_mirror_lacks_has_a_context_from_its_event() -> None:
    """A name and two more values are enough; the context has only values of the event."""
    made = context_from_change(_account({"Name": "Acme", "Industry": "Mining", "BillingAddress.City": "Bern"}))
    expected = AccountProfile(
        account_id=account_id(), name="Acme", industry="Mining", billing_city="Bern", modified_at=LATER
    )
    assert made == AccountContext(profile=expected)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"Name": "Acme", "Industry": "Mining"}, {}),
        ({"Industry": "Mining", "Rating": "Hot"}, {}),
        ({"Name": "Acme", "Industry": "Mining", "Rating": 3}, {}),
        ({"Name": "Acme", "Industry": "Mining", "OwnerId": OWNER, "ParentId": account_id(2)}, {}),
        ({"Name": "Acme", "Industry": "Mining"}, {"nulled_fields": ("Rating",)}),
        ({"Name": "Acme", "Industry": "Mining", "Rating": "Hot"}, {"entity_name": "Contact"}),
        ({"Name": "Acme", "Industry": "Mining", "Rating": "Hot"}, {"change_type": ChangeType.DELETE}),
    ],
)
def test_too_little_makes_no_context(values: dict[str, Any], fields: dict[str, Any]) -> None:
    """An account without a name or with too few values, and a deleted one, are not scored from the event."""
    assert context_from_change(_account(values, **fields)) is None


def _said_of_deal(values: dict[str, Any] | None = None, **fields: Any) -> RecordValues:
    defaults: dict[str, Any] = {
        "event_id": "5" * 32,
        "entity_name": "Opportunity",
        "record_id": OPPORTUNITY_ID,
        "change_type": ChangeType.UPDATE,
        "committed_at": LATER,
        "sequence_number": 1,
        "changed_fields": tuple(values or ()),
        "values": values or {},
    }
    return RecordValues(**defaults | fields)


def test_values_of_every_record_of_a_burst_are_laid_over() -> None:
    """An opportunity that was won, in a burst that the account's own change stands for."""
    won = _said_of_deal({"StageName": "Closed Won", "IsWon": True, "IsClosed": True})
    after = overlay(_with_deal(), _account({"Rating": "Cold"}, records=(won,)))
    assert (after.profile.rating, _deal(after).stage, _deal(after).is_won) == ("Cold", "Closed Won", True)
    older = _said_of_deal({"StageName": "Closed Won"}, committed_at=COMMITTED_AT - SECOND)
    assert overlay(_with_deal(), _account({}, records=(older,))) == _with_deal()
    gone = _said_of_deal(change_type=ChangeType.DELETE)
    assert len(overlay(_with_deal(), _account({}, records=(gone,))).opportunities) == 1


def test_what_is_known_of_the_changes_own_record_takes_its_place() -> None:
    """It has the values of the change and those that were emitted shortly before."""
    known = _said_of_deal({"Rating": "Cold", "Industry": "Mining"}, entity_name="Account", record_id=account_id())
    profile = overlay(context(), _account({"Rating": "Cold"}, committed_at=COMMITTED_AT, records=(known,))).profile
    assert (profile.rating, profile.industry, profile.modified_at) == ("Cold", "Mining", LATER)


def test_new_opportunities_of_a_burst_are_told_from_deleted_ones() -> None:
    """Each is compared with the mirror's opportunities, not with those that the same burst adds."""
    new = [
        _said_of_deal({"Name": "Deal"}, record_id=f"00600000000000{number}AAA", committed_at=LATER + number * SECOND)
        for number in (7, 6)
    ]
    after = overlay(context(), _account({}, records=tuple(new)))
    assert [it.opportunity_id for it in after.opportunities][:2] == [it.record_id for it in new]
    assert len(after.opportunities) == 3
    assert [it.opportunity_id for it in overlay(context(), _account({}, records=tuple(new)), 1).opportunities] == [
        new[0].record_id
    ]


def test_a_context_from_the_event_alone_has_all_of_its_records() -> None:
    """Of an account that the mirror lacks: its values and its opportunities, whichever event is the newest."""
    account = _said_of_deal(
        {"Name": "Acme", "Industry": "Energy", "Rating": "Hot"}, entity_name="Account", record_id=account_id()
    )
    found = context_from_change(_opportunity_change({"Name": "Deal", "StageName": "Closed Won"}, records=(account,)))
    assert found
    assert (found.profile.name, found.opportunities[0].stage) == ("Acme", "Closed Won")
