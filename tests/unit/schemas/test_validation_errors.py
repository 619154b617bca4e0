"""pydantic's errors in plain English, with the path of the value."""

from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from schemas.validation_errors import JSON_OBJECT, key_path, kind_of, problem, suggestion


class _Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def _refuse(text: str) -> str:
    raise ValueError(f"{len(text)} characters are too many")


class _Model(BaseModel):
    model_config = ConfigDict(strict=True)

    text: str = ""
    refused: Annotated[str, AfterValidator(_refuse)] = ""
    number: float = Field(1, gt=0, le=1_000, allow_inf_nan=False)
    whole: int = Field(1, ge=946_684_800_000, lt=2_000_000_000_000)
    loose: Annotated[int, Field(strict=False)] = 1
    flag: bool = False
    colour: Annotated[_Colour, Field(strict=False)] = _Colour.RED
    items: list[str] = Field(default_factory=list)
    inner: dict[str, "_Model"] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"text": 5}, "expected text, found a number"),
        ({"text": None}, "expected text, found null"),
        ({"refused": "abc"}, "3 characters are too many"),
        ({"number": "5"}, "expected a number, found text"),
        ({"number": True}, "expected a number, found true or false"),
        ({"number": 0}, "expected more than 0"),
        ({"number": 1_001}, "expected 1,000 or less"),
        ({"number": float("nan")}, "expected a finite number"),
        ({"whole": 5}, "expected 946,684,800,000 or more"),
        ({"whole": 2_000_000_000_000}, "expected less than 2,000,000,000,000"),
        ({"whole": [5]}, "expected a whole number, found a list"),
        ({"loose": "many"}, "expected a whole number"),
        ({"flag": "yes"}, "expected true or false, found text"),
        ({"colour": "green"}, "expected red or blue"),
        ({"items": "red"}, "expected a list, found text"),
        ({"inner": ["red"]}, "expected a mapping, found a list"),
    ],
)
def test_a_problem_says_what_is_expected(content: dict[str, Any], expected: str) -> None:
    """The text says what is expected and which kind of value was found, never the value."""
    with pytest.raises(ValidationError) as error:
        _Model.model_validate(content)
    assert problem(error.value.errors()[0]) == expected


def test_a_mapping_is_an_object_in_json() -> None:
    """What is expected and what was found have the words of the format, never those of Python."""
    with pytest.raises(ValidationError) as error:
        _Model.model_validate({"items": {"a": 1}, "inner": ["red"]})
    problems = [problem(it, mapping=JSON_OBJECT) for it in error.value.errors()]
    assert problems == ["expected a list, found an object", "expected an object, found a list"]
    assert kind_of({}) == "an object"
    assert kind_of(object()) == "another kind of value"


def test_a_path_names_keys_and_positions() -> None:
    """Keys are joined by dots, positions are in brackets, and an unknown key is part of the path."""
    with pytest.raises(ValidationError) as error:
        _Model.model_validate({"inner": {"a": {"items": ["x", 1]}, 7: {}}})
    assert [key_path(it["loc"]) for it in error.value.errors()] == ["inner.a.items[1]", "inner[7]"]


def test_a_misspelt_name_has_a_suggestion() -> None:
    """Only a similar name is suggested."""
    assert suggestion("includ", ["exclude", "include"]) == "include"
    assert suggestion("colour", ["exclude", "include"]) is None
