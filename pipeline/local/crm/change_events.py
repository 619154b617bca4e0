"""Build a change event as the Pub/Sub API delivers it, decoded and flat.

Every field of the entity's schema is present. Unchanged and cleared fields are null; `nulledFields` names the cleared
ones. Dates and times are epoch milliseconds.
"""

import base64
import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pipeline.local.crm.entity_fields import COMPOUND_FIELDS, ENTITY_FIELDS
from schemas.change_event import ChangeType

JsonObject = dict[str, Any]
Changes = Mapping[str, Any]
"""Field values by name, the parts of a compound field by dotted name; dates as `date` and `datetime`."""

_NAMESPACE: Final = uuid.UUID("6f1c3d52-8a44-4b7e-9d0e-2f5b7c1a9e60")


@dataclass(frozen=True)
class Commit:
    """The header fields of the transaction that made the change."""

    committed_at: dt.datetime
    transaction_key: str
    user_id: str
    sequence_number: int = 1
    origin: str = "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/"


def flat_event(
    *,
    entity: str,
    record_ids: Sequence[str],
    change_type: ChangeType,
    commit: Commit,
    replay_id: int,
    changes: Changes | None = None,
    enriched: Changes | None = None,
) -> JsonObject:
    """Return the event; `enriched` are values of fields that did not change.

    Raises:
        KeyError: The entity, or one of its fields, is not in `ENTITY_FIELDS`.
    """
    changes = changes or {}
    is_update = change_type is ChangeType.UPDATE
    header = {
        "entityName": entity,
        "recordIds": list(record_ids),
        "changeType": change_type.value,
        "changeOrigin": commit.origin,
        "transactionKey": commit.transaction_key,
        "sequenceNumber": commit.sequence_number,
        "commitTimestamp": epoch_ms(commit.committed_at),
        # Above 2^53, like real ones, so that readers are tested with it.
        "commitNumber": epoch_ms(commit.committed_at) * 1_000_000 + replay_id % 1_000_000,
        "commitUser": commit.user_id,
        "nulledFields": [name for name, value in changes.items() if value is None] if is_update else [],
        "diffFields": [],
        "changedFields": list(changes) if is_update else [],
    }
    body: JsonObject = dict.fromkeys(ENTITY_FIELDS[entity])
    for name, value in {**(enriched or {}), **changes}.items():
        _set_field(body, entity, name, value)
    identity = f"{entity}/{commit.transaction_key}/{commit.sequence_number}/{record_ids[0]}"
    return {
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "schemaId": schema_id(entity),
        "replayId": replay_id,
        "payload": {"ChangeEventHeader": header, **body},
    }


def epoch_ms(moment: dt.date) -> int:
    """Return epoch milliseconds, of a datetime in whole seconds, of a date at midnight UTC."""
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
    return int(moment.timestamp()) * 1000


@cache
def schema_id(entity: str) -> str:
    """Return the id of the entity's Avro schema: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(hashlib.sha256(entity.encode()).digest()[:16]).decode().rstrip("=")


def _set_field(body: JsonObject, entity: str, name: str, value: Any) -> None:
    field, _, part = name.partition(".")
    kind = ENTITY_FIELDS[entity][field]
    if isinstance(value, dt.date):
        value = epoch_ms(value)
    if not part:
        body[field] = value
        return
    parts = COMPOUND_FIELDS[kind]
    if part not in parts:
        raise KeyError(name)
    if body[field] is None:
        body[field] = dict.fromkeys(parts)
    body[field][part] = value
