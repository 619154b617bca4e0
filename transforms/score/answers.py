"""Validation of Gemini's answer, account by account: nothing is clamped, repaired, or matched by its order.

A score is accepted as it is or rejected. Its reasons are prose: one that is longer than its column is cut, with a mark,
since a valid score should not be rejected, and paid for again, for a long text. A text of more than `MAX_RAMBLING`
times its bound rejects the entry.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import ValidationError

from schemas.score import MAX_ACTION, MAX_EVIDENCE, MAX_FACTOR, MAX_SUMMARY, ScoreAnswer
from transforms.errors import AnswerError, InvalidResponse, InvalidScore, MismatchedScore, MissingScore
from transforms.prompt.crm_text import CUT_MARK
from transforms.prompt.prompt import comparable_name

MAX_RAMBLING: Final = 4
_ENTRY_TEXTS: Final = {"recommended_action": MAX_ACTION, "summary": MAX_SUMMARY}
_DRIVER_TEXTS: Final = {"factor": MAX_FACTOR, "evidence": MAX_EVIDENCE}
_FIELDS: Final = frozenset(ScoreAnswer.model_fields)


def check_answers(text: str, echoed_names: Mapping[str, str]) -> dict[str, ScoreAnswer | AnswerError]:
    """Return the valid answer or an error for each account of a call, by opaque id.

    Args:
        text: The model's.
        echoed_names: The name that each account's entry must repeat, by opaque id; entries with other ids are dropped.

    Raises:
        InvalidResponse: The text is not the requested JSON, so that no account has an answer.
    """
    entries = _entries(text)
    occurrences = Counter(entry["id"] for entry in entries)
    by_id = {entry["id"]: entry for entry in entries}
    return {
        short_id: _check(by_id.get(short_id), name, occurrences[short_id]) for short_id, name in echoed_names.items()
    }


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidResponse(f"the answer is not JSON, from character {error.pos} on") from None
    entries = document.get("scores") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidResponse("the answer has no list `scores`")
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _check(entry: dict[str, Any] | None, echoed_name: str, occurrences: int) -> ScoreAnswer | AnswerError:
    if entry is None:
        return MissingScore("the answer has no entry for the account")
    if occurrences > 1:
        return MismatchedScore(f"the answer has {occurrences} entries for the account")
    try:
        answer = ScoreAnswer.model_validate_json(orjson.dumps(_with_bounded_texts(entry)))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        return InvalidScore("; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details[:3]))
    except orjson.JSONEncodeError:
        return InvalidScore("the entry is nested too deeply")  # orjson parses more levels than it serialises
    if comparable_name(answer.account_name) != comparable_name(echoed_name):
        return MismatchedScore("the entry repeats another account's name")
    return answer


def _with_bounded_texts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested fields of an entry, with long texts cut; values of other types are left for validation."""
    known = {name: value for name, value in entry.items() if name in _FIELDS}
    drivers = known.get("drivers")
    if isinstance(drivers, list):
        known["drivers"] = [
            _bounded(driver, _DRIVER_TEXTS) if isinstance(driver, dict) else driver for driver in drivers
        ]
    return _bounded(known, _ENTRY_TEXTS)


def _bounded(values: Mapping[str, Any], bounds: Mapping[str, int]) -> dict[str, Any]:
    return {name: _cut(value, bounds[name]) if name in bounds else value for name, value in values.items()}


def _cut(value: Any, bound: int) -> Any:
    if not isinstance(value, str) or not bound < len(value) <= bound * MAX_RAMBLING:
        return value
    return value[: bound - len(CUT_MARK)] + CUT_MARK
