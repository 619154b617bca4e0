"""Avro's JSON encoding writes a value of a union as an object with one key, its type: `{"string": "Hot"}`.

A wrapper is known by its key, so that a compound field with one part, `{"LastName": "X"}`, stays a value. Primitive
types have their own names. Some libraries add the logical type: `int.date` (goavro), `int-date` (fastavro). A record,
an enumeration or a fixed has its full name: `com.sforce.eventbus.Address`, `io.confluent.salesforce.Address`.

A decimal is `bytes` or `fixed`; its scale is in the schema alone, so it stays the text that the encoding writes.

Source: Apache Avro Specification, "JSON Encoding".
"""

import re
from typing import Any, Final

from transforms.errors import InvalidEvent
from transforms.parse.limits import MAX_DEPTH

CONTAINERS: Final = (dict, list)
_PRIMITIVES: Final = frozenset({"null", "string", "int", "long", "float", "double", "boolean", "bytes", "array", "map"})
_LOGICAL: Final = re.compile(
    r"(?:int|long|bytes|fixed|string)[.-]"
    r"(?:date|decimal|duration|uuid|(?:local-)?timestamp-(?:milli|micro|nano)s|time-(?:milli|micro)s)\Z"
)
_FULL_NAME: Final = re.compile(r"(?:[a-z_][A-Za-z0-9_]*\.)+[A-Za-z_][A-Za-z0-9_]*\Z")
_SALESFORCE_RECORDS: Final = frozenset({"Address", "Location", "PersonName", "Switchable_PersonName"})
"""Names of Salesforce's compound types, which wrap a record also where they have no namespace."""


def unwrap_unions(value: Any, depth: int = 0) -> Any:
    """Return a JSON value without the wrappers of Avro's unions.

    Raises:
        InvalidEvent: It is nested more deeply than any change event.
    """
    if depth > MAX_DEPTH:
        raise InvalidEvent(f"a field is nested deeper than {MAX_DEPTH} levels, which is more than any change event has")
    if isinstance(value, dict):
        if len(value) == 1:
            ((name, inner),) = value.items()
            if is_union(name, inner):
                return unwrap_unions(inner, depth + 1)
        return {
            name: unwrap_unions(inner, depth + 1) if type(inner) in CONTAINERS else inner
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [unwrap_unions(inner, depth + 1) if type(inner) in CONTAINERS else inner for inner in value]
    return value


def is_union(name: str, inner: Any) -> bool:
    """Whether the only key of an object, and its value, are a type and a value of that type."""
    if name in _PRIMITIVES:
        return True
    if name in _SALESFORCE_RECORDS:
        return isinstance(inner, dict)
    return ("." in name or "-" in name) and bool(_FULL_NAME.match(name) or _LOGICAL.match(name))
