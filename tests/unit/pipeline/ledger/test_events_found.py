"""Events as the field sends them, in ../shared/events-found: what `rescore explain --json` answers for each."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.ledger.explain import explain
from tests.conftest import SHARED

FOLDER: Final = SHARED / "events-found"
CASES: Final = FOLDER / "cases.json"


@cache
def _cases() -> dict[str, dict[str, Any]]:
    cases: dict[str, dict[str, Any]] = json.loads(CASES.read_text("utf-8")) if CASES.is_file() else {}
    return cases


def _parameters() -> list[Any]:
    cases = [pytest.param(file, id=file) for file in _cases()]
    absent = pytest.mark.skip("../shared/events-found not found: it has real input that is not part of the project")
    return cases or [pytest.param("", marks=absent, id="absent")]


@pytest.mark.parametrize("file", _parameters())
def test_every_event_found_is_decided_as_its_case_says(file: str) -> None:
    """One answer for each (event, account), in order, and every key that the case names has one of its values."""
    expected = _cases()[file]["expect"]
    answers = json.loads(json.dumps(explain([FOLDER / file], materiality=None, schemas=None).document()))
    assert [_differences(*pair) for pair in zip(expected, answers, strict=True)] == [{}] * len(expected)


def test_every_file_found_has_a_case() -> None:
    """No event in the folder is left unread."""
    if not _cases():
        pytest.skip("../shared/events-found not found: it has real input that is not part of the project")
    assert {file.name for file in Path(FOLDER).iterdir()} - {"README.md", "cases.json"} == set(_cases())


def _differences(expected: dict[str, Any], answer: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs by key, as (expected, answered); a list means any of its values."""
    return {
        key: (wanted, answer.get(key))
        for key, wanted in expected.items()
        if key not in answer or answer[key] not in (wanted if isinstance(wanted, list) else [wanted])
    }
