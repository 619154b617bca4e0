"""Which account the event of a related record names, if it names one."""

from collections.abc import Sequence
from typing import Any

from schemas.change_event import ACCOUNT_FIELD, WHOLE_RECORDS, ChangeEvent
from schemas.salesforce_ids import ACCOUNT_KEY_PREFIX, normalize_record_id


def without_unusable_names(event: ChangeEvent, fields: Sequence[str]) -> ChangeEvent:
    """Return an event whose `fields` name records or nothing: any other value of theirs is unusable.

    An AccountId names accounts only. Other fields can name other records, as WhatId does.
    """
    unusable = {name: value for name in fields if not _names_owner(name, value := event.body.get(name))}
    if not unusable:
        return event
    body = {name: value for name, value in event.body.items() if name not in unusable}
    return event._replace(body=body, unusable={**event.unusable, **unusable})


def named_account(event: ChangeEvent, fields: Sequence[str]) -> str | None:
    """Return the account's id in its normal form; None if the event names none. Its names must be usable."""
    for name in fields:
        value = event.body.get(name)
        if isinstance(value, str) and value.startswith(ACCOUNT_KEY_PREFIX):
            return normalize_record_id(value)
    return None


def belongs_to_none(event: ChangeEvent, fields: Sequence[str]) -> bool:
    """Return whether an event says that its record has no account: it has all fields of the record, and none names one.

    A private contact, or a case of an email whose sender is unknown.
    """
    is_whole = event.header.change_type in WHOLE_RECORDS and bool(event.body)
    return is_whole and all(_is_absent(event.body.get(name)) and name not in event.unusable for name in fields)


def _names_owner(field: str, value: Any) -> bool:
    """Whether a value names a record that can be the account, or stand between, or names none."""
    if _is_absent(value):
        return True
    if not isinstance(value, str) or (field == ACCOUNT_FIELD and not value.startswith(ACCOUNT_KEY_PREFIX)):
        return False
    try:
        normalize_record_id(value)
    except ValueError:
        return False
    return True


def _is_absent(value: Any) -> bool:
    # Some bridges write "" for null.
    return value is None or (isinstance(value, str) and not value)
