"""Which fields a change event changed, and their new values; null, absent, cleared and unchanged are told apart.

Source: Change Data Capture Developer Guide, "Change Event Body Fields".
"""

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any, NamedTuple

from schemas.change_event import GAPS, WHOLE_RECORDS, ChangeEvent, ChangeType
from schemas.field_values import objects_of_scalars, unusable_fields, unusable_value_flags
from schemas.score import Flag

Fields = Mapping[str, Any]


class FieldChanges(NamedTuple):
    """Fields by dotted name. A changed field that is in neither `nulled` nor `values` has an unknown new value."""

    changed: tuple[str, ...]
    nulled: tuple[str, ...]
    values: dict[str, Any]
    enriched: dict[str, Any]
    flags: tuple[str, ...] = ()


def field_changes(event: ChangeEvent) -> FieldChanges:
    """Return the fields that the event changed, the same for each of its records.

    A gap event has no body and clears nothing. CREATE and UNDELETE carry the record's non-empty fields. A DELETE
    changes no field; the values that it carries are enrichment. An UPDATE lists its changed fields; the new value of a
    field that it lists without sending is unknown. So is a value that its field can't hold: it is flagged, and so is an
    UPDATE whose lists contradict its body.
    """
    change_type, entity = event.header.change_type, event.header.entity_name
    if change_type in GAPS:
        return FieldChanges((), (), {}, {}, unusable_value_flags(entity, event.unusable))
    present = event.body
    objects: Fields = {}
    known = {name: value for name, value in present.items() if value is not None}
    if dict in map(type, known.values()):
        objects = objects_of_scalars(entity, present)
        present = _leaves({name: value for name, value in present.items() if name not in objects})
        known = {name: value for name, value in present.items() if value is not None}
    flags: tuple[str, ...] = ()
    unusable = unusable_fields(entity, known)
    if unheld := {**event.unusable, **objects}:
        present, known = {**present, **unheld}, {**known, **unheld}
        unusable += unheld
    usable = known
    if unusable:
        flags = unusable_value_flags(entity, unusable)
        usable = {name: value for name, value in known.items() if name not in unusable}
    if change_type in WHOLE_RECORDS:
        return FieldChanges(tuple(known), (), usable, {}, flags)
    if change_type is ChangeType.DELETE:
        return FieldChanges((), (), {}, usable, flags)
    return _update(event, present, usable, flags)


def _update(event: ChangeEvent, present: Fields, known: Fields, flags: tuple[str, ...]) -> FieldChanges:
    header = event.header
    changed = dict.fromkeys(header.changed_fields or _changed_by_presence(event, present))
    if header.diff_fields:
        # Decoded with another version of the schema, changedFields may not list them.
        changed |= dict.fromkeys(name for name in header.diff_fields if not _is_named(name, changed))
    nulled = _nulled(event, changed, present)
    unknown = {*header.diff_fields, *nulled}
    values, enriched = {}, {}
    for name, value in known.items():
        # Written out, since it is done for each value: `_is_named` is called for names of parts only.
        if name not in changed and not ("." in name and _is_named(name, changed)):
            enriched[name] = value
        elif not unknown or not _is_named(name, unknown):
            values[name] = value
    changes = FieldChanges(tuple(changed), nulled, values, enriched, flags)
    # As with nearly every event: each changed field has a value.
    is_plain = not nulled and changed.keys() <= known.keys()
    return changes if is_plain or not _is_contradictory(event, present, changes, unknown) else _with_unlisted(changes)


def _is_contradictory(event: ChangeEvent, present: Fields, changes: FieldChanges, unknown: Collection[str]) -> bool:
    """Whether the lists of an UPDATE contradict its body: they were decoded with another version of its Avro schema.

    Only the Pub/Sub API's form tells: it has nulledFields, and null for each unchanged field. There, a changed field
    has a value, or nulledFields or diffFields name it (`unknown`); a field of nulledFields has none. A value that
    changedFields does not name is no contradiction but enrichment. Senders that flatten compound fields (`BillingCity`
    for `BillingAddress.City`) do not rename them in the lists, so a compound field that the body lacks contradicts
    nothing.
    """
    header = event.header
    if not header.changed_fields or header.nulled_fields is None or event.null_is_unset:
        return False
    if not any(value is None and not _is_named(name, changes.changed) for name, value in present.items()):
        return False
    empty = [name for name in changes.changed if name not in unknown and present.get(name) is None]
    return any(present.get(name) is not None for name in changes.nulled) or any(
        not _is_told(name, present) and not _is_named(name, unknown) and not _has_part(name, unknown) for name in empty
    )


def _is_told(name: str, present: Fields) -> bool:
    """Whether the body tells a field that has no value under this name: by its parts, or under flattened names."""
    if name in present:
        return False
    compound = name.split(".", 1)[0]
    is_compound = compound != name or name == "Name" or name.endswith("Address")
    return _has_part(name, present) or (is_compound and compound not in present and not _has_part(compound, present))


def _has_part(name: str, names: Iterable[str]) -> bool:
    return any(other.startswith(f"{name}.") for other in names)


def _with_unlisted(changes: FieldChanges) -> FieldChanges:
    """Return the changes of an event whose lists are wrong: every value may have changed, and nothing was cleared."""
    changed = dict.fromkeys((*changes.changed, *changes.nulled, *changes.enriched))
    flags = tuple(sorted((*changes.flags, Flag.SUSPECTED_STALE_SCHEMA.value)))
    return FieldChanges(tuple(changed), (), {**changes.enriched, **changes.values}, {}, flags)


def _changed_by_presence(event: ChangeEvent, present: Fields) -> list[str]:
    """Infer changedFields, which events of 2019 lack; a null counts only if the sender uses it for cleared fields."""
    null_means_cleared = event.header.nulled_fields is None and not event.null_is_unset
    return [
        *(name for name, value in present.items() if value is not None or null_means_cleared),
        *(event.header.nulled_fields or ()),
    ]


def _nulled(event: ChangeEvent, changed: Iterable[str], present: Fields) -> tuple[str, ...]:
    """Return the cleared fields: nulledFields or, if the sender has no such list, changed fields with a null."""
    if event.header.nulled_fields is not None:
        return tuple(dict.fromkeys(event.header.nulled_fields))
    return tuple(name for name in changed if name in present and present[name] is None)


def _is_named(name: str, names: Container[str]) -> bool:
    """Whether a field, or the compound field that it is a part of, is among the names."""
    return name in names or ("." in name and name.split(".", 1)[0] in names)


def _leaves(body: dict[str, Any]) -> dict[str, Any]:
    """Return fields by name, parts of compound fields by dotted name; a compound field that is null stays one null."""
    leaves: dict[str, Any] = {}
    for name, value in body.items():
        if type(value) is dict:
            for part, inner in value.items():
                leaves[f"{name}.{part}"] = inner
        else:
            leaves[name] = value
    return leaves
