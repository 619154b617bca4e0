"""The overlay of any event: it is idempotent, never goes back in time, and its contexts are valid."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.account_context import AccountContext
from schemas.change_event import AccountChange, ChangeType
from schemas.salesforce_fields import PROFILE_FIELDS
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from transforms.enrich.context_overlay import context_from_change, overlay

SECOND = dt.timedelta(seconds=1)
OWNER = "0057Q000002aGVkQAM"
OPPORTUNITY_IDS = ["006000000000001AAA", "006000000000002AAA"]
(_DEAL,) = context().opportunities
CONTEXT = context(opportunities=(_DEAL.model_copy(update={"opportunity_id": OPPORTUNITY_IDS[0]}), _DEAL))

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["2026-05-01", "2026-05-01T00:00:00Z", "1999", OWNER, account_id(3), "Closed Won", 1e17, 0]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
NAMES = st.sampled_from(
    [
        *PROFILE_FIELDS,
        *("Name.FirstName", "Name.LastName", "BillingAddress", "BillingAddress.City", "SystemModstamp"),
        *("StageName", "Amount", "Probability", "CloseDate", "IsClosed", "IsWon", "Other__c"),
    ]
)


@st.composite
def events(draw: st.DrawFn) -> AccountChange:
    """Draw any change of the account or of an opportunity, with values of any type."""
    entity = draw(st.sampled_from(["Account", "Opportunity", "Contact"]))
    return change(
        entity_name=entity,
        record_id=account_id() if entity == "Account" else draw(st.sampled_from(OPPORTUNITY_IDS)),
        change_type=draw(st.sampled_from(ChangeType)),
        committed_at=COMMITTED_AT + draw(st.integers(-2, 2)) * SECOND,
        values=draw(st.dictionaries(NAMES, JSON, max_size=6)),
        enriched=draw(st.dictionaries(NAMES, JSON, max_size=3)),
        nulled_fields=tuple(draw(st.lists(NAMES, max_size=3))),
    )


@given(events())
def test_an_overlay_is_idempotent_and_validates(event: AccountChange) -> None:
    """The overlay of any event is a valid context, and overlaying it again changes nothing."""
    once = overlay(CONTEXT, event)
    assert AccountContext.model_validate_json(once.model_dump_json()) == once
    assert overlay(once, event) == once


@given(events())
def test_an_older_overlay_never_changes_anything(event: AccountChange) -> None:
    """An event older than every record of the mirror leaves the context as it is."""
    written = COMMITTED_AT - 3 * SECOND
    values = {name: value for name, value in event.values.items() if name != "SystemModstamp"}
    older = replace(event, committed_at=written - SECOND, values=values)
    before = CONTEXT
    assert overlay(before, older) == before


@given(events())
def test_a_context_from_an_event_validates(event: AccountChange) -> None:
    """Any event gives no context or a valid context of its account."""
    made = context_from_change(event)
    if made is not None:
        assert AccountContext.model_validate_json(made.model_dump_json()) == made
        assert made.profile.account_id == event.account_id
        assert overlay(made, event).profile == made.profile
