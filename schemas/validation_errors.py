"""pydantic's validation errors in plain English, without the values: "expected a whole number"."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from schemas.unusable_json import UnusableJson

_EXPECTED: Final[Mapping[str, str]] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "{mapping}",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt:,.15g}",
    "greater_than_equal": "{ge:,.15g} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of 64 bits",
    "int_type": "a whole number",
    "less_than": "less than {lt:,.15g}",
    "less_than_equal": "{le:,.15g} or less",
    "list_type": "a list",
    "model_type": "{mapping}",
    "too_long": "{max_length:,} entries or fewer",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text",
    "too_short": "{min_length} or more entries",
    "tuple_type": "a list",
}
"""What a value should have been, by pydantic's type of error."""

_KINDS: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
}
JSON_OBJECT: Final = "an object"
"""What JSON calls a mapping, which is YAML's word."""


def problem(error: ErrorDetails, *, mapping: str = "a mapping") -> str:
    """Return what is wrong with a value, without the value itself; `mapping` is what its format calls one."""
    if isinstance(error["input"], UnusableJson):
        return f"found {kind_of(error['input'])}"
    kind = error["type"]
    if kind == "missing":
        return "required, but missing"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind not in _EXPECTED:
        return error["msg"]
    expected = "expected " + _EXPECTED[kind].format(mapping=mapping, **error.get("ctx", {})).replace("'", "")
    return f"{expected}, found {kind_of(error['input'], mapping=mapping)}" if kind.endswith("_type") else expected


def key_path(location: Iterable[int | str]) -> str:
    """Return where a value is, such as `entities.Account.include[2]`; counted from 0."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location if step != "[key]")
    return "".join(steps).removeprefix(".")


def kind_of(value: Any, *, mapping: str = JSON_OBJECT) -> str:
    """Return the type of a JSON or YAML value as its format calls it, never as Python does."""
    if isinstance(value, UnusableJson):
        return value.kind
    return mapping if isinstance(value, dict) else _KINDS.get(type(value), "another kind of value")


def suggestion(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name that a misspelt one probably means; None: no name is close.

    `likeness` is how much of the two names must be alike, from 0 to 1.
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)), None)
