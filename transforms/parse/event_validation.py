"""Validate a decoded change event's header. A value of the body is never a reason to refuse an event."""

import re
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.change_event import ChangeEvent, ChangeEventHeader, ChangeType
from schemas.validation_errors import JSON_OBJECT, key_path, problem
from transforms.errors import InvalidEvent, RefusedEvent, UnsupportedEvent
from transforms.parse.event_decoding import DecodedEvent, json_of
from transforms.parse.unusable_values import JsonObject

CONSTANT: Final = re.compile(r"[A-Z]{1,16}(?:_[A-Z]{1,16}){0,2}")
"""What a changeType looks like; other text could be anything, a secret too, and is shown nowhere."""

_MAX_PROBLEMS: Final = 5
_NO_IDS: Final[tuple[object, ...]] = (None, [], "", "[]", "null")
_FIELD_LISTS: Final = ("changedFields", "nulledFields", "diffFields")
_LISTS: Final = ("recordIds", *_FIELD_LISTS)

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


def with_ids_of_text(decoded: DecodedEvent) -> DecodedEvent:
    """Return an event in whose `recordIds` each entry that is no text is an empty one, and so a malformed id.

    Each malformed entry refuses its own record. If none of the entries is text, the event stays as it is.
    """
    header = _lists_of_text(_without_nulls(decoded.header))
    ids = header.get("recordIds")
    if not isinstance(ids, list) or not any(isinstance(it, str) for it in ids):
        return decoded
    return decoded._replace(header=header | {"recordIds": [it if isinstance(it, str) else "" for it in ids]})


def _without_nulls(header: JsonObject) -> JsonObject:
    """Return a header without its nulls: typed bridges write null for a field that is absent, or an entry of a list."""
    given = {name: value for name, value in header.items() if value is not None}
    for name in _FIELD_LISTS:
        if isinstance(entries := _list_of(given.get(name)), list):
            given[name] = [entry for entry in entries if entry is not None]
    if given.get("recordIds") in _NO_IDS and "recordId" in given:
        given["recordIds"] = [given["recordId"]]
    return given


def _lists_of_text(header: JsonObject) -> JsonObject:
    """Return a header in which no list is text, as some bridges write one or all of them: JSON, or "" for none."""
    return header | {name: _list_of(header[name]) for name in _LISTS if name in header}


def _list_of(value: Any) -> Any:
    return [] if value == "" else json_of(value)


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
    shown = name if CONSTANT.fullmatch(name) else f"of {len(name)} characters"
    return UnsupportedEvent(f"changeType {shown} is not one of {', '.join(ChangeType)}")
