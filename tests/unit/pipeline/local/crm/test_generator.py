"""Generated CRM data: valid, repeatable, and telling stories."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm.company import WINDOW, company_name_and_industry
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.records import CrmRecords
from pipeline.local.crm.stages import CLOSED_STAGES, OPEN_STAGES
from pipeline.local.crm.vocabulary import vocabulary
from schemas.account_context import AccountProfile, Call, Contact, Email, MirrorRow, Opportunity
from schemas.salesforce_ids import normalize_record_id
from tests.fixtures.examples import examples

AS_OF = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
SEEDS = st.integers(min_value=0, max_value=2**64)


@pytest.fixture(scope="module")
def crm() -> CrmRecords:
    """A CRM large enough for shares to be told apart."""
    return generate_crm(accounts=1500, seed=7, as_of=AS_OF)


def ids_of(crm: CrmRecords) -> list[str]:
    """Every record id of a CRM."""
    return [
        *(account.account_id for account in crm.accounts),
        *(deal.opportunity_id for deal in crm.opportunities),
        *(email.email_id for email in crm.emails),
        *(call.call_id for call in crm.calls),
        *(contact.contact_id for contact in crm.contacts),
    ]


def revalidated(rows: Iterable[MirrorRow]) -> list[MirrorRow]:
    """The rows as they are after each was checked by its schema."""
    return [type(row).model_validate(row.model_dump()) for row in rows]


def test_the_same_arguments_give_the_same_records() -> None:
    """Two calls with equal arguments return equal records; another seed returns others."""
    first = generate_crm(accounts=20, seed=3, as_of=AS_OF)
    assert generate_crm(accounts=20, seed=3, as_of=AS_OF) == first
    assert generate_crm(accounts=20, seed=4, as_of=AS_OF) != first


@examples(ordinary=20, slow=500)
@given(seed=SEEDS, few=st.integers(0, 6), more=st.integers(0, 6))
def test_an_account_does_not_depend_on_how_many_there_are(seed: int, few: int, more: int) -> None:
    """A larger CRM of the same seed starts with every record of the smaller one."""
    small = generate_crm(accounts=few, seed=seed, as_of=AS_OF)
    large = generate_crm(accounts=few + more, seed=seed, as_of=AS_OF)
    assert large.accounts[: len(small.accounts)] == small.accounts
    assert large.opportunities[: len(small.opportunities)] == small.opportunities
    assert large.emails[: len(small.emails)] == small.emails
    assert large.calls[: len(small.calls)] == small.calls
    ids = {contact.account_id for contact in small.contacts}
    assert [contact for contact in large.contacts if contact.account_id in ids] == list(small.contacts)


@examples(ordinary=20, slow=500)
@given(seed=SEEDS)
def test_every_record_is_what_its_schema_allows(seed: int) -> None:
    """Each generated row passes its schema unchanged, under any seed."""
    crm = generate_crm(accounts=8, seed=seed, as_of=AS_OF)
    for rows in (crm.accounts, crm.opportunities, crm.emails, crm.calls, crm.contacts):
        assert revalidated(rows) == list(rows)


def test_rows_of_a_large_crm_are_valid(crm: CrmRecords) -> None:
    """A sample across a whole CRM passes the schemas, so that no rare branch makes invalid rows."""
    samples: list[MirrorRow] = [*crm.accounts[::3], *crm.opportunities[::5], *crm.emails[::5], *crm.calls[::5]]
    samples += crm.contacts[::5]
    assert revalidated(samples) == samples
    assert {type(row) for row in samples} == {AccountProfile, Opportunity, Email, Call, Contact}


def test_ids_are_valid_salesforce_ids_and_unique(crm: CrmRecords) -> None:
    """Every id has 18 characters, a right checksum and its object's prefix, and no two are equal."""
    ids = ids_of(crm)
    assert [normalize_record_id(record_id) for record_id in ids] == ids
    assert len(set(ids)) == len(ids)
    assert {record_id[:3] for record_id in ids} == {"001", "003", "006", "02s", "00T"}


def test_no_two_companies_have_one_name(crm: CrmRecords) -> None:
    """Names are unique, also without the legal form, which the web site leaves out."""
    assert len({account.name for account in crm.accounts}) == len(crm.accounts)
    sites = [account.website for account in crm.accounts if account.website]
    assert len(set(sites)) == len(sites)


def test_names_stay_unique_after_the_words_are_used_up() -> None:
    """More companies than pairs of words still get names of their own."""
    words = vocabulary()
    pairs = len(words.company_words) * sum(len(industry.descriptors) for industry in words.industries)
    names = Counter(company_name_and_industry(index, 5)[0] for index in range(pairs + 50))
    assert names.most_common(1)[0][1] == 1


def test_records_belong_to_accounts_of_the_crm(crm: CrmRecords) -> None:
    """Every account id and parent id that a record names is an account's, and no account is its own ancestor."""
    position = {account.account_id: index for index, account in enumerate(crm.accounts)}
    owners = {deal.account_id for deal in crm.opportunities}
    writers = {email.account_id for email in crm.emails} | {call.account_id for call in crm.calls}
    assert owners | writers <= position.keys()
    assert {contact.account_id for contact in crm.contacts if contact.account_id} == position.keys()
    children = [account for account in crm.accounts if account.parent_id]
    assert children
    assert all(position[child.parent_id or ""] < position[child.account_id] for child in children)


def test_contacts_have_a_position_and_can_mostly_be_reached(crm: CrmRecords) -> None:
    """Up to three for each account, and some without one; some have no title, some can't be reached."""
    created = {account.account_id: account.created_at or AS_OF for account in crm.accounts}
    counts = Counter(contact.account_id for contact in crm.contacts)
    assert counts.pop(None) == 10
    assert max(counts.values()) == 3
    assert {None, "CFO"} < {contact.title for contact in crm.contacts}
    assert 0.8 < sum(contact.is_reachable or False for contact in crm.contacts) / len(crm.contacts) < 0.98
    of_accounts = [contact for contact in crm.contacts if contact.account_id]
    assert all(created[contact.account_id or ""] <= contact.modified_at <= AS_OF for contact in of_accounts)


def test_an_account_has_a_bounded_number_of_records(crm: CrmRecords) -> None:
    """At most 8 opportunities, 12 emails and 6 calls; some accounts have none of a kind."""
    for rows, most in ((crm.opportunities, 8), (crm.emails, 12), (crm.calls, 6)):
        counts = Counter(row.account_id for row in rows)
        assert 0 < max(counts.values()) <= most
        assert len(counts) < len(crm.accounts)


def test_places_and_industries_agree(crm: CrmRecords) -> None:
    """A city lies in its state and country, and employees fit the industry."""
    words = vocabulary()
    places = {(country.name, city, state) for country in words.countries for city, state, _ in country.cities}
    industries = {industry.name: industry for industry in words.industries}
    for account in crm.accounts:
        assert (account.billing_country, account.billing_city, account.billing_state) in places
        low, high = industries[account.industry or ""].employees
        assert account.number_of_employees is None or low <= account.number_of_employees <= high
    assert {account.industry for account in crm.accounts} == industries.keys()


def test_products_fit_the_industry(crm: CrmRecords) -> None:
    """An account is only sold what its industry buys."""
    products = {industry.name: industry.products for industry in vocabulary().industries}
    industry_of = {account.account_id: account.industry for account in crm.accounts}
    assert all(deal.product in products[industry_of[deal.account_id or ""] or ""] for deal in crm.opportunities)


def test_stage_probability_and_flags_agree(crm: CrmRecords) -> None:
    """A stage decides the probability, and whether the opportunity is closed and won."""
    probability = {**OPEN_STAGES, **CLOSED_STAGES}
    assert {deal.stage for deal in crm.opportunities} == probability.keys()
    for deal in crm.opportunities:
        assert deal.probability == probability[deal.stage]
        assert deal.is_closed == (deal.stage in CLOSED_STAGES)
        assert deal.is_won == (deal.stage == "Closed Won")


def test_customers_bought_and_prospects_did_not(crm: CrmRecords) -> None:
    """A customer has won opportunities, and a prospect has none."""
    buyers = {deal.account_id for deal in crm.opportunities if deal.is_won}
    for account in crm.accounts:
        assert (account.account_id in buyers) == (account.type == "Customer")


def test_stories_show_in_the_records(crm: CrmRecords) -> None:
    """A cold prospect is a stalled one: its open opportunities are overdue, and nobody wrote for weeks."""
    due: defaultdict[str | None, list[dt.date]] = defaultdict(list)
    for deal in crm.opportunities:
        if not deal.is_closed and deal.closed_on:
            due[deal.account_id].append(deal.closed_on)
    last_heard = {email.account_id: email.sent_at for email in sorted(crm.emails, key=lambda email: email.sent_at)}
    stalled = [account for account in crm.accounts if account.type == "Prospect" and account.rating == "Cold"]
    assert stalled
    for account in stalled:
        assert due[account.account_id]
        assert max(due[account.account_id]) < AS_OF.date()
        assert last_heard[account.account_id] < AS_OF - dt.timedelta(days=30)


def test_nothing_happens_after_the_day_or_before_the_window(crm: CrmRecords) -> None:
    """Messages and engagements lie in the 18 months before `as_of`, and no record was written later than that."""
    moments = [*(email.sent_at for email in crm.emails), *(call.started_at for call in crm.calls)]
    assert all(AS_OF - WINDOW <= moment <= AS_OF for moment in moments)
    assert max(moments) - min(moments) > dt.timedelta(days=480)
    for deal in crm.opportunities:
        assert deal.engaged_on is not None
        assert deal.closed_on is not None
        assert (AS_OF - WINDOW).date() <= deal.engaged_on <= AS_OF.date()
        assert deal.engaged_on <= deal.closed_on
        assert not deal.is_closed or deal.closed_on <= AS_OF.date()
        assert deal.modified_at <= AS_OF
    for account in crm.accounts:
        assert account.created_at is not None
        assert account.created_at <= account.modified_at <= AS_OF


def test_a_message_is_of_the_time_in_which_the_account_was_known(crm: CrmRecords) -> None:
    """No email or call is older than its account."""
    created = {account.account_id: account.created_at or AS_OF for account in crm.accounts}
    assert all(email.sent_at >= created[email.account_id] for email in crm.emails)
    assert all(call.started_at >= created[call.account_id] for call in crm.calls)


def test_nobody_was_engaged_before_the_account_was_known(crm: CrmRecords) -> None:
    """Opportunities begin on the day of their account's creation at the earliest, also those of fresh leads."""
    created = {account.account_id: account.created_at or AS_OF for account in crm.accounts}
    engaged = [(deal.engaged_on, created[deal.account_id or ""].date()) for deal in crm.opportunities]
    assert all(engaged_on is not None and engaged_on >= created_on for engaged_on, created_on in engaged)


def test_about_one_email_in_200_carries_a_planted_prompt_injection(crm: CrmRecords) -> None:
    """Some CRM texts contain prompt injections."""
    planted = [email for email in crm.emails if any(text in email.body for text in vocabulary().prompt_injections)]
    assert 1 / 400 < len(planted) / len(crm.emails) < 1 / 100


@pytest.mark.parametrize(
    ("what", "sign"),
    [
        ("e-mail address", "@"),
        ("phone number", "+49"),
        ("quoted thread", "\n> > "),
        ("umlaut", "ü"),
        ("emoji", "🙏"),
        ("product and amount", "$"),
    ],
)
def test_email_bodies_have_what_real_ones_have(crm: CrmRecords, what: str, sign: str) -> None:
    """Some bodies, though not all, have addresses, phone numbers, quoted threads, umlauts, emoji and amounts."""
    with_sign = sum(sign in email.body for email in crm.emails)
    assert 0 < with_sign < len(crm.emails), what


def test_no_template_is_left_unfilled(crm: CrmRecords) -> None:
    """Subjects, bodies and notes hold no placeholder; only a prompt injection may have braces."""
    for text in (*(email.subject for email in crm.emails), *(call.notes for call in crm.calls)):
        assert "{" not in text or "###" in text
    for email in crm.emails:
        assert "{account}" not in email.body
        assert email.subject
        assert len(email.body) > 80


def test_voicemail_says_nothing_of_a_talk(crm: CrmRecords) -> None:
    """A call that nobody answered is short and has no notes of a conversation."""
    unanswered = [call for call in crm.calls if call.outcome != "connected"]
    assert unanswered
    assert all(call.duration_seconds <= 40 and len(call.notes) < 30 for call in unanswered)
    assert {call.outcome for call in crm.calls} == {"connected", "voicemail", "no_answer"}


def test_a_day_without_time_zone_is_refused() -> None:
    """`as_of` must have a time zone."""
    with pytest.raises(ValueError, match="time zone"):
        generate_crm(accounts=1, seed=1, as_of=AS_OF.replace(tzinfo=None))


def test_dates_follow_the_day_that_is_given() -> None:
    """The same CRM a year later is the same story with all of its dates moved."""
    later = AS_OF + dt.timedelta(days=365)
    now, then = (generate_crm(accounts=10, seed=2, as_of=day) for day in (AS_OF, later))
    assert [a.name for a in now.accounts] == [a.name for a in then.accounts]
    assert max(email.sent_at for email in then.emails) > AS_OF
