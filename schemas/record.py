"""What every value that crosses a step has in common, and how values that are known to be sound are made cheaply."""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

from pydantic import BaseModel, ConfigDict

_P = ParamSpec("_P")
_R = TypeVar("_R", bound="Record")

# A model's four slots, written past the check that it is frozen; BaseModel.model_construct does the same, by name.
_SLOTS: Final = vars(BaseModel)
_set_values: Final = _SLOTS["__dict__"].__set__
_set_names: Final = _SLOTS["__pydantic_fields_set__"].__set__
_set_extra: Final = _SLOTS["__pydantic_extra__"].__set__
_set_private: Final = _SLOTS["__pydantic_private__"].__set__


class Record(BaseModel):
    """A frozen value with no fields but its own; bytes travel as base64 in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


def trusted(model: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a constructor of a model that validates nothing, and costs a third of the model's own.

    For values that follow from others which were validated at the edge: the types are mypy's to check, and constraints
    the caller's to know. Fields whose default is made by a factory must be given.
    """
    record = cast("type[_R]", model)
    template = {name: field.default for name, field in record.model_fields.items()}
    names = set(template)  # shared: a frozen record never changes its own, and `model_copy` copies it

    def construct(**values: Any) -> _R:
        # The order of the fields is the model's, whichever way it was made: the JSON of equal values is equal.
        return _with_fields(record, template | values, names)

    return cast("Callable[_P, _R]", construct)


def replaced(record: _R, **changes: Any) -> _R:
    """Return a copy with other values of some fields, unvalidated: `model_copy(update=...)`, at half its cost."""
    return _with_fields(type(record), record.__dict__ | changes, record.__pydantic_fields_set__)


def _with_fields(model: type[_R], fields: dict[str, Any], names: Any) -> _R:
    record = object.__new__(model)
    _set_values(record, fields)
    _set_names(record, names)
    _set_extra(record, None)
    _set_private(record, None)
    return record
