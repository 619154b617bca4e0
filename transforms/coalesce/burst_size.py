"""How much a burst keeps: of more fields and larger values than a burst may have, those that a context shows.

Sizes are in characters, with a constant for what is kept of each field besides its name and value.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.change_event import AccountChange
from schemas.field_values import context_fields
from schemas.score import Flag
from transforms.record_changes import FieldVersion, RecordChanges

LEAST_SIZE: Final = 150_000
"""Twice what a context can show of sixteen records, as cutting halves a size: so it is not done for each event."""

SMALL_MESSAGE: Final = 4_096
"""Bytes of a message whose event is not measured as long as it is alone, since that takes time.

Only a compressed message of this size has large fields; transforms/parse/limits.py bounds them to 3 MB.
"""

_OF_A_FIELD: Final = 100
_CUT: Final = {Flag.VALUES_CUT.value}


def change_size(change: AccountChange) -> int:
    """Return the size of what a burst keeps of a change, besides its message."""
    names = change.changed_fields
    size = _OF_A_FIELD * len(names) + sum(map(len, names))
    if change.values:
        size += _values_size(change.values)
    return size + _values_size(change.enriched) if change.enriched else size


def _values_size(values: Mapping[str, Any]) -> int:
    size = _OF_A_FIELD * len(values) + sum(map(len, values))
    for value in values.values():
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is dict or kind is list:
            size += len(msgspec.json.encode(value))
    return size


def cut_change(change: AccountChange, most: int) -> AccountChange:
    """Return a change with the values that a context shows, as many names of other fields as fit, and a flag."""
    fields = context_fields(change.entity_name)
    names = dict.fromkeys(change.changed_fields)
    kept = {name for name in names if name in fields}
    room = most - sum(_OF_A_FIELD + len(name) for name in kept)
    kept |= set(_fitting((name for name in names if name not in fields), room))
    return replace(
        change,
        changed_fields=tuple(name for name in names if name in kept),
        nulled_fields=tuple(name for name in change.nulled_fields if name in fields),
        values={name: value for name, value in change.values.items() if name in fields},
        enriched={name: value for name, value in change.enriched.items() if name in fields},
        flags=with_cut_flag(change.flags),
    )


def burst_size(records: Mapping[str, RecordChanges], evicted: Mapping[str, FieldVersion]) -> int:
    """Return the size of a burst's records, and of the names of evicted ones."""
    names = [name for record in records.values() for name in record.changed]
    values = [{name: it.value for name, it in record.values.items()} for record in records.values()]
    return sum(_OF_A_FIELD + len(name) for name in (*names, *evicted)) + sum(map(_values_size, values))


def cut_records(
    records: Mapping[str, RecordChanges], evicted: Mapping[str, FieldVersion], most: int
) -> tuple[dict[str, RecordChanges], dict[str, FieldVersion]]:
    """Return records with the values that a context shows, and of other fields the names that changed last."""
    shown = {record_id: _of_contexts(record) for record_id, record in records.items()}
    others = [
        (version, record_id, name)
        for record_id, record in records.items()
        for name, version in record.changed.items()
        if name not in shown[record_id].changed
    ]
    others += [(version, "", name) for name, version in evicted.items()]
    others.sort(reverse=True)
    room = most - burst_size(shown, {})
    fitting = others[: len(_fitting((name for _, _, name in others), room))]
    kept = {(record_id, name) for _, record_id, name in fitting}
    for record_id, record in records.items():
        changed = {
            name: version
            for name, version in record.changed.items()
            if name in shown[record_id].changed or (record_id, name) in kept
        }
        shown[record_id] = replace(shown[record_id], changed=changed)
    return shown, {name: version for name, version in evicted.items() if ("", name) in kept}


def _of_contexts(record: RecordChanges) -> RecordChanges:
    fields = context_fields(record.entity_name)
    return replace(
        record,
        changed={name: version for name, version in record.changed.items() if name in fields},
        values={name: value for name, value in record.values.items() if name in fields},
    )


def _fitting(names: Iterable[str], room: int) -> list[str]:
    fitting = []
    for name in names:
        room -= _OF_A_FIELD + len(name)
        if room < 0:
            break
        fitting.append(name)
    return fitting


def with_cut_flag(flags: Iterable[str]) -> tuple[str, ...]:
    """Return flags with the one that says that not all was kept, sorted."""
    return tuple(sorted({*flags, *_CUT}))
