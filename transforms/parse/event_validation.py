"""Validate a decoded change event's header. A value of the body is never a reason to refuse an event."""

import re
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.change_event import ChangeEvent, ChangeEventHeader, ChangeType
from schemas.validation_errors import JSON_OBJECT, key_path, problem
from transforms.errors import InvalidEvent, RefusedEvent, UnsupportedEvent
from transforms.parse.event_decoding import DecodedEvent, json_of
from transforms.parse.unusable_values import JsonObject

_CONSTANT: Final = re.compile(r"[A-Z]{1,16}(?:_[A-Z]{1,16}){0,2}")
_MAX_PROBLEMS: Final = 5
_LISTS: Final = ("recordIds", "changedFields", "nulledFields", "diffFields")

_validated_header: Final = ChangeEventHeader.__pydantic_validator__.validate_python


def validate_event(decoded: DecodedEvent) -> ChangeEvent:
    """Return the event with a validated header; its lists of fields may still hold bitmaps.

    Raises:
        InvalidEvent: A header field is missing or malformed.
        UnsupportedEvent: The changeType is not one of those that Salesforce documents.
    """
    raw_header, body, null_is_unset, _, unusable = decoded
    try:
        header = _validated_header(raw_header)
    except ValidationError as error:
        readable = _lists_of_text(_without_nulls(raw_header))
        if readable != raw_header:
            return validate_event(decoded._replace(header=readable))
        raise _refusal(error.errors(include_url=False)) from None
    return ChangeEvent(header, body, null_is_unset, unusable)


def _without_nulls(header: JsonObject) -> JsonObject:
    """Return a header without its nulls: typed bridges write null for a field that is absent."""
    given = {name: value for name, value in header.items() if value is not None}
    if "recordIds" not in given and "recordId" in given:
        given["recordIds"] = [given["recordId"]]
    return given


def _lists_of_text(header: JsonObject) -> JsonObject:
    """Return a header in which no list is JSON text, as some bridges write one or all of them."""
    return header | {name: json_of(header[name]) for name in _LISTS if name in header}


def _refusal(errors: list[ErrorDetails]) -> RefusedEvent:
    """Return the error that names each malformed field of the header, without its value."""
    for error in errors:
        if error["loc"] == ("changeType",) and error["type"] == "enum" and isinstance(error["input"], str):
            return _unknown_change_type(error["input"])
    # A list is refused at its first wrong entry, and pydantic then also calls it too short.
    lists = {error["loc"][:1] for error in errors if len(error["loc"]) > 1}
    told = [error for error in errors if error["type"] != "too_short" or error["loc"] not in lists]
    problems = (
        f"ChangeEventHeader.{key_path(error['loc'])}: {problem(error, mapping=JSON_OBJECT)}"
        for error in told[:_MAX_PROBLEMS]
    )
    return InvalidEvent("; ".join(problems))


def _unknown_change_type(name: str) -> UnsupportedEvent:
    # Text that does not look like a constant of Salesforce's could be anything, a secret too, and is not quoted.
    shown = name if _CONSTANT.fullmatch(name) else f"of {len(name)} characters"
    return UnsupportedEvent(f"changeType {shown} is not one of {', '.join(ChangeType)}")
