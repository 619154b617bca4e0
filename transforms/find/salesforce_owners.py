"""Read from Salesforce to which records related records belong, one query for each entity; deleted ones are shown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.change_event import ACCOUNT_FIELD, AccountFields
from schemas.salesforce_ids import ACCOUNT_KEY_PREFIX, normalize_record_id
from transforms.clients.salesforce_api import SalesforceRecord
from transforms.find.sightings import BETWEEN

_OWNERS: Final = (ACCOUNT_KEY_PREFIX, *BETWEEN)


def fields_to_read(entity: str, account_fields: AccountFields) -> tuple[str, ...]:
    """Return the fields of an entity that name the record to which its records belong."""
    return account_fields.get(entity) or (ACCOUNT_FIELD,)


def owners(records: Mapping[str, SalesforceRecord], fields: Sequence[str]) -> dict[str, str | None]:
    """Return the account of each record, or the record between it and its account; None if it belongs to neither."""
    return {record_id: _owner(record.values, fields) for record_id, record in records.items()}


def _owner(values: Mapping[str, Any], fields: Sequence[str]) -> str | None:
    for name in fields:
        owner = values.get(name)
        if isinstance(owner, str) and owner.startswith(_OWNERS):
            try:
                return normalize_record_id(owner)
            except ValueError:
                continue  # a malformed id names no record
    return None
