"""The Maven CRM extract (accounts, products, pipeline, teams as CSV) as CRM records, and as the events it implies.

The extract has the days of an opportunity's engagement and close. The time within the business day is derived from the
opportunity's id, so it is the same on every run, and in the records and the events.
"""

import datetime as dt
import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipeline.local.crm import record_ids
from pipeline.local.crm.change_events import Commit, JsonObject, flat_event
from pipeline.local.crm.extract_rows import (
    ACCOUNTS_CSV,
    PIPELINE_CSV,
    PRODUCTS_CSV,
    TEAMS_CSV,
    AccountRow,
    CrmExtractError,
    PipelineRow,
    ProductRow,
    TeamRow,
    read_rows,
)
from pipeline.local.crm.record_ids import named_record_id
from pipeline.local.crm.records import CrmRecords
from schemas.account_context import AccountProfile, Opportunity
from schemas.change_event import ChangeType

STAGES: Final = {
    "Prospecting": ("Prospecting", 10.0),
    "Engaging": ("Value Proposition", 50.0),
    "Won": ("Closed Won", 100.0),
    "Lost": ("Closed Lost", 0.0),
}
"""Salesforce's stage and default probability for each `deal_stage`."""

_BUSINESS_DAY_STARTS: Final = 8 * 3600
_BUSINESS_DAY_SECONDS: Final = 10 * 3600
_MILLION: Final = 1_000_000
_FIRST_REPLAY_ID: Final = 1_000_001
_NAMESPACE: Final = uuid.UUID("0b8f1f0e-8b1a-4c53-9c0a-5d2e3a7f4b61")


def load_crm_extract(folder: Path, *, as_of: dt.date | None = None) -> CrmRecords:
    """Read the extract's folder; it has no emails and calls.

    Args:
        folder: Folder of the CSV files.
        as_of: Return the state at the end of this day; None: when the extract was taken.

    Raises:
        CrmExtractError: A file, column or value is missing or invalid; the message names file, line and correction.
    """
    prices = {row.product: row.sales_price for _, row in read_rows(folder / PRODUCTS_CSV, ProductRow)}
    agents = {row.sales_agent for _, row in read_rows(folder / TEAMS_CSV, TeamRow)}
    accounts = _account_rows(folder / ACCOUNTS_CSV)
    deals = _pipeline_rows(folder / PIPELINE_CSV, accounts=set(accounts), products=set(prices), agents=agents)
    if as_of:
        deals = [known for deal in deals if (known := _as_known(deal, as_of))]
    taken_on = as_of or max((day for deal in deals for day in (deal.engage_date, deal.close_date) if day), default=None)
    if taken_on is None:
        raise CrmExtractError(f"{folder / PIPELINE_CSV}: no opportunity has a date: export those engaged as well")
    taken_at = dt.datetime.combine(taken_on, dt.time(23, 59, 59), dt.UTC)
    by_account: defaultdict[str | None, list[PipelineRow]] = defaultdict(list)
    for deal in deals:
        by_account[deal.account].append(deal)
    return CrmRecords(
        accounts=tuple(_account(row, by_account[row.account], taken_at) for row in accounts.values()),
        opportunities=tuple(_opportunity(deal, prices[deal.product], taken_at) for deal in deals),
    )


def _as_known(deal: PipelineRow, day: dt.date) -> PipelineRow | None:
    """Return an opportunity as of the end of a day, or None if it was not engaged yet.

    One without dates may have come later: None as well.
    """
    if deal.engage_date is None or deal.engage_date > day:
        return None
    if deal.close_date is None or deal.close_date <= day:
        return deal
    return deal.model_copy(update={"deal_stage": "Engaging", "close_date": None, "close_value": None})


def extract_change_events(source: Path | CrmRecords) -> Iterator[JsonObject]:
    """Yield each opportunity's engagement (CREATE) and close (UPDATE) in time order, flat as the Pub/Sub API's.

    The extract has no amount before the close, so a CREATE has none. An opportunity that is not engaged yields nothing.

    Raises:
        CrmExtractError: The source is a folder that can't be read.
    """
    crm = load_crm_extract(source) if isinstance(source, Path) else source
    changes = [change for deal in crm.opportunities for change in _changes(deal)]
    changes.sort(key=lambda change: (change[0], change[1].opportunity_id))
    for replay_id, (moment, deal, change_type) in enumerate(changes, start=_FIRST_REPLAY_ID):
        yield _event(deal, moment, change_type, replay_id)


def _changes(deal: Opportunity) -> Iterator[tuple[dt.datetime, Opportunity, ChangeType]]:
    engaged_at = _engaged_at(deal.opportunity_id, deal.engaged_on)
    closed_at = _closed_at(deal.opportunity_id, deal.engaged_on, deal.closed_on) if deal.is_closed else None
    if engaged_at is not None:
        yield engaged_at, deal, ChangeType.CREATE
    if closed_at is not None:
        yield closed_at, deal, ChangeType.UPDATE


def _account_rows(file: Path) -> dict[str, AccountRow]:
    rows: dict[str, AccountRow] = {}
    lines: dict[str, int] = {}
    for line, row in read_rows(file, AccountRow):
        if row.account in rows:
            raise CrmExtractError(f"{file} line {line}: account {row.account!r} is there twice: remove one line")
        rows[row.account], lines[row.account] = row, line
    for row in rows.values():
        if row.subsidiary_of is not None and row.subsidiary_of not in rows:
            raise CrmExtractError(_unknown(file, lines[row.account], "subsidiary_of", row.subsidiary_of, ACCOUNTS_CSV))
    return rows


def _pipeline_rows(file: Path, *, accounts: set[str], products: set[str], agents: set[str]) -> list[PipelineRow]:
    rows: dict[str, PipelineRow] = {}
    for line, row in read_rows(file, PipelineRow):
        if row.account is not None and row.account not in accounts:
            raise CrmExtractError(_unknown(file, line, "account", row.account, ACCOUNTS_CSV))
        if row.product not in products:
            raise CrmExtractError(_unknown(file, line, "product", row.product, PRODUCTS_CSV))
        if row.sales_agent not in agents:
            raise CrmExtractError(_unknown(file, line, "sales_agent", row.sales_agent, TEAMS_CSV))
        if row.opportunity_id in rows:
            raise CrmExtractError(f"{file} line {line}: opportunity {row.opportunity_id} is there twice: remove one")
        rows[row.opportunity_id] = row
    return list(rows.values())


def _unknown(file: Path, line: int, column: str, value: str, home: str) -> str:
    return f"{file} line {line}: {column} {value!r} is not in {home}: add it there, or correct this line"


def _account(row: AccountRow, deals: list[PipelineRow], taken_at: dt.datetime) -> AccountProfile:
    """Return the account: created when it was first engaged, last written when one of its opportunities was."""
    engaged = [deal.engage_date for deal in deals if deal.engage_date]
    written = [_modified_at(deal, taken_at) for deal in deals if deal.engage_date]
    agents = Counter(deal.sales_agent for deal in deals)
    return AccountProfile(
        account_id=named_record_id(record_ids.ACCOUNT, row.account),
        name=row.account,
        type="Customer" if any(deal.deal_stage == "Won" for deal in deals) else "Prospect",
        industry=row.sector.capitalize(),
        annual_revenue=round(row.revenue * _MILLION, 2),
        number_of_employees=row.employees,
        ownership="Subsidiary" if row.subsidiary_of else None,
        parent_id=named_record_id(record_ids.ACCOUNT, row.subsidiary_of) if row.subsidiary_of else None,
        owner_id=named_record_id(record_ids.USER, agents.most_common(1)[0][0]) if agents else None,
        billing_country=row.office_location,
        year_started=row.year_established,
        created_at=dt.datetime.combine(min(engaged), dt.time(), dt.UTC) if engaged else None,
        modified_at=max(written, default=taken_at),
    )


def _opportunity(deal: PipelineRow, list_price: float, taken_at: dt.datetime) -> Opportunity:
    """Return the opportunity; while it is open, its amount is the product's list price."""
    stage, probability = STAGES[deal.deal_stage]
    opportunity_id = named_record_id(record_ids.OPPORTUNITY, deal.opportunity_id)
    return Opportunity(
        opportunity_id=opportunity_id,
        account_id=named_record_id(record_ids.ACCOUNT, deal.account) if deal.account else None,
        name=f"{deal.account or 'Account unknown'} - {deal.product}",
        stage=stage,
        amount=deal.close_value if deal.is_closed else list_price,
        probability=probability,
        is_closed=deal.is_closed,
        is_won=deal.deal_stage == "Won",
        product=deal.product,
        owner=deal.sales_agent,
        engaged_on=deal.engage_date,
        closed_on=deal.close_date,
        modified_at=_modified_at(deal, taken_at),
    )


def _modified_at(deal: PipelineRow, taken_at: dt.datetime) -> dt.datetime:
    """Return the time of the opportunity's last event; without events, when the extract was taken."""
    opportunity_id = named_record_id(record_ids.OPPORTUNITY, deal.opportunity_id)
    closed_at = _closed_at(opportunity_id, deal.engage_date, deal.close_date)
    return closed_at or _engaged_at(opportunity_id, deal.engage_date) or taken_at


def _engaged_at(opportunity_id: str, engaged_on: dt.date | None) -> dt.datetime | None:
    return _business_moment(engaged_on, opportunity_id) if engaged_on else None


def _closed_at(opportunity_id: str, engaged_on: dt.date | None, closed_on: dt.date | None) -> dt.datetime | None:
    engaged_at = _engaged_at(opportunity_id, engaged_on)
    if engaged_at is None or closed_on is None:
        return None
    # Closed after it was engaged, also on the same day.
    return max(_business_moment(closed_on, opportunity_id), engaged_at + dt.timedelta(seconds=1))


def _business_moment(day: dt.date, record_id: str) -> dt.datetime:
    """Return a time within the business day, derived from the record's id and the day."""
    drawn = int.from_bytes(hashlib.sha256(f"{record_id}/{day}".encode()).digest()[:8], "big")
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    return midnight + dt.timedelta(seconds=_BUSINESS_DAY_STARTS + drawn % _BUSINESS_DAY_SECONDS)


def _event(deal: Opportunity, moment: dt.datetime, change_type: ChangeType, replay_id: int) -> JsonObject:
    owner_id = named_record_id(record_ids.USER, deal.owner or "")
    of_account = {"AccountId": deal.account_id}
    is_new = change_type is ChangeType.CREATE
    return flat_event(
        entity="Opportunity",
        record_ids=[deal.opportunity_id],
        change_type=change_type,
        commit=Commit(
            committed_at=moment,
            transaction_key=str(uuid.uuid5(_NAMESPACE, f"{deal.opportunity_id}/{change_type}")),
            user_id=owner_id,
        ),
        replay_id=replay_id,
        changes=of_account | _engaged_fields(deal, moment, owner_id) if is_new else _closed_fields(deal, moment),
        enriched=None if is_new else of_account,
    )


def _engaged_fields(deal: Opportunity, moment: dt.datetime, owner_id: str) -> dict[str, Any]:
    stage, probability = STAGES["Engaging"]
    return {
        "Name": deal.name,
        "StageName": stage,
        "Probability": probability,
        "IsClosed": False,
        "IsWon": False,
        "Product__c": deal.product,
        "OwnerId": owner_id,
        "CreatedDate": moment,
        "CreatedById": owner_id,
        "LastModifiedDate": moment,
        "LastModifiedById": owner_id,
    }


def _closed_fields(deal: Opportunity, moment: dt.datetime) -> dict[str, Any]:
    return {
        "StageName": deal.stage,
        "IsClosed": True,
        "IsWon": deal.is_won,
        "CloseDate": deal.closed_on,
        "Amount": deal.amount,
        "Probability": deal.probability,
        "LastModifiedDate": moment,
    }
