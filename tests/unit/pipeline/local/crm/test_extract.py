"""The Maven CRM extract as records and change events; against the real one where it is at hand."""

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from pipeline.local.crm.change_events import JsonObject
from pipeline.local.crm.extract import extract_change_events, load_crm_extract
from pipeline.local.crm.extract_rows import CrmExtractError
from pipeline.local.crm.records import CrmRecords
from schemas.salesforce_ids import normalize_account_id, normalize_record_id
from tests.fixtures.closed_deals import closed_deals

SMALL: Final = {
    "accounts.csv": """\
account,sector,year_established,revenue,employees,office_location,subsidiary_of
Anvil,technolgy,1996,1100.04,2822,United States,
Bolt,medical,1999,0.5,9,Philipines,Anvil
Nut,retail,2001,2,30,Kenya,
""",
    "products.csv": "product,series,sales_price\nGTX Pro,GTX,4821\nMG Special,MG,55\n",
    "sales_teams.csv": "sales_agent,manager,regional_office\nMoses Frase,Dustin Brinkmann,Central\n",
    "sales_pipeline.csv": """\
opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value
AAAA1111,Moses Frase,GTXPro,Anvil,Won,2017-01-02,2017-03-01,4514
BBBB2222,Moses Frase,MG Special,Anvil,Lost,2017-01-02,2017-01-02,0
CCCC3333,Moses Frase,MG Special,,Engaging,2017-02-01,,
DDDD4444,Moses Frase,MG Special,Bolt,Prospecting,,,
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small extract, to be corrupted."""
    for name, text in SMALL.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def real(crm_extract: Path) -> CrmRecords:
    """The real extract's records."""
    return load_crm_extract(crm_extract)


def spoil(folder: Path, file: str, old: str, new: str) -> None:
    """Replace text in a file of the extract, which must be there."""
    text = (folder / file).read_text("utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")


def header_of(event: JsonObject) -> JsonObject:
    """The ChangeEventHeader."""
    header: JsonObject = event["payload"]["ChangeEventHeader"]
    return header


def test_misspelt_values_are_put_right(folder: Path) -> None:
    """Sector "technolgy", product "GTXPro" and country "Philipines" are corrected."""
    crm = load_crm_extract(folder)
    assert [account.industry for account in crm.accounts] == ["Technology", "Medical", "Retail"]
    assert crm.accounts[1].billing_country == "Philippines"
    assert crm.opportunities[0].product == "GTX Pro"


def test_revenue_is_in_dollars(folder: Path) -> None:
    """Revenue is in millions in the extract, and in dollars in the records."""
    assert [account.annual_revenue for account in load_crm_extract(folder).accounts] == [1_100_040_000, 500_000, 2e6]


def test_a_subsidiary_names_its_parent(folder: Path) -> None:
    """`subsidiary_of` becomes the id of the account that it names."""
    anvil, bolt, _ = load_crm_extract(folder).accounts
    assert (anvil.parent_id, bolt.parent_id) == (None, anvil.account_id)


def test_stages_become_those_of_salesforce(folder: Path) -> None:
    """Stage, probability, flags and amount follow from `deal_stage`; an open one is worth its list price."""
    facts = [(d.stage, d.probability, d.is_closed, d.is_won, d.amount) for d in load_crm_extract(folder).opportunities]
    assert facts == [
        ("Closed Won", 100.0, True, True, 4514.0),
        ("Closed Lost", 0.0, True, False, 0.0),
        ("Value Proposition", 50.0, False, False, 55.0),
        ("Prospecting", 10.0, False, False, 55.0),
    ]


def test_an_opportunity_without_account_stays_without(folder: Path) -> None:
    """An empty account is valid, and becomes None."""
    assert [deal.account_id is None for deal in load_crm_extract(folder).opportunities] == [False, False, True, False]


def test_a_record_was_written_when_something_last_happened_to_it(folder: Path) -> None:
    """Closes and engagements date a record; a record without dates has the date of the extract."""
    crm = load_crm_extract(folder)
    assert [deal.modified_at.date().isoformat() for deal in crm.opportunities] == [
        "2017-03-01",
        "2017-01-02",
        "2017-02-01",
        "2017-03-01",
    ]
    assert crm.accounts[0].modified_at == crm.opportunities[0].modified_at
    assert crm.accounts[2].modified_at == dt.datetime(2017, 3, 1, 23, 59, 59, tzinfo=dt.UTC)
    assert [account.type for account in crm.accounts] == ["Customer", "Prospect", "Prospect"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(folder: Path) -> None:
    """Files that a spreadsheet saved as "CSV UTF-8" are read."""
    (folder / "accounts.csv").write_text(SMALL["accounts.csv"], encoding="utf-8-sig")
    assert len(load_crm_extract(folder).accounts) == 3


@pytest.mark.parametrize("file", sorted(SMALL))
def test_a_missing_file_is_named_with_what_the_folder_must_hold(folder: Path, file: str) -> None:
    """The error names the file, and the four expected files."""
    (folder / file).unlink()
    with pytest.raises(CrmExtractError, match=rf"{file} is missing: give the folder .*sales_teams\.csv"):
        load_crm_extract(folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("accounts.csv", "employees,", "staff,", r"accounts\.csv line 1: column employees is missing: the first line"),
        ("accounts.csv", "2822", "many", r"accounts\.csv line 2: employees: .*integer"),
        ("accounts.csv", "1100.04", "nan", r"accounts\.csv line 2: revenue: .*finite"),
        ("accounts.csv", "2822", "-1", r"accounts\.csv line 2: employees: .*greater than or equal to 0"),
        ("accounts.csv", "Bolt,medical", "Anvil,medical", r"line 3: account 'Anvil' is there twice: remove"),
        ("accounts.csv", ",Anvil\n", ",Hammer\n", r"accounts\.csv line 3: subsidiary_of 'Hammer' is not in accounts"),
        ("accounts.csv", "United States,\n", "United States\n", r"accounts\.csv line 2: expected as many cells as"),
        ("accounts.csv", "United States,\n", "Reno, Nevada,\n", r"accounts\.csv line 2: expected as many cells as"),
        ("products.csv", ",55", ",free", r"products\.csv line 3: sales_price"),
        (
            "sales_pipeline.csv",
            "2017-03-01",
            "2017-13-01",
            r"line 2: close_date: '2017-13-01' is not a date",
        ),
        ("sales_pipeline.csv", "2017-03-01", "1488326400", r"line 2: close_date: '1488326400' is not a date"),
        ("sales_pipeline.csv", "2017-03-01", "2016-03-01", r"line 2: close_date 2016-03-01 is before engage_date"),
        ("sales_pipeline.csv", "2017-03-01,4514", ",4514", r"line 2: deal_stage is Won: fill close_date"),
        (
            "sales_pipeline.csv",
            "Engaging,2017-02-01",
            "Engaging,",
            r"line 4: engage_date is empty, .*write Prospecting",
        ),
        ("sales_pipeline.csv", "Won", "Woon", r"line 2: deal_stage: .*'Won', 'Lost', 'Engaging' or 'Prospecting'"),
        ("sales_pipeline.csv", "Pro,Anvil", "Pro,Hammer", r"line 2: account 'Hammer' is not in accounts\.csv: add it"),
        ("sales_pipeline.csv", "GTXPro", "GTX 9", r"line 2: product 'GTX 9' is not in products\.csv"),
        ("sales_pipeline.csv", "Frase,GTX", "Phrase,GTX", r"line 2: sales_agent 'Moses Phrase' is not in sales_teams"),
        ("sales_pipeline.csv", "BBBB2222", "AAAA1111", r"line 3: opportunity AAAA1111 is there twice"),
    ],
)
def test_a_wrong_value_is_named_by_file_line_and_remedy(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    """The error names the place and the correction."""
    spoil(folder, file, old, new)
    with pytest.raises(CrmExtractError, match=message):
        load_crm_extract(folder)


def test_a_file_in_another_encoding_is_refused(folder: Path) -> None:
    """Latin-1 is refused: the error says to save as UTF-8."""
    (folder / "accounts.csv").write_bytes(SMALL["accounts.csv"].replace("Nut", "Nüt").encode("latin-1"))
    with pytest.raises(CrmExtractError, match=r"accounts\.csv is not UTF-8 at byte \d+: save it as UTF-8"):
        load_crm_extract(folder)


def test_an_extract_without_any_date_is_refused(folder: Path) -> None:
    """An extract without any date is refused."""
    header, *_, last = SMALL["sales_pipeline.csv"].splitlines()
    (folder / "sales_pipeline.csv").write_text(f"{header}\n{last}\n", encoding="utf-8")
    with pytest.raises(CrmExtractError, match="no opportunity has a date"):
        load_crm_extract(folder)


def test_engagements_and_closes_become_events_in_time_order(folder: Path) -> None:
    """CREATE at the engagement, UPDATE at the close; one closed on its first day is created before it is closed."""
    events = list(extract_change_events(folder))
    crm = load_crm_extract(folder)
    won, lost, engaging, _ = (deal.opportunity_id for deal in crm.opportunities)
    steps = [(header_of(event)["recordIds"][0], header_of(event)["changeType"]) for event in events]
    assert sorted(steps) == sorted(
        [(won, "CREATE"), (won, "UPDATE"), (lost, "CREATE"), (lost, "UPDATE"), (engaging, "CREATE")]
    )
    times = [header_of(event)["commitTimestamp"] for event in events]
    assert times[steps.index((lost, "CREATE"))] < times[steps.index((lost, "UPDATE"))]
    assert times == sorted(times)


def test_a_close_lists_what_it_changed_and_names_its_account_unchanged(folder: Path) -> None:
    """AccountId is an enriched value: in the body, not among the changed fields."""
    crm = load_crm_extract(folder)
    close = next(
        event for event in extract_change_events(crm) if header_of(event)["changedFields"] and event["payload"]["IsWon"]
    )
    assert header_of(close)["changedFields"] == [
        "StageName",
        "IsClosed",
        "IsWon",
        "CloseDate",
        "Amount",
        "Probability",
        "LastModifiedDate",
    ]
    assert header_of(close)["nulledFields"] == []
    payload = close["payload"]
    assert payload["AccountId"] == crm.accounts[0].account_id
    assert (payload["StageName"], payload["Amount"], payload["CloseDate"]) == ("Closed Won", 4514.0, 1488326400000)
    assert payload["Name"] is None


def test_an_event_of_an_opportunity_without_account_names_none(folder: Path) -> None:
    """AccountId is null, and no list of fields names it."""
    engaging = [event for event in extract_change_events(folder) if event["payload"]["AccountId"] is None]
    assert len(engaging) == 1
    assert engaging[0]["payload"]["StageName"] == "Value Proposition"
    assert header_of(engaging[0])["nulledFields"] == header_of(engaging[0])["changedFields"] == []


def test_the_real_extract_loads_whole(real: CrmRecords) -> None:
    """85 accounts and 8,800 opportunities, 1,425 of them without account, with valid ids that don't collide."""
    assert (len(real.accounts), len(real.opportunities)) == (85, 8800)
    assert sum(deal.account_id is None for deal in real.opportunities) == 1425
    account_ids = [account.account_id for account in real.accounts]
    assert [normalize_account_id(account_id) for account_id in account_ids] == account_ids
    assert len(set(account_ids)) == 85
    assert len({normalize_record_id(deal.opportunity_id) for deal in real.opportunities}) == 8800
    assert {deal.account_id for deal in real.opportunities} == {None, *account_ids}
    assert Counter(deal.stage for deal in real.opportunities) == {
        "Closed Won": 4238,
        "Closed Lost": 2473,
        "Value Proposition": 1589,
        "Prospecting": 500,
    }
    assert {deal.product for deal in real.opportunities} >= {"GTX Pro"}
    assert not {deal.product for deal in real.opportunities} & {"GTXPro"}


def test_the_real_extract_implies_its_events(real: CrmRecords) -> None:
    """8,300 engagements and 6,711 closes, in time order within business hours, no transaction or event id twice."""
    events = list(extract_change_events(real))
    headers = [header_of(event) for event in events]
    assert Counter(header["changeType"] for header in headers) == {"CREATE": 8300, "UPDATE": 6711}
    assert len({header["transactionKey"] for header in headers}) == len(events)
    assert len({event["id"] for event in events}) == len(events)
    moments = [dt.datetime.fromtimestamp(header["commitTimestamp"] / 1000, dt.UTC) for header in headers]
    assert moments == sorted(moments)
    assert all(8 <= moment.hour < 18 for moment in moments)
    assert [event["replayId"] for event in events] == sorted({event["replayId"] for event in events})


def test_the_real_events_are_the_same_on_every_run(real: CrmRecords, crm_extract: Path) -> None:
    """From the folder or from its records, and however often: the same events."""
    assert list(extract_change_events(real)) == list(extract_change_events(crm_extract))


def test_a_real_records_last_write_is_its_last_event(real: CrmRecords) -> None:
    """The mirror and the events have the same time for a change."""
    last = {header_of(event)["recordIds"][0]: header_of(event) for event in extract_change_events(real)}
    dated = [deal for deal in real.opportunities if deal.engaged_on]
    assert dated
    for deal in dated:
        assert last[deal.opportunity_id]["commitTimestamp"] == deal.modified_at.timestamp() * 1000


def test_as_of_a_day_nothing_of_later_is_known(folder: Path) -> None:
    """Deals that were engaged later are not there; those that closed later are open, as any other open deal is."""
    day = dt.date(2017, 1, 31)
    crm = load_crm_extract(folder, as_of=day)
    deals = {deal.name: deal for deal in crm.opportunities}
    assert set(deals) == {"Anvil - GTX Pro", "Anvil - MG Special"}
    open_deal = deals["Anvil - GTX Pro"]
    assert (open_deal.stage, open_deal.is_closed, open_deal.is_won) == ("Value Proposition", False, False)
    assert (open_deal.closed_on, open_deal.probability, open_deal.amount) == (None, 50.0, 4821.0)
    assert deals["Anvil - MG Special"].stage == "Closed Lost"
    assert [account.type for account in crm.accounts] == ["Prospect"] * 3
    end = dt.datetime.combine(day, dt.time(23, 59, 59), dt.UTC)
    assert max(it.modified_at for it in crm.accounts) <= end
    assert max(it.modified_at for it in crm.opportunities) <= end
    assert [deal.closed_on for deal in closed_deals(folder, after=day)] == [dt.date(2017, 3, 1)]
    assert not list(closed_deals(folder, after=dt.date(2017, 3, 1)))


def test_what_is_known_does_not_depend_on_what_comes(folder: Path) -> None:
    """Won or lost, at whatever price and day, or never: as of a day before, the records are the same."""
    day = dt.date(2017, 1, 31)
    before = load_crm_extract(folder, as_of=day)
    spoil(folder, "sales_pipeline.csv", "Won,2017-01-02,2017-03-01,4514", "Lost,2017-01-02,2017-12-30,0")
    assert load_crm_extract(folder, as_of=day) == before
    spoil(folder, "sales_pipeline.csv", "CCCC3333,Moses Frase,MG Special,,Engaging,2017-02-01,,\n", "")
    assert load_crm_extract(folder, as_of=day) == before


def test_nothing_of_the_real_extract_leaks(crm_extract: Path) -> None:
    """As of the middle of 2017 no date of a record is later, and no open deal differs from one that never closed."""
    day = dt.date(2017, 6, 30)
    crm = load_crm_extract(crm_extract, as_of=day)
    for deal in crm.opportunities:
        assert deal.engaged_on is not None
        assert deal.engaged_on <= day
        assert deal.closed_on is None or deal.closed_on <= day
        if not deal.is_closed:
            assert (deal.stage, deal.probability, deal.is_won) == ("Value Proposition", 50.0, False)
    later = {deal.opportunity_id for deal in closed_deals(crm_extract, after=day)}
    known_closed = {deal.opportunity_id for deal in crm.opportunities if deal.is_closed}
    assert later
    assert known_closed
    assert not later & known_closed
