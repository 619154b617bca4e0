"""The context overlay: what an event brings is newer than the warehouse's mirror, and takes its place in the context.

Pure. A value that is not of its field's type is left out, and the warehouse's stays; `unusable_values` tells which.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.account_context import AccountContext, AccountProfile, Opportunity
from schemas.change_event import ACCOUNT_ENTITY, EPOCH_MS_2100, AccountChange, ChangeType
from schemas.salesforce_ids import normalize_record_id

OPPORTUNITY_ENTITY: Final = "Opportunity"
MODIFIED_FIELD: Final = "SystemModstamp"
"""Carried by a record that was read again: when Salesforce last wrote it. Change events have no such field."""

UNKNOWN: Final = "unknown"
"""Name or stage of an opportunity of which the event tells only the other."""

_MAX_TEXT: Final = 255  # Salesforce's own limit for all of these fields
_MAX_NUMBER: Final = 1e18  # currency and numbers have at most 18 digits
_MAX_WHOLE: Final = 99_999_999  # NumberOfEmployees has 8 digits
_FIRST_YEAR: Final = 1000
_LAST_YEAR: Final = 2100
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DELETIONS: Final = frozenset({ChangeType.DELETE, ChangeType.GAP_DELETE})
_WHOLE_RECORD: Final = frozenset({ChangeType.CREATE, ChangeType.UNDELETE})
_FACTS_FOR_A_CONTEXT: Final = 2


class _Unusable(ValueError):
    """A value that its field can't hold; the message names what is wanted, never the value."""


Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class _Column:
    """Where a Salesforce field's value goes, and how it is read; a required one is never emptied."""

    name: str
    read: Reader
    required: bool = False


@dataclass
class _Reading:
    """Values of columns as the event tells them (None: cleared), and Salesforce fields that can't be used, with why."""

    known: dict[str, Any] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)


def overlay(context: AccountContext, change: AccountChange) -> AccountContext:
    """Return the context with what the change tells, where that is at least as new as the warehouse's record.

    A change of the account alters the profile, a change of an opportunity that opportunity; other changes, and older
    ones, leave the context as it is.
    """
    if change.entity_name == ACCOUNT_ENTITY:
        profile = _overlaid_profile(context.profile, change)
        return context if profile is context.profile else context.model_copy(update={"profile": profile})
    if change.entity_name == OPPORTUNITY_ENTITY:
        return _with_opportunity(context, change)
    return context


def context_from_change(change: AccountChange) -> AccountContext | None:
    """Return the context of an account that the warehouse lacks, if the change tells its name and two facts or more.

    Ids count for nothing: the prompt leaves them out, so they tell nothing of the account.
    """
    if change.entity_name != ACCOUNT_ENTITY or change.change_type in _DELETIONS:
        return None
    known = _account_reading(change).known
    facts = [name for name, value in known.items() if name in _PROFILE_FACTS and value is not None]
    if known.get("name") is None or len(facts) < _FACTS_FOR_A_CONTEXT:
        return None
    return AccountContext(profile=AccountProfile(account_id=change.account_id, modified_at=known_at(change), **known))


def unusable_values(change: AccountChange) -> dict[str, str]:
    """Return the Salesforce fields whose values `overlay` leaves out, each with what its value should have been."""
    if change.entity_name == ACCOUNT_ENTITY:
        return _account_reading(change).unusable
    return _read(change, _OPPORTUNITY_COLUMNS).unusable if change.entity_name == OPPORTUNITY_ENTITY else {}


def known_at(change: AccountChange) -> dt.datetime:
    """Return when the change's values were true: at its commit or, of a record read again, at that record's last write.

    A gap event brings no values. Those it has come from Salesforce, read after the event, so that the time of its
    commit would make them look older than they are.
    """
    modified = change.values.get(MODIFIED_FIELD) if change.change_type.is_gap else None
    try:
        return change.committed_at if modified is None else max(change.committed_at, _moment(modified))
    except _Unusable:
        return change.committed_at  # nothing says that the values are newer than that


def _overlaid_profile(profile: AccountProfile, change: AccountChange) -> AccountProfile:
    if change.change_type in _DELETIONS or known_at(change) < profile.modified_at:
        return profile
    known = _account_reading(change).known
    # The profile is now as of the change: an older one that is overlaid later must find it newer.
    return profile.model_copy(update={**known, "modified_at": known_at(change)}) if known else profile


def _with_opportunity(context: AccountContext, change: AccountChange) -> AccountContext:
    old = next((it for it in context.opportunities if it.opportunity_id == change.record_id), None)
    others = tuple(it for it in context.opportunities if it is not old)
    if old and change.committed_at < old.modified_at:
        return context
    if change.change_type in _DELETIONS:
        return context.model_copy(update={"opportunities": others}) if old else context
    known = _read(change, _OPPORTUNITY_COLUMNS).known
    if not known:
        return context
    if old:
        new = old.model_copy(update={**known, "modified_at": change.committed_at})
    elif not known.keys() & {"name", "stage"} or _is_behind(context, change):
        return context
    else:
        new = _new_opportunity(change, known)
    return context.model_copy(update={"opportunities": _newest_first((new, *others))})


def _is_behind(context: AccountContext, change: AccountChange) -> bool:
    """Whether the warehouse has seen newer opportunities, so that it lacks this one for a reason: deleted, or moved."""
    return any(it.modified_at > change.committed_at for it in context.opportunities)


def _new_opportunity(change: AccountChange, known: Mapping[str, Any]) -> Opportunity:
    # Salesforce sends both flags with the stage that sets them; without them the standard stages tell.
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
        modified_at=change.committed_at,
        **{**defaults, **known},
    )


def _newest_first(opportunities: tuple[Opportunity, ...]) -> tuple[Opportunity, ...]:
    """Sort as the warehouse's query does: by time downwards, then by id."""
    by_id = sorted(opportunities, key=lambda it: it.opportunity_id)
    return tuple(sorted(by_id, key=lambda it: it.modified_at, reverse=True))


def _account_reading(change: AccountChange) -> _Reading:
    reading = _read(change, _ACCOUNT_COLUMNS)
    if "name" not in reading.known:
        _read_person_name(change, reading)
    return reading


def _read(change: AccountChange, columns: Mapping[str, _Column]) -> _Reading:
    """Read what the change tells of the columns; changed values come after those that are merely carried."""
    reading = _Reading()
    for name in change.nulled_fields:
        # A compound field that was cleared has no parts left.
        cleared = (it for key, it in columns.items() if key == name or key.startswith(f"{name}."))
        reading.known |= {column.name: None for column in cleared if not column.required}
    for name, value in (*change.enriched.items(), *change.values.items()):
        if name not in columns or value is None:
            continue
        try:
            reading.known[columns[name].name] = columns[name].read(value)
        except _Unusable as error:
            reading.unusable[name] = str(error)
    return reading


def _read_person_name(change: AccountChange, reading: _Reading) -> None:
    """Put a person account's name together as Salesforce does: first, middle, last, suffix, and no salutation.

    Where the event tells only one of first and last name, the other is unknown and so is the whole. Middle name and
    suffix are for organisations that switch them on: unless told, they are taken to be empty.
    """
    told = {**change.enriched, **change.values}
    parts: dict[str, str] = {}
    for part in ("FirstName", "MiddleName", "LastName", "Suffix"):
        for name in (f"Name.{part}", part):
            if name in change.nulled_fields:
                parts[part] = ""
            elif told.get(name) is not None:
                try:
                    parts[part] = _text(told[name])
                except _Unusable as error:
                    reading.unusable[name] = str(error)
                    return
    is_complete = change.change_type in _WHOLE_RECORD or "FirstName" in parts
    if parts.get("LastName") and is_complete:
        whole = (parts.get(part) for part in ("FirstName", "MiddleName", "LastName", "Suffix"))
        reading.known["name"] = " ".join(part for part in whole if part)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_TEXT:
        raise _Unusable(f"text of 1 to {_MAX_TEXT} characters is wanted")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise _Unusable("text without lone surrogates is wanted")
    return value


def _record_id(value: Any) -> str:
    try:
        return normalize_record_id(_text(value))
    except ValueError:
        raise _Unusable("a record id is wanted") from None


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Bounds first: an integer of 400 digits is JSON, and no float. NaN is within no bounds.
    if not is_number or not -_MAX_NUMBER < value < _MAX_NUMBER:
        raise _Unusable("a finite number of at most 18 digits is wanted")
    return float(value)


def _positive(value: Any) -> float:
    number = _number(value)
    if number < 0:
        raise _Unusable("a number of 0 or more is wanted")
    return number


def _percent(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 100:  # noqa: PLR2004 - a percentage
        raise _Unusable("a number from 0 to 100 is wanted")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer() or not 0 <= number <= _MAX_WHOLE:
        raise _Unusable(f"a whole number from 0 to {_MAX_WHOLE} is wanted")
    return int(number)


def _year(value: Any) -> int:
    """Read YearStarted, which is text of four digits in Salesforce."""
    is_text = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 4  # noqa: PLR2004 - digits
    year = int(value) if is_text else _whole(value)
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise _Unusable("a year of four digits is wanted")
    return year


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unusable("true or false is wanted")
    return value


def _moment(value: Any) -> dt.datetime:
    """Read a date and time: epoch milliseconds of the Pub/Sub API, ISO 8601 of CometD and REST."""
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            raise _Unusable("a time in ISO 8601 is wanted") from None
        if moment.tzinfo is None or not _FIRST_YEAR < moment.year <= _LAST_YEAR:
            raise _Unusable("a time with its zone is wanted")
        return moment.astimezone(dt.UTC)
    milliseconds = _number(value)
    if not math.fabs(milliseconds) < EPOCH_MS_2100:
        raise _Unusable("epoch milliseconds are wanted")
    return _EPOCH + dt.timedelta(milliseconds=milliseconds)


def _day(value: Any) -> dt.date:
    """Read a date: epoch milliseconds at midnight UTC, or ISO 8601 with or without a time."""
    if isinstance(value, str) and len(value) == len("2026-03-02"):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise _Unusable("a date in ISO 8601 is wanted") from None
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
    "AnnualRevenue": _Column("annual_revenue", _positive),
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
    # As Kafka connectors and REST name them, which flatten compound fields.
    **{f"Billing{part}": column for part, column in _ADDRESS_PARTS.items()},
}
_OPPORTUNITY_COLUMNS: Final[Mapping[str, _Column]] = {
    "Name": _Column("name", _text, required=True),
    "StageName": _Column("stage", _text, required=True),
    "Amount": _Column("amount", _number),
    "Probability": _Column("probability", _percent),
    "CloseDate": _Column("closed_on", _day),
    "IsClosed": _Column("is_closed", _flag, required=True),
    "IsWon": _Column("is_won", _flag, required=True),
}
_PROFILE_FACTS: Final = {it.name for it in _ACCOUNT_COLUMNS.values()} - {"name", "parent_id", "owner_id", "created_at"}

PROFILE_FIELDS: Final = tuple(name for name in _ACCOUNT_COLUMNS if "." not in name)
"""The Salesforce fields of an Account that make up its profile, as SOQL names them."""
