"""How the values of Salesforce fields are read, and which column of the account context each one is.

The pipeline reads these fields only. A value that its field can't hold, such as a negative AnnualRevenue, is unusable:
it is left out and flagged, and the change goes on without it.
"""

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from schemas.change_event import ACCOUNT_ENTITY, ACCOUNT_FIELD, EPOCH_MS_2100
from schemas.salesforce_ids import normalize_record_id
from schemas.score import Flag

OPPORTUNITY_ENTITY: Final = "Opportunity"
NAME_PARTS: Final = ("FirstName", "MiddleName", "LastName", "Suffix")
"""The parts of a person account's name, as Salesforce composes it."""

_MAX_TEXT: Final = 255  # Salesforce's own limit for all of these fields
_MAX_NUMBER: Final = 10**18 - 1  # currency and numbers have at most 18 digits
_MAX_WHOLE: Final = 99_999_999  # NumberOfEmployees has 8 digits
_FIRST_YEAR: Final = 1000
_LAST_YEAR: Final = 2100
_NUMBERS: Final = (int, float)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class UnusableValue(ValueError):
    """A value that its field can't hold; the message says what was expected, and does not quote the value."""


Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Column:
    """The column of a Salesforce field, and how its value is read; a required one is never emptied."""

    name: str
    read: Reader
    required: bool = False


def context_fields(entity: str) -> frozenset[str]:
    """Return the fields of an entity that are read for an account context."""
    return _CONTEXT_FIELDS.get(entity, _NONE)


def unusable_fields(entity: str, values: Mapping[str, Any]) -> list[str]:
    """Return the fields of an entity, among those that are read, whose values they can't hold."""
    readers = _READERS.get(entity)
    unusable: list[str] = []
    if readers is None:
        return unusable
    for name, value in values.items():
        read = readers.get(name)
        if read is not None:
            try:
                read(value)
            except UnusableValue:
                unusable.append(name)
    return unusable


def objects_of_scalars(entity: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects, by field, in fields of an entity that are read and are not compound."""
    scalars = _SCALARS.get(entity, _NONE)
    return {name: value for name, value in values.items() if isinstance(value, dict) and name in scalars}


def unusable_value_flags(entity: str, fields: Iterable[str]) -> tuple[str, ...]:
    """Return the flags of fields with an unusable value, sorted; fields of related records have their entity's name."""
    prefix = f"{Flag.UNUSABLE_VALUE}:" if entity == ACCOUNT_ENTITY else f"{Flag.UNUSABLE_VALUE}:{entity}."
    return tuple(sorted(prefix + name for name in fields))


def read_text(value: Any) -> str:
    """Read a text, which may not be empty.

    Raises:
        UnusableValue: It is no text, or longer than Salesforce's fields.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_TEXT:
        raise UnusableValue(f"expected text of 1 to {_MAX_TEXT} characters")
    if not value.isascii() and _SURROGATE.search(value):
        raise UnusableValue("expected text without lone surrogates")
    return value


def _record_id(value: Any) -> str:
    try:
        return normalize_record_id(read_text(value))
    except ValueError:
        raise UnusableValue("expected a record id") from None


def _number(value: Any, least: int = -_MAX_NUMBER, most: int = _MAX_NUMBER) -> float:
    # By type, since true is no number. Bounds before float(): an integer of 400 digits is JSON, and no float.
    # NaN is within no bounds.
    if type(value) not in _NUMBERS or not least <= value <= most:
        raise UnusableValue(f"expected a number from {least:g} to {most:g}")
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value, 0, _MAX_WHOLE)
    if not number.is_integer():
        raise UnusableValue("expected a whole number")
    return int(number)


def _year(value: Any) -> int:
    """Read YearStarted, which Salesforce keeps as text of four digits."""
    is_text = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 4  # noqa: PLR2004 - digits
    year = int(value) if is_text else _whole(value)
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise UnusableValue("expected a year of four digits")
    return year


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnusableValue("expected true or false")
    return value


def read_moment(value: Any) -> dt.datetime:
    """Read a date and time: epoch milliseconds of the Pub/Sub API, ISO 8601 of CometD and REST.

    Raises:
        UnusableValue: It is neither, or of no year that Salesforce knows.
    """
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            raise UnusableValue("expected a time in ISO 8601") from None
        if moment.tzinfo is None or not _FIRST_YEAR < moment.year <= _LAST_YEAR:
            raise UnusableValue("expected a time with its zone")
        return moment.astimezone(dt.UTC)
    milliseconds = _number(value)
    if not math.fabs(milliseconds) < EPOCH_MS_2100:
        raise UnusableValue("expected epoch milliseconds")
    return _EPOCH + dt.timedelta(milliseconds=milliseconds)


def _day(value: Any) -> dt.date:
    """Read a date: epoch milliseconds at midnight UTC, or ISO 8601 with or without a time."""
    if isinstance(value, str) and len(value) == len("2026-03-02"):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise UnusableValue("expected a date in ISO 8601") from None
    return read_moment(value).date()


_ADDRESS_PARTS: Final = {
    "City": Column("billing_city", read_text),
    "State": Column("billing_state", read_text),
    "PostalCode": Column("billing_postal_code", read_text),
    "Country": Column("billing_country", read_text),
}
ACCOUNT_COLUMNS: Final[Mapping[str, Column]] = {
    "Name": Column("name", read_text, required=True),
    "Type": Column("type", read_text),
    "Industry": Column("industry", read_text),
    "AnnualRevenue": Column("annual_revenue", partial(_number, least=0)),
    "NumberOfEmployees": Column("number_of_employees", _whole),
    "Rating": Column("rating", read_text),
    "Ownership": Column("ownership", read_text),
    "AccountSource": Column("account_source", read_text),
    "Website": Column("website", read_text),
    "ParentId": Column("parent_id", _record_id),
    "OwnerId": Column("owner_id", _record_id),
    "YearStarted": Column("year_started", _year),
    "CreatedDate": Column("created_at", read_moment),
    **{f"BillingAddress.{part}": column for part, column in _ADDRESS_PARTS.items()},
    # Names in Kafka connectors and in REST, which flatten compound fields.
    **{f"Billing{part}": column for part, column in _ADDRESS_PARTS.items()},
}
OPPORTUNITY_COLUMNS: Final[Mapping[str, Column]] = {
    "Name": Column("name", read_text, required=True),
    "StageName": Column("stage", read_text, required=True),
    "Amount": Column("amount", _number),
    "Probability": Column("probability", partial(_number, least=0, most=100)),
    "CloseDate": Column("closed_on", _day),
    "IsClosed": Column("is_closed", _flag, required=True),
    "IsWon": Column("is_won", _flag, required=True),
}


def _no_value(_value: Any) -> None:
    """Refuse any value: of a compound field, only its parts are read."""
    raise UnusableValue("expected an object")


_READERS: Final[Mapping[str, Mapping[str, Reader]]] = {
    ACCOUNT_ENTITY: {
        **{field: column.read for field, column in ACCOUNT_COLUMNS.items()},
        **dict.fromkeys((*NAME_PARTS, *(f"Name.{part}" for part in NAME_PARTS)), read_text),
        "BillingAddress": _no_value,
    },
    OPPORTUNITY_ENTITY: {
        **{field: column.read for field, column in OPPORTUNITY_COLUMNS.items()},
        # Of an event, a negative amount is unusable: imports write it as a sentinel. The mirror's stand as they are.
        **dict.fromkeys(("Amount", "ExpectedRevenue"), partial(_number, least=0)),
    },
}
_NONE: Final = frozenset[str]()
_SCALARS: Final[Mapping[str, frozenset[str]]] = {
    entity: frozenset(readers) - {field.partition(".")[0] for field in readers if "." in field}
    for entity, readers in _READERS.items()
}
_CONTEXT_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    ACCOUNT_ENTITY: frozenset(_READERS[ACCOUNT_ENTITY]) | {"Name"},
    OPPORTUNITY_ENTITY: frozenset(OPPORTUNITY_COLUMNS) | {ACCOUNT_FIELD},
}
