"""The base of all values that cross a step or fill a table, and the base of all values that come from outside.

A `Record` is a frozen msgspec struct: cheap to make, to copy (`msgspec.structs.replace`) and to encode. Its constructor
checks no types, mypy does; decoding and `from_row` check them. A `ValidatedModel` is a pydantic model, for values from
outside that need conversion, defaults or exact error messages. docs/adr/007 has the measurements.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict

_encoder = msgspec.json.Encoder(order="deterministic")
_R = TypeVar("_R", bound="Record")

AwareDatetime = Annotated[dt.datetime, Meta(tz=True)]
"""A time with its zone; ISO 8601 in JSON."""


class Record(Struct, frozen=True, kw_only=True):
    """A frozen value. In JSON, fields stand in their declared order and bytes as base64.

    Fields that are unknown are ignored when it is read, and missing ones get their defaults: after an update or a
    rollback a job reads the state that another release wrote. So a new field needs a default.
    """


class ValidatedModel(BaseModel):
    """A frozen value from outside that is validated when it is made; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


TableRow = Record | ValidatedModel
"""What fills a row of a table: a record of ours, or a row of the CRM mirror."""


def to_json(record: Record) -> bytes:
    """Return a record as JSON; equal records have equal bytes, in whatever order their mappings were filled."""
    return _encoder.encode(record)


def to_row(row: TableRow) -> dict[str, Any]:
    """Return a row of a table as JSON: dates in ISO 8601, empty columns left out."""
    if isinstance(row, ValidatedModel):
        return row.model_dump(mode="json", exclude_none=True)
    columns: dict[str, Any] = _without_none(msgspec.to_builtins(row))
    return columns


def from_row(model: type[_R], row: Mapping[str, Any]) -> _R:
    """Return a row of a table as its record.

    Raises:
        msgspec.ValidationError: A column is missing or has another type; the message names the column.
    """
    return msgspec.convert(dict(row), model)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value
