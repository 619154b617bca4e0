import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.local.gemini.response_schema import SchemaRefusedError, check_answer, check_response_schema
from pipeline.local.gemini.scoring import score_account
from schemas.score import ScoreAnswers
from tests.unit.pipeline.local.gemini.samples import account, accounts_of_any_kind
from transforms.prompt.prompt import response_schema

ANSWER = {"scores": [score_account(account("Acme", "a1")), score_account(account("Bolt", "b2"))]}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _scores(**properties: Any) -> dict[str, Any]:
    return _object(scores={"type": "array", "items": _object(**properties)})


@example([account(name="\x1f"), account(name="\u2028Acme\x1c")])
@given(st.lists(accounts_of_any_kind, max_size=4))
def test_every_answer_fits_the_schema_that_the_pipeline_sends(accounts: list[dict[str, Any]]) -> None:
    """Whatever an account holds, its answer fits ScoreAnswers, under its id and with its name.

    White space around either is not part of what the model reads.
    """
    scored = [score_account(one) for one in accounts]
    # The schema that is sent is this one without the keywords that Gemini refuses, so it allows more.
    check_answer({"scores": scored}, ScoreAnswers.model_json_schema())
    Draft202012Validator(response_schema(ScoreAnswers)).validate({"scores": scored})
    parsed = ScoreAnswers.model_validate_json(orjson.dumps({"scores": scored}))
    assert [(item.id, item.account_name) for item in parsed.scores] == [
        (item["id"].strip(), item["account_name"].strip()) for item in scored
    ]


def test_an_answer_is_written_in_the_order_of_the_schema() -> None:
    """Gemini writes the properties in the schema's order, the reasons before the score."""
    properties = ScoreAnswers.model_json_schema()["$defs"]["ScoreAnswer"]["properties"]
    assert list(ANSWER["scores"][0]) == list(properties)


@pytest.mark.parametrize(
    "schema",
    [
        _scores(score={"type": "integer", "maximum": 100}),
        _scores(score={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        {**_scores(score={"$ref": "#/$defs/S", "description": "0 to 100"}), "$defs": {"S": {"type": "integer"}}},
        {**_scores(id={"type": "string"}), "propertyOrdering": ["scores"]},
        {"$ref": "#/$defs/T", "$defs": {"T": _object(scores={}) | {"additionalProperties": {"$ref": "#/$defs/T"}}}},
    ],
    ids=json.dumps,
)
def test_another_schema_that_the_answer_fits_is_taken(schema: dict[str, Any]) -> None:
    """The stand-in answers any schema that describes its answer, not only the pipeline's own."""
    check_response_schema(schema)
    check_answer(ANSWER, schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"const": 1}, "'const' was unexpected"),
        ({"type": "string", "pattern": "a"}, "'pattern' was unexpected"),
        (_scores(score={"type": "integer", "exclusiveMinimum": 1}), "'exclusiveMinimum' was unexpected"),
        ({"allOf": [{"type": "string"}]}, "'allOf' was unexpected"),
        ({"type": "string", "format": "hostname"}, "schema.format: 'hostname' is not one of"),
        ({"type": "object", "properties": {"a": True}}, "schema.properties.a: True is not of type 'object'"),
        ({"type": "text"}, "schema.type: 'text'"),
        ({"type": []}, "schema.type"),
        ({"enum": []}, "schema.enum"),
        ({"enum": [True]}, "schema.enum"),
        ({"type": "object", "propertyOrdering": "a"}, "schema.propertyOrdering"),
        ({"type": "array", "minItems": "two"}, "schema.minItems"),
        ({"$ref": "https://example.com/schema"}, "does not match '^#'"),
        (_object(a={"$ref": "#/$defs/A", "title": "A"}) | {"$defs": {"A": {}}}, "'title' is not one of"),
        ({"anyOf": [{"type": "string"}], "type": "string"}, "'type' is not one of"),
    ],
    ids=json.dumps,
)
def test_a_schema_that_gemini_does_not_take_is_refused(schema: dict[str, Any], reason: str) -> None:
    """Unsupported keywords and malformed schemas are refused; the message names the place and the reason."""
    with pytest.raises(SchemaRefusedError) as refused:
        check_response_schema(schema)
    assert reason in str(refused.value)


@pytest.mark.parametrize("levels", [200, 2_000])
def test_a_schema_that_is_nested_too_deeply_is_refused(levels: int) -> None:
    """Gemini bounds the depth of a schema, and so does the stand-in."""
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        deep = {"type": "array", "items": deep}
    with pytest.raises(SchemaRefusedError, match="nesting depth"):
        check_response_schema(deep)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array"}, 'answer does not fit the response schema\'s type: "array"'),
        (_object(account_name={"type": "string"}), 'required: ["account_name"]'),
        (_scores(colour={"type": "string"}), "answer.scores[0] does not fit the response schema's required"),
        (_scores(score={"type": "integer", "maximum": 5}), "answer.scores[0].score"),
        (_scores(account_name={"type": "string", "maxLength": 3}), "answer.scores[0].account_name"),
        (_scores(score={"type": "integer", "minimum": 3, "maximum": 2}), "answer.scores[0].score"),
        (_scores(score={"$ref": "#/$defs/Missing"}), "reference"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}}, "reference"),
    ],
    ids=json.dumps,
)
def test_an_answer_that_does_not_fit_is_refused(schema: dict[str, Any], reason: str) -> None:
    """The stand-in has one kind of answer: a schema of another kind gets a reason, not an answer that breaks it."""
    with pytest.raises(SchemaRefusedError) as refused:
        check_answer(ANSWER, schema)
    assert reason in str(refused.value)
