"""Overlay: lay the newer values of a change event over the mirror's record in an account context. Pure.

A value that its field can't hold is ignored: the mirror's value stays.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from schemas.account_context import AccountContext, AccountProfile, Opportunity
from schemas.change_event import ACCOUNT_ENTITY, DELETIONS, EPOCH_MS_2100, WHOLE_RECORDS, AccountChange
from schemas.salesforce_fields import MODIFIED_FIELD
from schemas.salesforce_ids import normalize_record_id

OPPORTUNITY_ENTITY: Final = "Opportunity"
UNKNOWN: Final = "unknown"
"""Name or stage of an opportunity whose event has only the other one."""

_MAX_TEXT: Final = 255  # Salesforce's own limit for all of these fields
_MAX_NUMBER: Final = 10**18 - 1  # currency and numbers have at most 18 digits
_MAX_WHOLE: Final = 99_999_999  # NumberOfEmployees has 8 digits
_FIRST_YEAR: Final = 1000
_LAST_YEAR: Final = 2100
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NAME_PARTS: Final = ("FirstName", "MiddleName", "LastName", "Suffix")
_VALUES_FOR_A_CONTEXT: Final = 2


class _Unusable(ValueError):
    """A value that its field can't hold; the message says what was expected, and does not quote the value."""


Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class _Column:
    """The column of a Salesforce field, and how its value is read; a required one is never emptied."""

    name: str
    read: Reader
    required: bool = False


def overlay(context: AccountContext, change: AccountChange) -> AccountContext:
    """Return the context with the values of the change, if they are at least as new as the mirror's record.

    A change of the account updates the profile, a change of an opportunity that opportunity. Other changes, and older
    ones, leave the context as it is.
    """
    if change.entity_name == ACCOUNT_ENTITY:
        profile = _overlaid_profile(context.profile, change)
        return context if profile is context.profile else context.model_copy(update={"profile": profile})
    if change.entity_name == OPPORTUNITY_ENTITY:
        return _with_opportunity(context, change)
    return context


def context_from_change(change: AccountChange) -> AccountContext | None:
    """Return a context for an account that the mirror lacks, if the change has its name and two values or more.

    Ids do not count, since the prompt leaves them out.
    """
    if change.entity_name != ACCOUNT_ENTITY or change.change_type in DELETIONS:
        return None
    known = _account_values(change)
    informative = [name for name, value in known.items() if name in _INFORMATIVE_COLUMNS and value is not None]
    if known.get("name") is None or len(informative) < _VALUES_FOR_A_CONTEXT:
        return None
    return AccountContext(profile=AccountProfile(account_id=change.account_id, modified_at=known_at(change), **known))


def known_at(change: AccountChange) -> dt.datetime:
    """Return the time as of which the change's values hold: its commit, or the last write of a record read again.

    A gap event has no values of its own. Those it has were read from Salesforce after the event, so its commit time
    would make them look older than they are.
    """
    modified = change.values.get(MODIFIED_FIELD) if change.change_type.is_gap else None
    try:
        return change.committed_at if modified is None else max(change.committed_at, _moment(modified))
    except _Unusable:
        return change.committed_at


def _overlaid_profile(profile: AccountProfile, change: AccountChange) -> AccountProfile:
    if change.change_type in DELETIONS or known_at(change) < profile.modified_at:
        return profile
    known = _account_values(change)
    # The profile is now as of the change, so that an older change that is overlaid later does not win.
    return profile.model_copy(update={**known, "modified_at": known_at(change)}) if known else profile


def _with_opportunity(context: AccountContext, change: AccountChange) -> AccountContext:
    old = next((it for it in context.opportunities if it.opportunity_id == change.record_id), None)
    others = tuple(it for it in context.opportunities if it is not old)
    if old and known_at(change) < old.modified_at:
        return context
    if change.change_type in DELETIONS:
        return context.model_copy(update={"opportunities": others}) if old else context
    known = _values(change, _OPPORTUNITY_COLUMNS)
    if not known:
        return context
    if old:
        new = old.model_copy(update={**known, "modified_at": known_at(change)})
    elif not known.keys() & {"name", "stage"} or _is_behind(context, change):
        return context
    else:
        new = _new_opportunity(change, known)
    return context.model_copy(update={"opportunities": _newest_first((new, *others))})


def _is_behind(context: AccountContext, change: AccountChange) -> bool:
    """Whether the mirror has newer opportunities: then it lacks this one because it was deleted or moved."""
    return any(it.modified_at > known_at(change) for it in context.opportunities)


def _new_opportunity(change: AccountChange, known: Mapping[str, Any]) -> Opportunity:
    # Salesforce sends both flags with the stage that sets them; without them, the standard stage names decide.
    stage = known.get("stage", UNKNOWN)
    defaults = {
        "name": UNKNOWN,
        "stage": stage,
        "is_closed": stage in {"Closed Won", "Closed Lost"},
        "is_won": stage == "Closed Won",
    }
    return Opportunity(
        opportunity_id=change.record_id,
        account_id=change.account_id,
        modified_at=known_at(change),
        **{**defaults, **known},
    )


def _newest_first(opportunities: tuple[Opportunity, ...]) -> tuple[Opportunity, ...]:
    """Sort as account_contexts.sql does: by time, newest first, then by id."""
    by_id = sorted(opportunities, key=lambda it: it.opportunity_id)
    return tuple(sorted(by_id, key=lambda it: it.modified_at, reverse=True))


def _account_values(change: AccountChange) -> dict[str, Any]:
    values = _values(change, _ACCOUNT_COLUMNS)
    if "name" not in values and (name := _person_name(change)):
        values["name"] = name
    return values


def _values(change: AccountChange, columns: Mapping[str, _Column]) -> dict[str, Any]:
    """Return the values of columns that the change has, None where cleared; changed values win over enriched ones."""
    known: dict[str, Any] = {}
    for name in change.nulled_fields:
        # A compound field that was cleared has no parts left.
        cleared = (it for key, it in columns.items() if key == name or key.startswith(f"{name}."))
        known |= {column.name: None for column in cleared if not column.required}
    for name, value in (*change.enriched.items(), *change.values.items()):
        if name not in columns or value is None:
            continue
        try:
            known[columns[name].name] = columns[name].read(value)
        except _Unusable:
            continue
    return known


def _person_name(change: AccountChange) -> str | None:
    """Return a person account's name as Salesforce composes it: first, middle, last, suffix, without salutation.

    None if the event has only one of first and last name: the other one is unknown. Middle name and suffix exist only
    in organisations that switch them on, so they are taken to be empty if the event lacks them.
    """
    told = {**change.enriched, **change.values}
    parts: dict[str, str] = {}
    for part in _NAME_PARTS:
        for name in (f"Name.{part}", part):
            if name in change.nulled_fields:
                parts[part] = ""
            elif told.get(name) is not None:
                try:
                    parts[part] = _text(told[name])
                except _Unusable:
                    return None
    is_complete = change.change_type in WHOLE_RECORDS or "FirstName" in parts
    if not parts.get("LastName") or not is_complete:
        return None
    return " ".join(parts[part] for part in _NAME_PARTS if parts.get(part))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_TEXT:
        raise _Unusable(f"expected text of 1 to {_MAX_TEXT} characters")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise _Unusable("expected text without lone surrogates")
    return value


def _record_id(value: Any) -> str:
    try:
        return normalize_record_id(_text(value))
    except ValueError:
        raise _Unusable("expected a record id") from None


def _number(value: Any, least: int = -_MAX_NUMBER, most: int = _MAX_NUMBER) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Bounds first: an integer of 400 digits is JSON, and no float. NaN is within no bounds.
    if not is_number or not least <= value <= most:
        raise _Unusable(f"expected a number from {least:g} to {most:g}")
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value, 0, _MAX_WHOLE)
    if not number.is_integer():
        raise _Unusable("expected a whole number")
    return int(number)


def _year(value: Any) -> int:
    """Read YearStarted, which Salesforce keeps as text of four digits."""
    is_text = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 4  # noqa: PLR2004 - digits
    year = int(value) if is_text else _whole(value)
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise _Unusable("expected a year of four digits")
    return year


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unusable("expected true or false")
    return value


def _moment(value: Any) -> dt.datetime:
    """Read a date and time: epoch milliseconds of the Pub/Sub API, ISO 8601 of CometD and REST."""
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            raise _Unusable("expected a time in ISO 8601") from None
        if moment.tzinfo is None or not _FIRST_YEAR < moment.year <= _LAST_YEAR:
            raise _Unusable("expected a time with its zone")
        return moment.astimezone(dt.UTC)
    milliseconds = _number(value)
    if not math.fabs(milliseconds) < EPOCH_MS_2100:
        raise _Unusable("expected epoch milliseconds")
    return _EPOCH + dt.timedelta(milliseconds=milliseconds)


def _day(value: Any) -> dt.date:
    """Read a date: epoch milliseconds at midnight UTC, or ISO 8601 with or without a time."""
    if isinstance(value, str) and len(value) == len("2026-03-02"):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise _Unusable("expected a date in ISO 8601") from None
    return _moment(value).date()


_ADDRESS_PARTS: Final = {
    "City": _Column("billing_city", _text),
    "State": _Column("billing_state", _text),
    "PostalCode": _Column("billing_postal_code", _text),
    "Country": _Column("billing_country", _text),
}
_ACCOUNT_COLUMNS: Final[Mapping[str, _Column]] = {
    "Name": _Column("name", _text, required=True),
    "Type": _Column("type", _text),
    "Industry": _Column("industry", _text),
    "AnnualRevenue": _Column("annual_revenue", partial(_number, least=0)),
    "NumberOfEmployees": _Column("number_of_employees", _whole),
    "Rating": _Column("rating", _text),
    "Ownership": _Column("ownership", _text),
    "AccountSource": _Column("account_source", _text),
    "Website": _Column("website", _text),
    "ParentId": _Column("parent_id", _record_id),
    "OwnerId": _Column("owner_id", _record_id),
    "YearStarted": _Column("year_started", _year),
    "CreatedDate": _Column("created_at", _moment),
    **{f"BillingAddress.{part}": column for part, column in _ADDRESS_PARTS.items()},
    # Names in Kafka connectors and in REST, which flatten compound fields.
    **{f"Billing{part}": column for part, column in _ADDRESS_PARTS.items()},
}
_OPPORTUNITY_COLUMNS: Final[Mapping[str, _Column]] = {
    "Name": _Column("name", _text, required=True),
    "StageName": _Column("stage", _text, required=True),
    "Amount": _Column("amount", _number),
    "Probability": _Column("probability", partial(_number, least=0, most=100)),
    "CloseDate": _Column("closed_on", _day),
    "IsClosed": _Column("is_closed", _flag, required=True),
    "IsWon": _Column("is_won", _flag, required=True),
}
_INFORMATIVE_COLUMNS: Final = {it.name for it in _ACCOUNT_COLUMNS.values()} - {
    "name",
    "parent_id",
    "owner_id",
    "created_at",
}
