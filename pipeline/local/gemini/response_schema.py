"""Check the response schema of a request, and check that an answer fits it.

The keywords that Gemini takes are those that google-genai documents for `types.GenerationConfig.response_json_schema`;
`minLength`, `maxLength` and `default` are not in that list, but pydantic writes them and Gemini takes them.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing.exceptions import Unresolvable

from schemas.score import ScoreAnswers
from transforms.prompt.prompt import response_schema

_MAX_MESSAGE: Final = 300
_ANY: Final = True
_SCHEMA: Final = {"$ref": "#"}
_SCHEMAS: Final = {"type": "array", "minItems": 1, "items": _SCHEMA}
_NAMED_SCHEMAS: Final = {"type": "object", "additionalProperties": _SCHEMA}
_ANNOTATIONS: Final = ("$id", "$anchor", "$defs", "title", "description", "default")

GEMINI_SUBSET: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("$id", "$anchor", "title", "description", "default", "type", "required"), _ANY),
        **dict.fromkeys(("minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength"), _ANY),
        **dict.fromkeys(("$defs", "properties"), _NAMED_SCHEMAS),
        **dict.fromkeys(("anyOf", "oneOf", "prefixItems"), _SCHEMAS),
        "items": _SCHEMA,
        "additionalProperties": {"anyOf": [{"type": "boolean"}, _SCHEMA]},
        "$ref": {"pattern": "^#"},
        "enum": {"minItems": 1, "items": {"type": ["string", "number"]}},
        "format": {
            "enum": [
                *("date-time", "date", "time", "duration", "uuid", "email", "uri", "enum"),
                *("int32", "int64", "float", "double"),
            ]
        },
        "propertyOrdering": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
    "dependentSchemas": {
        "$ref": {"propertyNames": {"enum": ["$ref", "$id", "$anchor", "$defs", "description", "default"]}},
        "anyOf": {"propertyNames": {"enum": ["anyOf", *_ANNOTATIONS]}},
        "oneOf": {"propertyNames": {"enum": ["oneOf", *_ANNOTATIONS]}},
    },
}
"""A JSON schema of the response schemas that Gemini takes, on top of the rules of JSON Schema itself."""

_PIPELINE_SCHEMA: Final = orjson.dumps(response_schema(ScoreAnswers))
"""Not validated: a test shows that every answer fits, and validation takes 0.25 ms per account."""


class SchemaRefusedError(ValueError):
    """Gemini does not take the schema, or the stand-in's answer does not fit it; the message is that of the 400."""


def check_response_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that Gemini does not take.

    Raises:
        SchemaRefusedError: It is not a JSON schema, is nested too deeply, or has a keyword outside Gemini's subset.
    """
    _validator(_json(schema))


def check_answer(answer: Any, schema: Mapping[str, Any]) -> None:
    """Refuse a schema that the stand-in's one kind of answer, `schemas.score.ScoreAnswers`, does not fit.

    Raises:
        SchemaRefusedError: The answer does not fit; the message names the part of the answer and the reason.
    """
    text = _json(schema)
    if text == _PIPELINE_SCHEMA:
        return
    try:
        error = next(_validator(text).iter_errors(answer), None)
    except (RecursionError, Unresolvable) as failure:
        raise SchemaRefusedError(f"schema: a reference is undefined or cyclic: {failure}"[:_MAX_MESSAGE]) from failure
    if error is not None:
        # Without the answer's value, which may be text of the account.
        rule = f"{error.validator}: {json.dumps(error.validator_value)}"
        raise SchemaRefusedError(
            f"This stand-in only answers with schemas.score.ScoreAnswers, and its answer{_path(error)} "
            f"does not fit the response schema's {rule}"[:_MAX_MESSAGE]
        )


def _json(schema: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(schema)
    except orjson.JSONEncodeError as error:
        raise SchemaRefusedError("The specified schema exceeds the maximum allowed nesting depth.") from error


@lru_cache(maxsize=64)
def _validator(text: bytes) -> Draft202012Validator:
    schema = orjson.loads(text)
    try:
        for rules in (Draft202012Validator.META_SCHEMA, GEMINI_SUBSET):
            if error := best_match(Draft202012Validator(rules).iter_errors(schema)):
                raise SchemaRefusedError(f"schema{_path(error)}: {error.message}"[:_MAX_MESSAGE])
    except RecursionError as error:
        raise SchemaRefusedError("The specified schema exceeds the maximum allowed nesting depth.") from error
    return Draft202012Validator(schema)


def _path(error: ValidationError) -> str:
    return error.json_path.removeprefix("$")
