"""Values that JSON can write and the pipeline can't hold: found, taken out of an event's fields, and written again.

orjson refuses a message as a whole for the escape of a lone surrogate (half of a character), for a number beyond a
double (`1e400`) and for bytes that are not UTF-8. A message that it refuses is read here once more: such a value
becomes an UnusableJson, and the event goes on by its other fields.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.unusable_json import LONE_SURROGATE, NO_DOUBLE, NOT_UTF_8, UnusableJson

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LEAST_INTEGER: Final = -(2**63)
_MOST_INTEGER: Final = 2**64 - 1
_MAX_DIGITS: Final = 20

JsonObject = dict[str, Any]


def read_unusable(data: bytes) -> Any:
    """Return the value of JSON bytes, in which each value that can't be held is an UnusableJson.

    A name of a field that can't be held has the replacement character in it, and no usable value.

    Raises:
        ValueError: The bytes are not JSON, or nested too deeply. NaN and Infinity are not JSON.
    """
    kind, text = _decoded(data)
    try:
        return _marked(_DECODER.decode(text), kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _decoded(data: bytes) -> tuple[str, str]:
    """Return bytes as text, and what its surrogates are: bytes that are not UTF-8 become such, too."""
    try:
        return LONE_SURROGATE, data.decode()
    except UnicodeDecodeError:
        return NOT_UTF_8, data.decode(errors="surrogateescape")


def _integer(text: str) -> int | float | UnusableJson:
    # As orjson reads it: an integer of more than 64 bits is a double.
    if len(text) <= _MAX_DIGITS and _LEAST_INTEGER <= int(text) <= _MOST_INTEGER:
        return int(text)
    return _double(text)


def _double(text: str) -> float | UnusableJson:
    number = float(text)
    return UnusableJson(NO_DOUBLE, "-1e400" if number < 0 else "1e400") if math.isinf(number) else number


def _not_json(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_double, parse_constant=_not_json)


def _marked(value: Any, kind: str) -> Any:
    if isinstance(value, str):
        return UnusableJson(kind, json.dumps(value), value) if _has_surrogate(value) else value
    if isinstance(value, dict):
        return dict(_marked_field(name, inner, kind) for name, inner in value.items())
    return [_marked(inner, kind) for inner in value] if isinstance(value, list) else value


def _marked_field(name: str, value: Any, kind: str) -> tuple[str, Any]:
    if _has_surrogate(name):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", name), UnusableJson(kind, '"\\ud800"')
    return name, _marked(value, kind)


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and bool(_SURROGATE.search(text))


def taken_out(body: JsonObject) -> tuple[JsonObject, JsonObject]:
    """Return the fields of an event without the unusable ones, and the unusable ones by (dotted) name."""
    usable: JsonObject = {}
    unusable: JsonObject = {}
    for name, value in body.items():
        if isinstance(value, dict):
            parts = {part: inner for part, inner in value.items() if not _is_unusable(inner)}
            usable[name] = parts
            unusable |= {f"{name}.{part}": inner for part, inner in value.items() if part not in parts}
        elif _is_unusable(value):
            unusable[name] = value
        else:
            usable[name] = value
    return usable, unusable


def _is_unusable(value: Any) -> bool:
    """Whether a value is unusable, or holds one that is."""
    if isinstance(value, dict | list):
        return any(map(_is_unusable, value.values() if isinstance(value, dict) else value))
    return isinstance(value, UnusableJson)


def write_json(value: Any) -> bytes:
    """Return a value as JSON, the unusable ones in it as they were."""
    return orjson.dumps(value, default=_written)


def _written(value: Any) -> orjson.Fragment:
    if isinstance(value, UnusableJson):
        return orjson.Fragment(value.source)
    raise TypeError(type(value).__name__)


def readable_text(value: Any) -> bytes | None:
    """Return the bytes of a text, also of one that is unusable as a value, but may hold JSON; None for no text."""
    if isinstance(value, UnusableJson):
        return None if value.text is None else value.text.encode(errors="surrogatepass")
    return value.encode() if isinstance(value, str) else None


NO_FIELDS: Final[Mapping[str, Any]] = {}
