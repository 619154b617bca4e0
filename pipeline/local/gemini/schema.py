"""Reading the response schema of a request: what Gemini supports becomes a node, all else is refused.

Source: the documentation of `response_json_schema` in google-genai (types.GenerationConfig), which lists the keywords;
`minLength`, `maxLength` and `default` are not in that list, but pydantic writes them and Gemini takes them. `pattern`
is refused, for the stand-in could not obey it. A `$ref` may stand beside `description` and `default` only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from pipeline.local.gemini.answers import (
    STRING_FORMATS,
    AnyNode,
    ArrayNode,
    BooleanNode,
    EnumNode,
    Node,
    NullNode,
    NumberNode,
    ObjectNode,
    StringNode,
    UnionNode,
)

_TOLD: Final = frozenset({"$id", "$defs", "$anchor", "title", "description", "default"})
_SUPPORTED: Final = _TOLD | {
    *("$ref", "type", "format", "enum", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum"),
    *("anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering", "minLength", "maxLength"),
}
_BESIDE_REF: Final = frozenset({"$ref", "$id", "$defs", "$anchor", "description", "default"})
_NUMBER_FORMATS: Final = frozenset({"int32", "int64", "float", "double"})
_MAX_NODES: Final = 5_000
_TOO_DEEP: Final = "The specified schema exceeds the maximum allowed nesting depth."


class SchemaRefusedError(ValueError):
    """The schema is not one that Gemini takes; the message is what Gemini's 400 would say."""


class _CycleError(Exception):
    """A reference leads back to itself."""


def schema_text(schema: Mapping[str, Any]) -> bytes:
    """Return a schema as the JSON that `compile_schema` takes, and remembers its node by.

    Raises:
        SchemaRefusedError: It is nested too deeply.
    """
    try:
        return orjson.dumps(schema)
    except orjson.JSONEncodeError as error:
        raise SchemaRefusedError(_TOO_DEEP) from error


@lru_cache(maxsize=64)
def compile_schema(text: bytes, *, openapi: bool) -> Node:
    """Return the node of a schema in JSON; `openapi` for the subset of OpenAPI 3.0 that `responseSchema` takes.

    Raises:
        SchemaRefusedError: It has an unsupported keyword, contradicts itself, or needs itself without end.
    """
    try:
        schema = _json_schema_of(orjson.loads(text)) if openapi else orjson.loads(text)
        Draft202012Validator.check_schema(schema)
        return _Reader(schema).node(schema, "schema", ())
    except SchemaError as error:
        raise SchemaRefusedError(f"schema.{'.'.join(map(str, error.path))[:200]}: not a valid schema") from error
    except RecursionError as error:
        raise SchemaRefusedError(_TOO_DEEP) from error
    except _CycleError as cycle:
        raise SchemaRefusedError(f"{cycle}: cyclic references may only be used in non-required properties") from cycle


class _Reader:
    """Turns one schema into nodes, references inlined."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._count = 0

    def node(self, schema: Any, at: str, refs: tuple[str, ...]) -> Node:
        """Return the node of a sub-schema; `at` is its place, `refs` are the references that led to it."""
        self._count += 1
        if self._count > _MAX_NODES:
            raise SchemaRefusedError("The specified schema produces a constraint that has too many states for serving.")
        _check_keywords(schema, at)
        if "$ref" in schema:
            return self._referred(schema["$ref"], at, refs)
        if (branches := schema.get("anyOf", schema.get("oneOf"))) is not None:
            return self._union(branches, f"{at}.anyOf", refs)
        if "enum" in schema:
            return _enum(schema["enum"], at)
        return self._typed(schema, _type_of(schema), at, refs)

    def _typed(self, schema: Mapping[str, Any], kind: Any, at: str, refs: tuple[str, ...]) -> Node:
        if isinstance(kind, list):
            return UnionNode(tuple(self._typed(schema, one, at, refs) for one in kind))
        readers: dict[Any, Callable[[], Node]] = {
            "object": lambda: self._object(schema, at, refs),
            "array": lambda: self._array(schema, at, refs),
            "string": lambda: _string(schema, at),
            "integer": lambda: _number(schema, at, integer=True),
            "number": lambda: _number(schema, at, integer=False),
            "boolean": BooleanNode,
            "null": NullNode,
            None: AnyNode,
        }
        return readers[kind]()

    def _referred(self, ref: str, at: str, refs: tuple[str, ...]) -> Node:
        if ref in refs:
            raise _CycleError(f"{at}: {ref[:80]} refers to itself")
        target = self._root
        for step in ref.removeprefix("#").split("/")[1:]:
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        if target is None or not ref.startswith("#"):
            raise SchemaRefusedError(f"{at}: reference to undefined schema at {ref[:80]}")
        return self.node(target, at, (*refs, ref))

    def _union(self, branches: Sequence[Any], at: str, refs: tuple[str, ...]) -> Node:
        nodes: list[Node] = []
        for index, branch in enumerate(branches):
            try:
                nodes.append(self.node(branch, f"{at}[{index}]", refs))
            except _CycleError:
                continue  # another branch ends the cycle, or the check below refuses it
        if not nodes:
            raise _CycleError(at)
        return UnionNode(tuple(nodes))

    def _array(self, schema: Mapping[str, Any], at: str, refs: tuple[str, ...]) -> Node:
        fewest, most = _bounds(schema, "minItems", "maxItems", at)
        first = tuple(
            self.node(one, f"{at}.prefixItems[{index}]", refs)
            for index, one in enumerate(schema.get("prefixItems", ()))
        )
        item: Node | None = AnyNode()
        if "items" in schema:
            try:
                item = self.node(schema["items"], f"{at}.items", refs)
            except _CycleError:
                if fewest > len(first):
                    raise
                item = None
        return ArrayNode(item, int(fewest), None if most is None else int(most), first)

    def _object(self, schema: Mapping[str, Any], at: str, refs: tuple[str, ...]) -> Node:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if undefined := [name for name in required if name not in properties]:
            raise SchemaRefusedError(f"{at}.required: property is not defined: {str(undefined[0])[:80]}")
        if isinstance(schema.get("additionalProperties"), dict):
            self.node(schema["additionalProperties"], f"{at}.additionalProperties", refs)
        nodes: dict[str, Node] = {}
        for name, sub_schema in properties.items():
            try:
                nodes[name] = self.node(sub_schema, f"{at}.properties.{name}", refs)
            except _CycleError:
                if name in required:
                    raise  # an optional one is left out of the answer instead
        ordering = schema.get("propertyOrdering", [])
        if not isinstance(ordering, list) or not all(isinstance(name, str) for name in ordering):
            raise SchemaRefusedError(f"{at}.propertyOrdering: a list of names is wanted")
        order = [name for name in ordering if name in nodes]
        return ObjectNode(tuple((name, nodes[name]) for name in dict.fromkeys([*order, *nodes])))


def _check_keywords(schema: Any, at: str) -> None:
    if not isinstance(schema, dict):
        raise SchemaRefusedError(f"{at}: a schema must be an object")
    if unknown := sorted(schema.keys() - _SUPPORTED):
        raise SchemaRefusedError(f"{at}: keyword {unknown[0][:80]!r} is not supported")
    if "$ref" in schema and schema.keys() - _BESIDE_REF:
        raise SchemaRefusedError(
            f"{at}: $ref was set alongside unsupported fields. If a schema node has $ref set, then only description "
            "and default can be set alongside it"
        )
    if schema.keys() & {"anyOf", "oneOf"} and len(schema.keys() - _TOLD) > 1:
        raise SchemaRefusedError(f"{at}: when anyOf is used, it must be the only field set")


def _type_of(schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind is None and "properties" in schema:
        return "object"
    return "array" if kind is None and "items" in schema else kind


def _enum(values: Sequence[Any], at: str) -> Node:
    allowed = all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values)
    if not allowed or not values:
        raise SchemaRefusedError(f"{at}.enum: a list of strings or numbers is wanted")
    return EnumNode(tuple(values))


def _string(schema: Mapping[str, Any], at: str) -> Node:
    text_format = schema.get("format")
    if text_format is not None and text_format not in STRING_FORMATS:
        raise SchemaRefusedError(f"{at}.format: {text_format[:40]!r} is not supported for the type string")
    shortest, longest = _bounds(schema, "minLength", "maxLength", at)
    return StringNode(int(shortest), None if longest is None else int(longest), text_format)


def _number(schema: Mapping[str, Any], at: str, *, integer: bool) -> Node:
    if schema.get("format", "int32") not in _NUMBER_FORMATS:
        raise SchemaRefusedError(f"{at}.format: {schema['format'][:40]!r} is not supported for numbers")
    least, most = _bounds(schema, "minimum", "maximum", at, least=-math.inf)
    most = math.inf if most is None else most
    if integer:
        least = math.ceil(least) if math.isfinite(least) else least
        most = math.floor(most) if math.isfinite(most) else most
        if least > most:
            raise SchemaRefusedError(f"{at}: no integer lies between minimum and maximum")
    return NumberNode(integer, least, most)


def _bounds(schema: Mapping[str, Any], low: str, high: str, at: str, *, least: float = 0) -> tuple[float, float | None]:
    """Return the two bounds of a number, a length or a count, which must be in order."""
    lower, upper = schema.get(low, least), schema.get(high)
    if upper is not None and lower > upper:
        raise SchemaRefusedError(f"{at}: {low} is greater than {high}")
    return lower, upper


_CAMEL: Final[Mapping[str, str]] = {
    "any_of": "anyOf",
    "prefix_items": "prefixItems",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
    **{f"{end}_{what.lower()}": f"{end}{what}" for end in ("min", "max") for what in ("Items", "Length")},
}
_COUNTS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength"})


def _json_schema_of(schema: Any) -> Any:
    """Return the JSON schema that a `responseSchema` means: types in lower case, nullable as a union.

    Google's proto JSON takes names in either case and 64-bit integers as text.
    """
    if not isinstance(schema, dict):
        return schema
    meant: dict[str, Any] = {}
    for given, value in schema.items():
        name = _CAMEL.get(given, given)
        if name == "type" and isinstance(value, str):
            meant[name] = value.lower()
        elif name == "properties" and isinstance(value, dict):
            meant[name] = {key: _json_schema_of(sub) for key, sub in value.items()}
        elif name in {"items", "additionalProperties"}:
            meant[name] = _json_schema_of(value)
        elif name == "anyOf" and isinstance(value, list):
            meant[name] = [_json_schema_of(sub) for sub in value]
        elif name in _COUNTS and isinstance(value, str) and value.isdigit():
            meant[name] = int(value)
        elif name not in {"nullable", "example"}:
            meant[name] = value
    return {"anyOf": [meant, {"type": "null"}]} if schema.get("nullable") is True else meant
