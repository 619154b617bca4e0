import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.local.gemini.answers import build_answer
from pipeline.local.gemini.schema import SchemaRefusedError, compile_schema, schema_text
from pipeline.local.gemini.scoring import score_account
from schemas.score import ScoreAnswers
from tests.unit.pipeline.local.gemini.samples import account, accounts_of_any_kind

SCORED = [score_account(account("Acme", "a1")), score_account(account("Bolt", "b2"))]


def _answer(schema: dict[str, Any], *, openapi: bool = False) -> Any:
    return build_answer(compile_schema(schema_text(schema), openapi=openapi), SCORED)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_lengths = st.integers(0, 6)
_names = st.sampled_from(["score", "account_name", "drivers", "summary", "confidence", "colour", "size"])


def _ranges(low: str, high: str, values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    both = st.tuples(values, values).map(lambda pair: {low: min(pair), high: max(pair)})
    return st.just({}) | values.map(lambda value: {low: value}) | values.map(lambda value: {high: value}) | both


_leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}]),
    st.lists(st.sampled_from(["hot", "COLD", "positive"]) | st.integers(0, 9), min_size=1, max_size=3, unique=True).map(
        lambda values: {"enum": values}
    ),
    _ranges("minLength", "maxLength", _lengths).map(lambda bounds: {"type": "string", **bounds}),
    _ranges("minimum", "maximum", st.integers(-5, 200)).map(lambda bounds: {"type": "integer", **bounds}),
    _ranges("minimum", "maximum", st.integers(-5, 200)).map(lambda bounds: {"type": "number", **bounds}),
    st.sampled_from(["date-time", "date", "email", "uuid"]).map(lambda name: {"type": "string", "format": name}),
)


def _branches(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.tuples(inner, _ranges("minItems", "maxItems", st.integers(0, 3))).map(
        lambda parts: {"type": "array", "items": parts[0], **parts[1]}
    )
    objects = st.dictionaries(_names, inner, max_size=4).map(
        lambda properties: {**_object(**properties), "additionalProperties": False}
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    return arrays | objects | unions


schemas_of_any_kind = st.recursive(_leaves, _branches, max_leaves=12)


@settings(deadline=None, max_examples=300)
@given(schemas_of_any_kind)
def test_an_answer_obeys_any_supported_schema(schema: dict[str, Any]) -> None:
    """Whatever supported schema is sent, the answer validates against it, and is the same each time."""
    Draft202012Validator(schema).validate(_answer(schema))
    assert _answer(schema) == _answer(schema)


@settings(deadline=None, max_examples=100)
@given(st.lists(accounts_of_any_kind, max_size=4))
def test_an_answer_to_our_schema_has_every_account(accounts: list[dict[str, Any]]) -> None:
    """ScoreAnswers' own schema gets a valid entry for each account, under its id and with its name.

    White space around either is not part of what the model reads.
    """
    schema = ScoreAnswers.model_json_schema()
    scored = [score_account(one) for one in accounts]
    answer = build_answer(compile_schema(schema_text(schema), openapi=False), scored)
    Draft202012Validator(schema).validate(answer)
    parsed = ScoreAnswers.model_validate_json(orjson.dumps(answer))
    assert [(item.id, item.account_name) for item in parsed.scores] == [
        (item["id"].strip(), item["account_name"].strip()) for item in scored
    ]


def test_known_names_get_their_values_wherever_they_stand() -> None:
    """Our fields are recognised in another schema too; unknown ones get a value of the wanted type."""
    schema = _object(scores={"type": "array", "items": _object(id={"type": "string"}, colour={"type": "string"})})
    assert _answer(schema) == {"scores": [{"id": "a1", "colour": "not stated"}, {"id": "b2", "colour": "not stated"}]}


def test_a_list_at_the_top_has_an_item_for_each_account() -> None:
    """A schema without the wrapping object is obeyed as well."""
    assert _answer({"type": "array", "items": _object(id={"type": "string"})}) == [{"id": "a1"}, {"id": "b2"}]


def test_an_object_without_scores_speaks_of_the_first_account() -> None:
    """A schema of a single score is answered for the only, or the first, account."""
    assert _answer(_object(account_name={"type": "string"})) == {"account_name": "Acme"}


def test_texts_are_cut_and_numbers_moved_to_what_the_schema_allows() -> None:
    """A shorter maxLength and narrower bounds than our own are obeyed."""
    item = _object(account_name={"type": "string", "maxLength": 3}, score={"type": "integer", "minimum": 99})
    assert _answer({"type": "array", "items": item})[0] == {"account_name": "Ac…", "score": 99}
    assert _answer(_object(score={"type": "integer", "maximum": 5.9})) == {"score": 5}
    assert _answer(_object(size={"type": "number", "maximum": -2})) == {"size": -2}


def test_an_enum_in_other_letters_is_understood() -> None:
    """`POSITIVE` in the schema is what the answer says where we would say `positive`."""
    driver = _object(impact={"type": "string", "enum": ["POSITIVE", "NEGATIVE"]})
    item = _object(drivers={"type": "array", "items": driver, "maxItems": 1})
    assert _answer({"type": "array", "items": item})[0] == {"drivers": [{"impact": "NEGATIVE"}]}


def test_properties_come_in_the_wanted_order() -> None:
    """The propertyOrdering decides the order, as it does for Gemini."""
    schema = {**_object(id={"type": "string"}, score={"type": "integer"}), "propertyOrdering": ["score", "id"]}
    assert list(_answer(schema)) == ["score", "id"]


def test_references_are_followed_with_a_description_beside_them() -> None:
    """Pydantic writes a description beside a reference; Gemini takes it."""
    schema = {
        **_object(score={"$ref": "#/$defs/Score", "description": "0 to 100"}),
        "$defs": {"Score": {"type": "integer", "maximum": 100}},
    }
    assert _answer(schema) == {"score": SCORED[0]["score"]}


def test_an_optional_cycle_is_left_out() -> None:
    """A schema that refers to itself in an optional property is answered without that property."""
    node = {"type": "object", "properties": {"id": {"type": "string"}, "parent": {"$ref": "#/$defs/Node"}}}
    assert _answer({"$ref": "#/$defs/Node", "$defs": {"Node": node}}) == {"id": "a1"}
    listed = {**_object(children={"type": "array", "items": {"$ref": "#/$defs/Tree"}})}
    assert _answer({"$ref": "#/$defs/Tree", "$defs": {"Tree": listed}}) == {"children": []}


def test_the_openapi_subset_is_obeyed() -> None:
    """responseSchema, with its types in capitals, snake case, counts as text and nullable, is understood."""
    item = {
        "type": "OBJECT",
        "properties": {
            "account_name": {"type": "STRING", "max_length": "3"},
            "colour": {"type": "STRING", "nullable": True},
            "score": {"type": "INTEGER", "minimum": 0.0, "maximum": 100.0, "format": "int32"},
        },
        "required": ["account_name", "colour", "score"],
        "property_ordering": ["score", "account_name", "colour"],
    }
    answer = _answer({"type": "ARRAY", "items": item, "max_items": 1}, openapi=True)
    assert answer == [{"score": SCORED[0]["score"], "account_name": "Ac…", "colour": "not stated"}]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a$"},
        {"const": 5},
        {"type": "integer", "exclusiveMinimum": 0},
        {"type": "number", "multipleOf": 2},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"allOf": [{"type": "string"}]},
        {"not": {"type": "string"}},
        {"type": "object", "patternProperties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string", "contentEncoding": "base64"}}},
        {"type": "object", "additionalProperties": {"const": 1}},
        {"type": "string", "format": "hostname"},
        {"type": "integer", "format": "decimal"},
        {"type": "object", "properties": {"a": True}},
        {"type": "text"},
        {"type": []},
        {"enum": []},
        {"enum": [True]},
        {"type": "object", "properties": {}, "required": ["a"]},
        {"type": "object", "propertyOrdering": "a"},
        {"type": "array", "minItems": "two"},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "integer", "minimum": 0.2, "maximum": 0.8},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "https://example.com/schema"},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/A", "title": "A"}}, "$defs": {"A": {}}},
        {"anyOf": [{"type": "string"}], "type": "string"},
        {"$ref": "#/$defs/A", "$defs": {"A": {**_object(a={"$ref": "#/$defs/A"})}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/A"}}}},
    ],
    ids=json.dumps,
)
def test_a_schema_that_gemini_does_not_take_is_refused(schema: dict[str, Any]) -> None:
    """Unsupported keywords, contradictions and endless references are refused with a reason."""
    with pytest.raises(SchemaRefusedError, match=r"\w"):
        compile_schema(schema_text(schema), openapi=False)


def test_a_schema_that_is_too_large_or_too_deep_is_refused() -> None:
    """Gemini gives up on schemas with too many states, and so does the stand-in."""
    wide = _object(**{f"p{index}": {"type": "string"} for index in range(6_000)})
    for levels in (200, 2_000):
        deep: dict[str, Any] = {"type": "string"}
        for _ in range(levels):
            deep = {"type": "array", "items": deep}
        with pytest.raises(SchemaRefusedError, match="nesting depth"):
            compile_schema(schema_text(deep), openapi=False)
    with pytest.raises(SchemaRefusedError, match="too many states"):
        compile_schema(schema_text(wide), openapi=False)
