"""Validate a decoded change event: the whole header, and the numbers among its fields."""

import math
import re
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.change_event import ChangeEvent, ChangeEventHeader, ChangeType
from schemas.validation_errors import key_path, problem
from transforms.errors import InvalidEvent, RefusedEvent, UnsupportedEvent
from transforms.parse.event_decoding import DecodedEvent

_NUMBERS: Final = ("AnnualRevenue", "NumberOfEmployees")
_CONSTANT: Final = re.compile(r"[A-Z]{1,16}(?:_[A-Z]{1,16}){0,2}")
_MAX_PROBLEMS: Final = 5

_validated_header: Final = ChangeEventHeader.__pydantic_validator__.validate_python


def validate_event(decoded: DecodedEvent) -> ChangeEvent:
    """Return the event with a validated header; its lists of fields may still hold bitmaps.

    Raises:
        InvalidEvent: A header field is missing or malformed, or a number is impossible.
        UnsupportedEvent: The changeType is not one of those that Salesforce documents.
    """
    raw_header, body, null_is_unset, _ = decoded
    try:
        header = _validated_header(raw_header)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)) from None
    for name in _NUMBERS:
        value = body.get(name)
        if value is not None and not _is_possible_number(value):
            raise InvalidEvent(f"{name}: expected a number of 0 or more")
    return ChangeEvent(header, body, null_is_unset)


def _is_possible_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _refusal(errors: list[ErrorDetails]) -> RefusedEvent:
    """Return the error that names each malformed field of the header, without its value."""
    for error in errors:
        if error["loc"] == ("changeType",) and error["type"] == "enum" and isinstance(error["input"], str):
            return _unknown_change_type(error["input"])
    problems = (f"ChangeEventHeader.{key_path(error['loc'])}: {problem(error)}" for error in errors[:_MAX_PROBLEMS])
    return InvalidEvent("; ".join(problems))


def _unknown_change_type(name: str) -> UnsupportedEvent:
    # Text that does not look like a constant of Salesforce's could be anything, a secret too, and is not quoted.
    shown = name if _CONSTANT.fullmatch(name) else f"of {len(name)} characters"
    return UnsupportedEvent(f"changeType {shown} is not one of {', '.join(ChangeType)}")
